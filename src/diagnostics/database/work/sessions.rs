//! Sessions that hold resources without using them, or use them for too long.

use std::time::Duration;

use crate::config::PostgresTarget;
use crate::diagnostics::check::Server;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{
    Activity, Prepared, ServerConnection, WorkSession, statement_kind,
};
use crate::diagnostics::verdict::Verdict;

use super::answer::of_answer;
use super::ending::{
    described, end, end_prepared, hidden, idle_in_transaction, in_time, is_active,
};

/// The daemon's own sessions are ended after 10 s; a person at a prompt needs longer.
const IDLE_SECONDS: i64 = 60;

/// No statement of the daemon takes longer than a request, which is 20 s by default.
const STATEMENT_SECONDS: i64 = 60;

/// Backups and maintenance take hours on a large database.
const MAINTENANCE_SECONDS: i64 = 6 * 3600;

/// The second phase of a commit follows the first one within seconds.
const PREPARED_SECONDS: i64 = 60;

/// So many are named; the rest is counted.
const NAMED: usize = 3;

const MAINTENANCE: [&str; 6] = [
    "VACUUM", "ANALYZE", "REINDEX", "CLUSTER", "CREATE", "REFRESH",
];

pub(super) async fn sessions(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let target = server.target;
    let ask = async |connection: &mut ServerConnection| {
        let activity = connection.activity(target.own_name()).await?;
        Ok((activity, connection.prepared().await?))
    };
    of_answer(context, server, limit, ask, |(activity, prepared)| {
        check_sessions(activity, prepared, target)
    })
    .await
}

fn check_sessions(activity: &Activity, prepared: &[Prepared], server: &PostgresTarget) -> Verdict {
    let mut collected = Collected::default();
    let mut old: Vec<&WorkSession> = activity
        .sessions
        .iter()
        .filter(|one| one.is_here && (is_idle_too_long(one) || runs_too_long(one)))
        .collect();
    old.sort_by_key(|one| std::cmp::Reverse(one.state_age));
    for session in old.iter().take(NAMED) {
        let mut text = described(session);
        if !session.used_tables.is_empty() {
            text += &format!(" holds locks of {}", session.used_tables.join(", "));
        }
        collected.warn(text, end(session, server));
    }
    if old.len() > NAMED {
        collected.warn(format!("{} more", old.len() - NAMED), None);
    }
    for one in prepared {
        if one.is_here && one.age >= PREPARED_SECONDS {
            collected.warn(
                format!(
                    "the prepared transaction {} of role {} is {} old: it keeps its locks and holds back vacuum",
                    one.name,
                    one.role,
                    in_time(Some(one.age))
                ),
                end_prepared(one, server),
            );
        }
    }
    if activity.is_partial {
        collected.note(hidden(server));
    }
    collected.verdict(format!(
        "none of {} is idle in a transaction or busy for a minute",
        activity.sessions.iter().filter(|one| one.is_here).count()
    ))
}

fn is_idle_too_long(session: &WorkSession) -> bool {
    idle_in_transaction(session).is_some_and(|age| age >= IDLE_SECONDS)
}

/// Sessions that wait are the subject of `database.locks`.
fn runs_too_long(session: &WorkSession) -> bool {
    let is_client = session.backend_type.as_deref() == Some("client backend");
    let kind = session.word.as_deref().and_then(statement_kind);
    let is_maintenance = kind.is_some_and(|kind| MAINTENANCE.contains(&kind))
        || session.is_migrating
        || session.application.starts_with("pg_");
    let limit = if is_maintenance {
        MAINTENANCE_SECONDS
    } else {
        STATEMENT_SECONDS
    };
    is_client
        && is_active(session)
        && session.waited.is_none()
        && session.state_age.is_some_and(|age| age >= limit)
}

#[cfg(test)]
mod tests {
    use super::super::ending::tests::{server, session};
    use super::*;
    use crate::diagnostics::Outcome::{self, Pass, Warn};

    fn outcome(session: WorkSession) -> Outcome {
        let activity = Activity {
            sessions: vec![session],
            is_partial: false,
        };
        check_sessions(&activity, &[], &server()).outcome
    }

    #[test]
    fn ages_and_kinds() {
        assert_eq!(outcome(session(1, "idle")), Pass);
        assert_eq!(outcome(session(1, "idle in transaction")), Warn);
        assert_eq!(outcome(session(1, "idle in transaction (aborted)")), Warn);
        assert_eq!(outcome(session(1, "active")), Warn);
        for (word, application) in [("vacuum", "psql"), ("copy", "pg_dump")] {
            let mut long = session(1, "active");
            (long.word, long.application) = (Some(word.to_owned()), application.to_owned());
            assert_eq!(outcome(long), Pass, "{word}");
        }
        let mut elsewhere = session(1, "active");
        elsewhere.is_here = false;
        assert_eq!(outcome(elsewhere), Pass);
        let mut replica = session(1, "active");
        replica.backend_type = Some("walsender".to_owned());
        assert_eq!(outcome(replica), Pass);
    }

    #[test]
    fn a_prepared_transaction() {
        let activity = Activity {
            sessions: Vec::new(),
            is_partial: true,
        };
        let prepared = |age| Prepared {
            name: "it's".to_owned(),
            role: "app".to_owned(),
            age,
            is_here: true,
            locked_tables: Vec::new(),
        };
        let fine = check_sessions(&activity, &[prepared(10)], &server());
        assert_eq!(fine.outcome, Pass);
        assert!(
            fine.detail.contains("GRANT pg_read_all_stats TO"),
            "{fine:?}"
        );
        let old = check_sessions(&activity, &[prepared(600)], &server());
        assert_eq!(old.outcome, Warn);
        let remedy = old.remedy.unwrap().to_string();
        assert!(remedy.contains("ROLLBACK PREPARED 'it''s'"), "{remedy}");
    }
}
