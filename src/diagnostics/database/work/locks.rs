//! Who waits for a lock, and for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, PostgresTarget, Remedy};
use crate::diagnostics::check::Server;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Activity, Prepared, WorkSession};
use crate::diagnostics::verdict::Verdict;

use super::answer::of_answer;
use super::ending::{
    described, end, end_prepared, hidden, idle_in_transaction, in_time, is_active,
};
use super::file;

/// Shorter waits are ordinary under load.
const WAIT_SECONDS: i64 = 2;

/// A lock on a whole table that lasts longer than this makes requests fail: a client does not
/// wait longer, and todoctl's own migrations give up a lock after 5 s.
const TABLE_SECONDS: i64 = 10;

/// `pg_blocking_pids` has this number for a prepared transaction.
const PREPARED: i32 = 0;

pub(super) async fn locks(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(target) => {
            let server = Server { config, target };
            let ask = async |connection: &mut crate::diagnostics::probe::ServerConnection| {
                let activity = connection.activity(&target.database).await?;
                Ok((activity, connection.prepared().await?))
            };
            of_answer(context, server, limit, ask, |(activity, prepared)| {
                check_locks(activity, prepared, target)
            })
            .await
        }
        DatabaseTarget::Sqlite(path) => file::locks(path).await,
    }
}

/// The sessions that wait behind one which does not wait itself.
#[derive(Default)]
struct Queue<'a> {
    waiting: Vec<&'a WorkSession>,
}

fn check_locks(activity: &Activity, prepared: &[Prepared], server: &PostgresTarget) -> Verdict {
    let sessions: BTreeMap<i32, &WorkSession> =
        activity.sessions.iter().map(|one| (one.pid, one)).collect();
    let mut collected = Collected::default();
    let queues = queues(&sessions);
    for (head, queue) in &queues {
        let longest = queue.waiting.iter().filter_map(|one| one.waited).max();
        let what = queue
            .waiting
            .iter()
            .find_map(|one| one.waits_for.as_deref());
        let behind = format!(
            "blocks {} for up to {}, which {} for {}",
            counted(queue.waiting.len(), "session"),
            in_time(longest),
            if queue.waiting.len() == 1 {
                "waits"
            } else {
                "wait"
            },
            what.unwrap_or("a lock")
        );
        let (who, remedy) = match sessions.get(head) {
            Some(session) => (described(session), end(session, server)),
            None if *head == PREPARED => {
                let here = prepared.iter().filter(|one| one.is_here);
                let ended = here.fold(Remedy::default(), |all, one| {
                    all.then(end_prepared(one, server))
                });
                ("a prepared transaction".to_owned(), ended)
            }
            // It ended in the meantime.
            None => continue,
        };
        let text = format!("{who} {behind}");
        let is_ours = |one: &&WorkSession| {
            one.application == server.application_name || !one.used_tables.is_empty()
        };
        let has_ours = sessions
            .get(head)
            .is_some_and(|one| !one.locked_tables.is_empty());
        if has_ours || queue.waiting.iter().any(is_ours) {
            collected.fail(text, remedy);
        } else {
            collected.warn(text, remedy);
        }
    }
    for session in sessions
        .values()
        .filter(|one| !queues.contains_key(&one.pid))
    {
        check_held(session, server, &mut collected);
    }
    if activity.is_partial {
        collected.note(hidden(server));
    }
    collected.verdict(format!("no session waits longer than {WAIT_SECONDS} s"))
}

/// A lock that stops the service although nobody waits for it at this moment.
fn check_held(session: &WorkSession, server: &PostgresTarget, collected: &mut Collected) {
    if session.is_migrating && is_active(session) {
        collected.note(format!("{} migrates the database", described(session)));
        return;
    }
    let age = session.transaction_age.unwrap_or_default();
    let is_autovacuum = session.backend_type.as_deref() == Some("autovacuum worker");
    if !session.locked_tables.is_empty() && age >= TABLE_SECONDS && !is_autovacuum {
        collected.fail(
            format!(
                "{} has locked {} for {}",
                described(session),
                session.locked_tables.join(", "),
                in_time(session.transaction_age)
            ),
            end(session, server),
        );
    } else if session.is_migrating {
        let idle = match session.state.as_deref() {
            Some("idle") => session.state_age,
            _ => idle_in_transaction(session),
        };
        if idle.is_some_and(|age| age >= TABLE_SECONDS) {
            collected.warn(
                format!(
                    "{} holds the lock for migrations: no daemon can migrate, and starts wait",
                    described(session)
                ),
                end(session, server),
            );
        }
    }
}

