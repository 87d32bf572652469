//! Who waits for a lock, and for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, PostgresTarget, Remedy};
use crate::diagnostics::check::Server;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Activity, Prepared, ServerConnection, WorkSession};
use crate::diagnostics::verdict::{Outcome, Verdict};

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

/// Whether a session whose times are hidden holds a lock for long is seen by looking again.
const SECOND_LOOK: Duration = Duration::from_secs(WAIT_SECONDS.unsigned_abs());

/// `pg_blocking_pids` has this number for a prepared transaction.
const PREPARED: i32 = 0;

pub(super) async fn locks(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(target) => {
            let server = Server { config, target };
            let ask = async |connection: &mut ServerConnection| {
                let mut activity = connection.activity(target.own_name()).await?;
                if activity.sessions.iter().any(is_hidden_holder) {
                    tokio::time::sleep(SECOND_LOOK).await;
                    let again = connection.activity(target.own_name()).await?;
                    activity = holding_longer(again, &activity);
                }
                Ok((activity, connection.prepared().await?))
            };
            of_answer(context, server, limit, ask, |(activity, prepared)| {
                check_locks(activity, prepared, target, WAIT_SECONDS)
            })
            .await
        }
        DatabaseTarget::Sqlite(path) => file::locks(path).await,
    }
}

/// What a statement waits for that has just given up a lock, however short the wait was.
pub(in crate::diagnostics::database) async fn culprit(
    context: &Context,
    server: &PostgresTarget,
    limit: Duration,
) -> Option<Verdict> {
    let ask = async |connection: &mut ServerConnection| {
        let activity = connection.activity(server.own_name()).await?;
        Ok((activity, connection.prepared().await?))
    };
    let asked = context.server.ask(server, limit, ask).await;
    let (activity, prepared) = asked.ok()?;
    let verdict = check_locks(&activity, &prepared, server, 0);
    (verdict.outcome != Outcome::Pass).then_some(verdict)
}

/// Whether a session has locked a table or rows, and this role may not see for how long.
fn is_hidden_holder(session: &WorkSession) -> bool {
    let is_holder = !session.locked_tables.is_empty() || !session.changed_tables.is_empty();
    is_holder && session.transaction_age.is_none()
}

/// What is there `again`, with the time that hidden holders have been seen to hold their locks.
fn holding_longer(mut again: Activity, before: &Activity) -> Activity {
    for session in again
        .sessions
        .iter_mut()
        .filter(|one| is_hidden_holder(one))
    {
        let held_before = |one: &WorkSession| {
            one.pid == session.pid
                && one.transaction == session.transaction
                && is_hidden_holder(one)
        };
        if before.sessions.iter().any(held_before) {
            session.seen_holding = Some(WAIT_SECONDS);
        }
    }
    again
}

/// The sessions that wait behind one which does not wait itself.
#[derive(Default)]
struct Queue<'a> {
    waiting: Vec<&'a WorkSession>,
}

/// Shorter waits and locks than `least` seconds do not count.
fn check_locks(
    activity: &Activity,
    prepared: &[Prepared],
    server: &PostgresTarget,
    least: i64,
) -> Verdict {
    let sessions: BTreeMap<i32, &WorkSession> =
        activity.sessions.iter().map(|one| (one.pid, one)).collect();
    let mut collected = Collected::default();
    let queues = queues(&sessions, least);
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
    for one in prepared {
        if !one.locked_tables.is_empty() && one.age >= least && !queues.contains_key(&PREPARED) {
            collected.fail(
                format!(
                    "the prepared transaction {} of role {} has locked {} for {}",
                    one.name,
                    one.role,
                    one.locked_tables.join(", "),
                    in_time(Some(one.age))
                ),
                end_prepared(one, server),
            );
        }
    }
    // A session that waits keeps its locks until those before it in the queue have ended.
    let free = |one: &&&WorkSession| one.blockers.is_empty() && !queues.contains_key(&one.pid);
    for session in sessions.values().filter(free) {
        check_held(session, server, least, &mut collected);
    }
    if activity.is_partial {
        collected.note(hidden(server));
    }
    collected.verdict(format!("no session waits longer than {WAIT_SECONDS} s"))
}

/// A lock that stops the service although nobody waits for it at this moment.
fn check_held(
    session: &WorkSession,
    server: &PostgresTarget,
    least: i64,
    collected: &mut Collected,
) {
    if session.is_migrating && is_active(session) {
        collected.note(format!("{} migrates the database", described(session)));
        return;
    }
    let age = session.transaction_age.or(session.seen_holding);
    let is_autovacuum = session.backend_type.as_deref() == Some("autovacuum worker");
    let is_held = age.unwrap_or_default() >= least && !is_autovacuum;
    if !session.locked_tables.is_empty() && is_held {
        let text = format!(
            "{} has locked {}{}",
            described(session),
            session.locked_tables.join(", "),
            held_for(session)
        );
        // A statement that works may be about to end.
        if is_active(session) && age.unwrap_or_default() < TABLE_SECONDS {
            collected.warn(text, end(session, server));
        } else {
            collected.fail(text, end(session, server));
        }
    } else if has_uncommitted_rows(session) && !is_autovacuum {
        collected.warn(
            format!(
                "{} has changed or locked rows of {} and has not committed{}: changes of the same rows wait",
                described(session),
                session.changed_tables.join(", "),
                held_for(session)
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

/// Whether it has held rows for long. A session that is idle in its transaction is the subject of
/// `database.sessions`.
fn has_uncommitted_rows(session: &WorkSession) -> bool {
    let is_long = match session.transaction_age {
        Some(age) => age >= TABLE_SECONDS && idle_in_transaction(session).is_none(),
        None => session.seen_holding.is_some(),
    };
    is_long && !session.changed_tables.is_empty()
}

fn held_for(session: &WorkSession) -> String {
    match (session.transaction_age, session.seen_holding) {
        (None, None) => String::new(),
        (None, seen) => format!(" for {} or longer", in_time(seen)),
        (age, _) => format!(" for {}", in_time(age)),
    }
}

/// By the session at the head, those that have waited long enough.
fn queues<'a>(sessions: &BTreeMap<i32, &'a WorkSession>, least: i64) -> BTreeMap<i32, Queue<'a>> {
    let mut queues: BTreeMap<i32, Queue<'a>> = BTreeMap::new();
    let is_long = |one: &&&WorkSession| one.waited.is_some_and(|waited| waited >= least);
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
mod tests;
