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
    check_locks(&activity, &[], &server(), WAIT_SECONDS)
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
fn locks_of_sessions_that_hide_their_times() {
    let mut holder = session(1, "idle in transaction");
    holder.locked_tables = vec!["tasks".to_owned()];
    (holder.state, holder.state_age, holder.transaction_age) = (None, None, None);
    let seen = |holder: &WorkSession| Activity {
        sessions: vec![holder.clone()],
        is_partial: true,
    };
    let before = seen(&holder);
    assert_eq!(check(vec![holder.clone()]).outcome, Pass);
    let again = holding_longer(seen(&holder), &before);
    let verdict = check(again.sessions);
    assert_eq!(verdict.outcome, Fail);
    assert!(
        verdict
            .detail
            .ends_with("has locked tasks for 2s or longer")
    );
    holder.pid = 2;
    let another = holding_longer(seen(&holder), &before);
    assert_eq!(check(another.sessions).outcome, Pass);
    // After a lock timeout nothing is too short.
    let now = check_locks(&before, &[], &server(), 0);
    assert_eq!(now.outcome, Fail);
}

#[test]
fn a_statement_at_work_may_end_soon() {
    let mut active = session(1, "active");
    active.locked_tables = vec!["tasks".to_owned()];
    active.transaction_age = Some(5);
    assert_eq!(check(vec![active.clone()]).outcome, Warn);
    active.transaction_age = Some(1);
    assert_eq!(check(vec![active.clone()]).outcome, Pass);
    active.transaction_age = Some(60);
    assert_eq!(check(vec![active]).outcome, Fail);
}

#[test]
fn rows_that_are_not_committed() {
    let mut writer = session(1, "active");
    writer.changed_tables = vec!["tasks".to_owned()];
    writer.transaction_age = Some(5);
    assert_eq!(check(vec![writer.clone()]).outcome, Pass);
    writer.transaction_age = Some(60);
    assert_eq!(check(vec![writer.clone()]).outcome, Warn);
    // Another check names it.
    writer.state = Some("idle in transaction".to_owned());
    assert_eq!(check(vec![writer.clone()]).outcome, Pass);
    (writer.state, writer.transaction_age) = (None, None);
    let seen = |transaction: &str| Activity {
        sessions: vec![WorkSession {
            transaction: Some(transaction.to_owned()),
            ..writer.clone()
        }],
        is_partial: true,
    };
    let outcome = |again: &str| {
        let again = holding_longer(seen(again), &seen("3/7"));
        check(again.sessions).outcome
    };
    assert_eq!(outcome("3/7"), Warn);
    assert_eq!(outcome("3/8"), Pass);
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