/// By the session at the head, those that have waited long enough.
fn queues<'a>(sessions: &BTreeMap<i32, &'a WorkSession>) -> BTreeMap<i32, Queue<'a>> {
    let mut queues: BTreeMap<i32, Queue<'a>> = BTreeMap::new();
    let is_long = |one: &&&WorkSession| one.waited.is_some_and(|waited| waited >= WAIT_SECONDS);
    let waiting = sessions.values().filter(|one| one.is_here).filter(is_long);
    for session in waiting {
        for head in heads(session, sessions) {
            queues.entry(head).or_default().waiting.push(session);
        }
    }
    queues
}

/// The sessions that `session` waits for in the end.
fn heads(session: &WorkSession, sessions: &BTreeMap<i32, &WorkSession>) -> BTreeSet<i32> {
    let mut heads = BTreeSet::new();
    let mut seen = BTreeSet::from([session.pid]);
    let mut next = session.blockers.clone();
    while let Some(pid) = next.pop() {
        if !seen.insert(pid) {
            continue;
        }
        match sessions.get(&pid).filter(|one| !one.blockers.is_empty()) {
            Some(blocked) => next.extend(&blocked.blockers),
            None => {
                heads.insert(pid);
            }
        }
    }
    heads
}

/// A number with its word.
pub(super) fn counted(number: usize, word: &str) -> String {
    if number == 1 {
        format!("1 {word}")
    } else {
        format!("{number} {word}s")
    }
}

#[cfg(test)]
mod tests {
    use super::super::ending::tests::{server, session};
    use super::*;
    use crate::diagnostics::Outcome::{Fail, Pass, Warn};

    fn waiting(pid: i32, seconds: i64, blockers: &[i32]) -> WorkSession {
        WorkSession {
            waited: Some(seconds),
            waits_for: Some("table tasks".to_owned()),
            blockers: blockers.to_vec(),
            used_tables: vec!["tasks".to_owned()],
            ..session(pid, "active")
        }
    }

    fn check(sessions: Vec<WorkSession>) -> Verdict {
        let activity = Activity {
            sessions,
            is_partial: false,
        };
        check_locks(&activity, &[], &server())
    }

    #[test]
    fn the_head_of_the_queue_is_named() {
        let verdict = check(vec![
            session(1, "idle in transaction"),
            waiting(2, 40, &[1]),
            waiting(3, 30, &[2]),
            waiting(4, 0, &[2]),
        ]);
        assert_eq!(verdict.outcome, Fail);
        assert!(
            verdict.detail.starts_with("pid 1 (psql")
                && verdict.detail.contains("blocks 2 sessions for up to 40s"),
            "{}",
            verdict.detail
        );
        let remedy = verdict.remedy.unwrap().to_string();
        assert!(
            remedy.contains("pid = 1 ") && !remedy.contains("pid = 2"),
            "{remedy}"
        );
    }

    #[test]
    fn short_waits_and_other_applications() {
        let head = || session(1, "active");
        assert_eq!(check(vec![head(), waiting(2, 1, &[1])]).outcome, Pass);
        let mut other = waiting(2, 60, &[1]);
        other.used_tables = Vec::new();
        assert_eq!(check(vec![head(), other]).outcome, Warn);
        // A deadlock that the server has not ended yet.
        let ring = check(vec![waiting(1, 5, &[2]), waiting(2, 5, &[1])]);
        assert_eq!(ring.outcome, Pass);
    }

    #[test]
    fn a_migration_may_take_its_time() {
        let mut migrating = session(1, "active");
        migrating.is_migrating = true;
        migrating.locked_tables = vec!["tasks".to_owned()];
        assert_eq!(check(vec![migrating.clone()]).outcome, Pass);
        migrating.state = Some("idle".to_owned());
        assert_eq!(check(vec![migrating]).outcome, Fail);
        let mut forgotten = session(1, "idle");
        forgotten.is_migrating = true;
        assert_eq!(check(vec![forgotten]).outcome, Warn);
    }
}
