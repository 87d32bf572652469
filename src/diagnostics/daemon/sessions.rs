//! Session tokens of todoctl: whether the running daemon still knows them.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::CredentialStatus;
use crate::store::{StoreError, inspect};

use super::refused::{is_large_group, is_part};
use super::status::daemon_requests;

/// A client with an old token may try a few times.
const REFUSED: u64 = 3;

pub(super) async fn sessions(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Verdict {
    let requests = match daemon_requests(context, limit).await {
        Ok(requests) => requests,
        Err(skipped) => return skipped,
    };
    let none = CredentialStatus::default();
    let found = requests.credentials.get("session").unwrap_or(&none);
    if !is_suspicious(found) {
        return Verdict::pass(format!(
            "{} session tokens were accepted within {} min",
            found.accepted, requests.minutes
        ));
    }
    match valid_sessions(context, config, limit).await {
        Ok(valid) => check(found, valid, requests.sessions_in_use, requests.minutes),
        Err(error) => Verdict::skip(format!("skipped: {error}")),
    }
}

async fn valid_sessions(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Result<i64, StoreError> {
    match &config.target {
        DatabaseTarget::Postgres(server) => {
            let ask = context.server.ask(server, limit, async |connection| {
                inspect::valid_sessions(connection.session()).await
            });
            ask.await
        }
        DatabaseTarget::Sqlite(file) => {
            let now = context.request.clock.now();
            let ask = context.file.ask(file, limit, async |connection| {
                inspect::valid_sessions_of_file(connection.session(), now).await
            });
            ask.await
        }
    }
}

/// Tokens of todoctl that no session has.
fn unknown(found: &CredentialStatus) -> u64 {
    let unknown = found.refused.get("unknown_own_session");
    unknown.copied().unwrap_or(0)
}

/// Tokens that have expired, or were revoked, count as others.
fn is_suspicious(found: &CredentialStatus) -> bool {
    let unknown = unknown(found);
    let is_all = found.accepted == 0 && unknown >= REFUSED;
    is_all || is_part(unknown, unknown.saturating_add(found.accepted))
}

/// `valid` sessions are in the database, and the daemon has accepted `in_use` different ones; `None`
/// if it does not tell.
fn check(found: &CredentialStatus, valid: i64, in_use: Option<u64>, minutes: u32) -> Verdict {
    let unknown = unknown(found);
    let all = unknown.saturating_add(found.accepted);
    let detail = format!("{unknown} of {all} session tokens were unknown within {minutes} min");
    if valid == 0 {
        return Verdict::warn(
            format!(
                "{detail}, and the database has no valid session: they belong to another database, or were deleted"
            ),
            Remedy::note(
                "let their users get new tokens (todoctl session create --help); if there should be sessions, compare DATABASE_URL with the one that they were made with",
            ),
        );
    }
    let is_all_in_use =
        in_use.is_some_and(|in_use| i64::try_from(in_use).is_ok_and(|one| one >= valid));
    if is_all_in_use {
        let detail = format!(
            "{detail}: they are of another environment, or were deleted, because all {valid} valid sessions of this database are in use"
        );
        // Less may be a stranger who tries some.
        return if is_large_group(unknown, all) {
            Verdict::warn(
                detail,
                Remedy::note(
                    "give the clients that send them tokens of this environment (todoctl session create --help), or let them ask the environment that theirs are of",
                ),
            )
        } else {
            Verdict::pass(detail)
        };
    }
    Verdict::warn(
        format!("{detail}, although the database has {valid} valid sessions: SESSION_HASH_SECRET is another one than when they were made"),
        Remedy::note("give back the value that it had, from a comment in the .env file or a backup, and restart the daemon; this reads it without showing it: todoctl config set SESSION_HASH_SECRET_PREVIOUS=-")
            .then(Remedy::note("if it is lost, or these tokens are of another environment, their users have to sign in again")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{Pass, Warn};

    #[test]
    fn tokens_that_no_session_has() {
        let found = |reason: &str, refused, accepted| CredentialStatus {
            accepted,
            refused: [(reason.to_owned(), refused)].into(),
        };
        for (reason, refused, accepted, expected) in [
            ("unknown_own_session", 3, 0, true),
            ("unknown_own_session", 2, 0, false),
            ("unknown_own_session", 9, 1, false),
            ("unknown_own_session", 40, 40, true),
            ("unknown_own_session", 10, 200, false),
            ("ended_session", 40, 1, false),
            ("unknown_session", 40, 0, false),
        ] {
            let found = found(reason, refused, accepted);
            assert_eq!(is_suspicious(&found), expected, "{found:?}");
        }
        let found = found("unknown_own_session", 6, 0);
        let verdict = check(&found, 4, Some(3), 15);
        assert_eq!(verdict.outcome, Warn);
        assert!(verdict.detail.contains("6 of 6"), "{}", verdict.detail);
        let remedy = |valid| check(&found, valid, None, 15).remedy.unwrap().to_string();
        assert!(remedy(4).contains("SESSION_HASH_SECRET_PREVIOUS=-"));
        assert!(!remedy(0).contains("SESSION_HASH_SECRET"));
    }

    #[test]
    fn tokens_of_another_environment() {
        let of = |unknown, accepted| CredentialStatus {
            accepted,
            refused: [("unknown_own_session".to_owned(), unknown)].into(),
        };
        for (unknown, accepted, in_use, expected) in [
            (20, 40, Some(4), Pass),
            (30, 40, Some(4), Warn),
            (30, 40, Some(5), Warn),
            (20, 40, Some(3), Warn),
            (20, 40, None, Warn),
        ] {
            let verdict = check(&of(unknown, accepted), 4, in_use, 15);
            assert_eq!(verdict.outcome, expected, "{unknown} {in_use:?}");
            let remedy = verdict.remedy.map(|remedy| remedy.to_string());
            let is_secret = remedy.is_some_and(|remedy| remedy.contains("SESSION_HASH_SECRET"));
            assert_eq!(is_secret, in_use.is_none_or(|in_use| in_use < 4));
        }
    }
}
