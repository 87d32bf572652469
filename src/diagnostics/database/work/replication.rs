//! Copies of the server, and what waits for them.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, sql_literal};
use crate::diagnostics::check::Server;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Archiver, Replica, Replication, Slot};
use crate::diagnostics::verdict::Verdict;

use super::answer::of_answer;
use super::bytes::in_bytes;
use super::ending::in_time;
use super::load::{free_space, saturated};
use super::locks::counted;

/// A slot that holds less is one whose replica restarts, where the disk has space.
const HELD_BYTES: i64 = 1 << 30;

/// The same where the disk's free space is not known, and where it is short.
const HELD_UNKNOWN: i64 = 256 << 20;
const HELD_SHORT: i64 = 64 << 20;

/// A disk is short if a slot holds this part of what is free.
const SHORT_PART: i64 = 4;

/// A replica that is this far behind shows old data, and loses that much in a failover.
const LAG_SECONDS: i64 = 60;
const LAG_BYTES: i64 = 1 << 30;

pub(super) async fn replication(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let target = server.target;
    of_answer(
        context,
        server,
        limit,
        async |connection| connection.replication().await,
        |found| {
            let free = free_space(found.archiver.data_directory.as_deref(), target);
            check_replication(found, target, free)
        },
    )
    .await
}

/// `free` are the bytes that are free on the server's disk, if that is known.
fn check_replication(found: &Replication, server: &PostgresTarget, free: Option<u64>) -> Verdict {
    let Replication {
        replicas,
        unread_slots,
        archiver,
    } = found;
    let mut collected = Collected::default();
    check_synchronous(archiver, replicas, server, &mut collected);
    for replica in replicas {
        check_lag(replica, &mut collected);
    }
    for slot in unread_slots {
        check_slot(slot, server, free.map(saturated), &mut collected);
    }
    check_archive(archiver, server, &mut collected);
    if replicas.iter().any(|replica| replica.state.is_none()) {
        collected.note(super::ending::hidden(server));
    }
    let mut fine = vec![counted(replicas.len(), "replica")];
    if !unread_slots.is_empty() {
        fine.push(format!("{} unread", counted(unread_slots.len(), "slot")));
    }
    fine.push(
        if archiver.is_on {
            "the archive works"
        } else {
            "no archive"
        }
        .to_owned(),
    );
    collected.verdict(fine.join(", "))
}

/// A commit waits for the synchronous replicas, without a time limit.
fn check_synchronous(
    archiver: &Archiver,
    replicas: &[Replica],
    server: &PostgresTarget,
    collected: &mut Collected,
) {
    let names = &archiver.synchronous;
    let waits = !names.trim().is_empty() && !matches!(archiver.commit.as_str(), "off" | "local");
    if archiver.is_standby || !waits {
        return;
    }
    let needed = needed(names);
    // Where it is hidden which replicas are synchronous, all of them may be.
    let there = replicas
        .iter()
        .filter(|one| one.is_synchronous != Some(false))
        .count();
    let waits_for = counted(needed, "replica");
    let (trouble, first) = if there < needed {
        (format!("{there} of them connected"), "start the replica")
    } else if archiver.waiting > 0 {
        (
            "one that is connected does not confirm them".to_owned(),
            "see why the replica does not confirm: its disk, its network, or a pause, which SELECT pg_wal_replay_resume() ends there",
        )
    } else {
        return;
    };
    collected.fail(
        format!(
            "every commit waits for {waits_for} (synchronous_standby_names is {names}), and {trouble}"
        ),
        Remedy::note(format!("{first}; or serve without it: a failover may then lose the newest changes"))
            .then(Remedy::admin_sql(server, None, "ALTER SYSTEM SET synchronous_standby_names = ''"))
            .then(Remedy::admin_sql(server, None, "SELECT pg_reload_conf()")),
    );
}

/// How many replicas a commit waits for: `FIRST 2 (a, b)`, `ANY 1 (a, b)`, `2 (a, b)`, `a, b`.
fn needed(names: &str) -> usize {
    let Some((before, _)) = names.split_once('(') else {
        return 1;
    };
    let number = before.split_whitespace().last();
    number.and_then(|word| word.parse().ok()).unwrap_or(1)
}

fn check_lag(replica: &Replica, collected: &mut Collected) {
    let seconds = replica.lag_seconds.unwrap_or_default();
    let bytes = replica.lag_bytes.unwrap_or_default();
    if seconds < LAG_SECONDS && bytes < LAG_BYTES {
        return;
    }
    collected.warn(
        format!(
            "the replica {} is {} and {} behind",
            replica.application,
            in_time(replica.lag_seconds),
            in_bytes(bytes)
        ),
        Remedy::note("on the replica: end queries that replaying waits for, or SELECT pg_wal_replay_resume(), if it was paused"),
    );
}

