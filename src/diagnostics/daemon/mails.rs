//! Reminders by mail, as the running daemon tells about its outbox.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use crate::config::{DatabaseTarget, Remedy, sql_name};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::services::mail::{Blame, Provider, late};
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::{DaemonStatus, MailOutcome, MailStatus};
use crate::store::{Accounts, EXPIRED, NO_ACCOUNT, inspect};

use super::status::daemon_status;

/// How long the database may take to count mails.
const COUNTING: Duration = Duration::from_secs(2);

/// Fewer mails without a recipient may be those of one user who wants none.
const WITHOUT_RECIPIENT: i64 = 3;

/// Of the mails of a day. Beyond, nearly nobody gets any.
const WITHOUT_RECIPIENT_PERCENT: i64 = 90;

pub(super) async fn mails(context: &Context, limit: Duration) -> Verdict {
    let now = context.request.clock.now().unix_seconds();
    let database = context.target();
    let provider = Provider::of(&context.audit.services, &context.request.source);
    let status = match daemon_status(context, limit).await {
        Ok(status) => status,
        Err(skipped) => return skipped,
    };
    let waiting = match &status.mails {
        Some(mails) if mails.pending > 0 => count_waiting(context).await,
        _ => None,
    };
    check_mails(status, waiting, now, database, provider)
}

/// How many mails wait in the database now: another process may have sent those that the daemon has
/// counted. `None` where it does not answer.
async fn count_waiting(context: &Context) -> Option<i64> {
    let counted = async {
        match context.target()? {
            DatabaseTarget::Postgres(server) => {
                let ask = context.server.ask(server, COUNTING, async |connection| {
                    inspect::waiting_mails(connection.session()).await
                });
                ask.await.ok()
            }
            DatabaseTarget::Sqlite(file) => {
                let ask = context.file.ask(file, COUNTING, async |connection| {
                    inspect::waiting_mails_of_file(connection.session()).await
                });
                ask.await.ok()
            }
        }
    };
    timeout(COUNTING, counted).await.ok()?
}

/// `waiting` is how many mails wait now, if that is known; `now` is in seconds since 1970.
pub(super) fn check_mails(
    status: &DaemonStatus,
    waiting: Option<i64>,
    now: i64,
    database: Option<&DatabaseTarget>,
    provider: Provider<'_>,
) -> Verdict {
    let Some(mails) = &status.mails else {
        return Verdict::skip("the daemon has not read its outbox yet");
    };
    let mut collected = Collected::default();
    let waiting = waiting.unwrap_or(mails.pending);
    check_accounts(&mut collected, mails, database);
    match &mails.outcomes {
        _ if waiting == 0 => {}
        _ if mails.paused => check_pause(&mut collected, mails, waiting, now),
        Some(outcomes) => check_waiting(&mut collected, outcomes, now, provider),
        None => {}
    }
    match &mails.outcomes {
        Some(outcomes) => {
            check_skipped(&mut collected, outcomes, database);
            check_dead(&mut collected, outcomes, database, provider);
        }
        // An older daemon tells no reasons.
        None if mails.dead > 0 => collected.warn(
            format!("{} mails were given up", mails.dead),
            Remedy::note("the daemon's log says why each was refused"),
        ),
        None => {}
    }
    collected.verdict(format!("{waiting} waiting"))
}

/// Without accounts there are no mails at all.
fn check_accounts(
    collected: &mut Collected,
    mails: &MailStatus,
    database: Option<&DatabaseTarget>,
) {
    let accounts = mails.accounts.as_deref().and_then(Accounts::of_word);
    let elsewhere = Remedy::note(
        "mail goes to the addresses in the auth server's table (or view) \"user\" with the columns id and email: let the auth server use this database, or make such a view; the daemon looks every 15 minutes",
    )
    .then(Remedy::note(
        "to do without mail: todoctl config unset RESEND_API_KEY",
    ));
    let (what, remedy) = match accounts {
        None | Some(Accounts::Ready) => return,
        Some(Accounts::Missing) => ("this database has no table \"user\"", elsewhere),
        Some(Accounts::OtherColumns) => (
            "the table \"user\" of this database is another program's: it has no columns id and email",
            elsewhere,
        ),
        Some(Accounts::NoRight) => (
            "the daemon's role may not read the table \"user\"",
            grant(database),
        ),
    };
    collected.warn(
        format!("RESEND_API_KEY is set, and no reminder is mailed: {what}"),
        remedy,
    );
}