fn check_slot(slot: &Slot, server: &PostgresTarget, free: Option<i64>, collected: &mut Collected) {
    let held = slot.held_bytes.unwrap_or_default();
    let limit = match free {
        None => HELD_UNKNOWN,
        Some(free) if held >= free / SHORT_PART => HELD_SHORT,
        Some(_) => HELD_BYTES,
    };
    if held < limit {
        return;
    }
    let left = free.map(|free| format!("; its disk has {} free", in_bytes(free)));
    collected.warn(
        format!(
            "nobody reads the replication slot {}, and the server keeps {} for it{}",
            slot.name,
            in_bytes(held),
            left.unwrap_or_default()
        ),
        drop_slot(&slot.name, server),
    );
}

/// Ends what the server keeps for a slot that nobody reads.
pub(super) fn drop_slot(name: &str, server: &PostgresTarget) -> Remedy {
    let name = sql_literal(name);
    Remedy::note("start its replica; or, if that is gone for good, drop the slot, which frees what the server keeps for it")
        .then(Remedy::admin_sql(
            server,
            None,
            format!("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {name} AND NOT active"),
        ))
}

fn check_archive(archiver: &Archiver, server: &PostgresTarget, collected: &mut Collected) {
    if !archiver.is_on || !archiver.fails {
        return;
    }
    let since = archiver.last_success.map_or_else(
        || "it has never worked".to_owned(),
        |age| format!("it last worked {} ago", in_time(Some(age))),
    );
    collected.warn(
        format!(
            "the write-ahead log cannot be archived ({} failures, {since}): it fills the disk, and backups have a gap",
            archiver.failed_count
        ),
        Remedy::note("the server's log has the error of the command that this shows; correct the command or its target")
            .then(Remedy::admin_sql(server, None, "SHOW archive_command")),
    );
}

#[cfg(test)]
mod tests {
    use super::super::ending::tests::server;
    use super::*;
    use crate::diagnostics::Outcome::{Fail, Pass, Warn};

    fn found() -> Replication {
        Replication {
            replicas: vec![Replica {
                application: "replica".to_owned(),
                state: Some("streaming".to_owned()),
                is_synchronous: Some(false),
                lag_seconds: Some(1),
                lag_bytes: Some(4096),
            }],
            unread_slots: Vec::new(),
            archiver: Archiver {
                is_on: true,
                fails: false,
                failed_count: 0,
                last_success: Some(30),
                synchronous: String::new(),
                commit: "on".to_owned(),
                waiting: 0,
                is_standby: false,
                data_directory: None,
            },
        }
    }

    fn check(change: impl FnOnce(&mut Replication)) -> Verdict {
        let mut found = found();
        change(&mut found);
        check_replication(&found, &server(), None)
    }

    #[test]
    fn verdicts() {
        assert_eq!(check(|_| ()).outcome, Pass);
        assert_eq!(
            check(|one| one.replicas[0].lag_seconds = Some(90)).outcome,
            Warn
        );
        assert_eq!(check(|one| one.archiver.fails = true).outcome, Warn);
        let slot = |held_bytes| Slot {
            name: "gone".to_owned(),
            held_bytes: Some(held_bytes),
        };
        for (held, free, outcome) in [
            (1 << 20, None, Pass),
            (320 << 20, None, Warn),
            // A replica that restarts, on a disk with space and on a short one.
            (320 << 20, Some(50 << 30), Pass),
            (320 << 20, Some(350 << 20), Warn),
            (16 << 20, Some(20 << 20), Pass),
            (2 << 30, Some(1 << 40), Warn),
        ] {
            let mut found = found();
            found.unread_slots = vec![slot(held)];
            let verdict = check_replication(&found, &server(), free);
            assert_eq!(verdict.outcome, outcome, "{held} {free:?}");
        }
    }

    #[test]
    fn synchronous_replicas() {
        let outcome = |names: &str, is_synchronous| {
            check(|one| {
                names.clone_into(&mut one.archiver.synchronous);
                one.replicas[0].is_synchronous = is_synchronous;
            })
            .outcome
        };
        assert_eq!(outcome("replica", Some(false)), Fail);
        assert_eq!(outcome("replica", Some(true)), Pass);
        assert_eq!(outcome("ANY 2 (a, b)", Some(true)), Fail);
        assert_eq!(outcome("*", None), Pass);
        let local = check(|one| {
            "replica".clone_into(&mut one.archiver.synchronous);
            "local".clone_into(&mut one.archiver.commit);
        });
        assert_eq!(local.outcome, Pass);
    }
}