/// Nothing is tried, because every mail would be refused. So many wait.
fn check_pause(collected: &mut Collected, mails: &MailStatus, waiting: i64, now: i64) {
    let reason = mails.paused_reason.as_deref().unwrap_or_default();
    let since = match mails.paused_since {
        Some(since) if !reason.is_empty() => format!(" ({reason}, for {})", age(now - since)),
        _ => String::new(),
    };
    let waiting = format!("{waiting} mails wait and are given up after 24 hours");
    let (what, remedy) = match Blame::of(reason) {
        Blame::Address | Blame::Redirection => (
            "RESEND_API_URL does not lead to the mail provider",
            "correct RESEND_API_URL as services.mail says, and restart the daemon",
        ),
        Blame::Sender => (
            "the mail provider does not accept the spelling of EMAIL_FROM",
            "write an address, or a name and an address in angle brackets, of a domain that the provider has verified, and restart the daemon: todoctl config set 'EMAIL_FROM=Todo <todo@example.com>'",
        ),
        _ => (
            "the mail provider refuses the key or the sender",
            "services.mail says which, unless the provider does not tell it: verify the domain of EMAIL_FROM at the provider and enable sending for it, or correct RESEND_API_KEY and restart the daemon; this reads it without showing it: todoctl config set RESEND_API_KEY=-",
        ),
    };
    collected.warn(
        format!("{what}{since}: {waiting}"),
        Remedy::note(remedy).then(Remedy::note(format!(
            "the daemon tries again by itself {}; as soon as the fault is corrected, this sends them at once: todoctl jobs run reminders",
            next_attempt(mails.paused_until, now)
        ))),
    );
}

/// Both are in seconds since 1970.
fn next_attempt(at: Option<i64>, now: i64) -> String {
    match at {
        Some(at) if at > now => {
            let minutes = at.rem_euclid(86_400) / 60;
            format!("at {:02}:{:02} UTC", minutes / 60, minutes % 60)
        }
        _ => "within 15 minutes".to_owned(),
    }
}

/// Each attempt has failed for a long time, or the reason lasts for long.
fn check_waiting(
    collected: &mut Collected,
    outcomes: &[MailOutcome],
    now: i64,
    provider: Provider<'_>,
) {
    let late = late(outcomes, now);
    // The reason of most of them comes first.
    let Some((reason, _)) = late.first() else {
        return;
    };
    let count: i64 = late.iter().map(|(_, one)| one.mails).sum();
    let oldest = late.iter().map(|(_, one)| one.oldest).min();
    collected.warn(
        format!(
            "{count} mails wait, the oldest for {}, and are given up after 24 hours; the last attempt failed: {reason}",
            age(now - oldest.unwrap_or(now))
        ),
        provider.remedy(reason),
    );
}

/// Nearly nobody has an address.
fn check_skipped(
    collected: &mut Collected,
    outcomes: &[MailOutcome],
    database: Option<&DatabaseTarget>,
) {
    let count = |state| -> i64 { of_state(outcomes, state).map(|one| one.mails).sum() };
    let (skipped, all) = (count("skipped"), count("skipped") + count("sent"));
    if skipped < WITHOUT_RECIPIENT || skipped * 100 < all * WITHOUT_RECIPIENT_PERCENT {
        return;
    }
    let is_unknown = |one: &MailOutcome| one.reason.as_deref() == Some(NO_ACCOUNT);
    let most = of_state(outcomes, "skipped").next();
    let (what, remedy) = if most.is_some_and(is_unknown) {
        (
            "the table \"user\" has no account with the user's id",
            Remedy::note("a token names its user by sub, a session by user.id, and that has to be an id of the table \"user\"; this shows one of each:")
                .then(shown_by(database, "SELECT (SELECT max(user_id) FROM tasks) AS of_tasks, (SELECT max(CAST(id AS text)) FROM \"user\") AS of_accounts")),
        )
    } else {
        (
            "their accounts in the table \"user\" have no email",
            Remedy::note(
                "let the auth server ask for an address at sign-up, and fill the column email of those accounts; to do without mail: todoctl config unset RESEND_API_KEY",
            ),
        )
    };
    collected.warn(
        format!("{skipped} of {all} mails of the last 24 hours had no recipient: {what}"),
        remedy,
    );
}

/// Mails that are not tried again.
fn check_dead(
    collected: &mut Collected,
    outcomes: &[MailOutcome],
    database: Option<&DatabaseTarget>,
    provider: Provider<'_>,
) {
    let mut reasons: BTreeMap<&str, i64> = BTreeMap::new();
    for one in of_state(outcomes, "dead") {
        let reason = one.reason.as_deref().unwrap_or("unknown");
        *reasons.entry(reason).or_default() += one.mails;
    }
    for (reason, count) in reasons {
        if reason.starts_with(EXPIRED) {
            collected.warn(
                format!("{count} mails were given up after 24 hours ({reason})"),
                provider.remedy(reason),
            );
            continue;
        }
        let (what, remedy) = match Blame::of(reason) {
            Blame::Recipient => (
                "because of the recipient's address",
                "correct the e-mail of these users in the table \"user\"; this shows their ids:",
            ),
            _ => (
                "as they are",
                "https://resend.com/logs says what is wrong with them; this shows the ids of their users:",
            ),
        };
        let status = reason.split(' ').next().unwrap_or_default();
        collected.warn(
            format!("the mail provider refused {count} mails of the last 24 hours {what} ({reason})"),
            Remedy::note(remedy).then(shown_by(database, &format!(
                "SELECT user_id, count(*) AS mails FROM todoctl_outbox WHERE state = 'dead' AND last_error LIKE '{}%' GROUP BY user_id ORDER BY mails DESC",
                digits(status)
            ))),
        );
    }
}

/// Lets the daemon's role read addresses.
fn grant(database: Option<&DatabaseTarget>) -> Remedy {
    let Some(DatabaseTarget::Postgres(server)) = database else {
        return Remedy::note("let the daemon's role read the columns id and email of \"user\"");
    };
    let role = sql_name(&server.user);
    Remedy::note("as an administrator; the daemon looks every 15 minutes:").then(Remedy::admin_sql(
        server,
        None,
        format!("GRANT SELECT (id, email) ON \"user\" TO {role}"),
    ))
}

/// A query for a person.
fn shown_by(database: Option<&DatabaseTarget>, select: &str) -> Option<Remedy> {
    Some(match database? {
        DatabaseTarget::Postgres(_) => Remedy::sql(select),
        DatabaseTarget::Sqlite(file) => Remedy::command("sqlite3 -readonly")
            .arg(&file.path)
            .arg(select),
    })
}

/// Another program may answer in place of the daemon.
fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn of_state<'a>(
    outcomes: &'a [MailOutcome],
    state: &'a str,
) -> impl Iterator<Item = &'a MailOutcome> {
    outcomes.iter().filter(move |one| one.state == state)
}

/// In whole minutes, beyond the first.
fn age(seconds: i64) -> humantime::FormattedDuration {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    let shown = if seconds < 60 {
        seconds
    } else {
        seconds / 60 * 60
    };
    humantime::format_duration(Duration::from_secs(shown))
}

#[cfg(test)]
mod tests;
