//! Checks of a database at work: what makes one that answers useless.

use crate::diagnostics::check::{Check, run};
use crate::diagnostics::verdict::Outcome::{Fail, Pass, Skip, Warn};

mod answer;
mod bytes;
mod connections;
mod ending;
mod file;
mod held;
mod horizon;
mod indexes;
mod load;
mod locks;
mod replication;
mod sessions;
mod settings;
mod vacuum;

pub(super) use file::{end, locks as file_locks, named};
pub(super) use held::Held;
pub(super) use locks::culprit;
pub(in crate::diagnostics) use settings::reset_search_path;
pub(super) use settings::{check_execution, check_session, short_limits};

/// A server that answers.
const QUERY: &[&str] = &["database.query"];

pub(in crate::diagnostics) static CHECKS: &[Check] = &[
    Check::new("database.locks", "Locks", run!(Database, locks::locks))
        .about(
            "Which sessions wait for a lock, and which session is at the head of the queue. On \
             SQLite, which process holds the lock for writing. Behind one forgotten transaction \
             every request waits until it times out. Usual causes are a psql session that was \
             left open in a transaction, a lock for maintenance, a backup that locks tables, and \
             two daemons with one SQLite file.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(QUERY)
        .taking_turns()
        // A lock of a SQLite file is watched for as long as a change waits for it.
        .within(10),
    Check::new(
        "database.sessions",
        "Sessions",
        run!(Server, sessions::sessions),
    )
    .about(
        "Sessions that have been idle in a transaction for a minute, statements that have run \
         for a minute, and prepared transactions that nobody ends. They hold locks, and they \
         keep vacuum from removing dead rows. Usual causes are a client that crashed or waits \
         for its user, and a report on the primary.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(QUERY)
    .taking_turns(),
    Check::new(
        "database.connections",
        "Capacity",
        run!(Server, connections::connections),
    )
    .about(
        "The connections that all daemons together may open, and those of other applications, \
         against what the server, the role and the database allow. When they run out, requests \
         fail at peak load. Usual causes are a pool that is larger than a small server allows, \
         replicas that were added, and applications that keep idle connections.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(QUERY)
    .taking_turns(),
    Check::new("database.vacuum", "Vacuum", run!(Server, vacuum::vacuum))
        .about(
            "How far the server is from a wraparound of transaction ids, where it stops \
             accepting writes, and whether dead rows of the service's tables are removed and \
             their statistics gathered. What holds VACUUM back is named: a session, a prepared \
             transaction, a replica or a replication slot. Usual causes of a failure are \
             autovacuum that was turned off or set to begin late, an old transaction, and a \
             restored backup without ANALYZE.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(QUERY)
        .taking_turns(),
    Check::new(
        "database.index_use",
        "Added indexes",
        run!(Server, indexes::indexes),
    )
    .about(
        "Indexes on the service's tables that are not its own, and that nothing uses or that \
         another index repeats. Each of them makes every write slower. The indexes that todoctl's \
         migrations create, and those of constraints, are never proposed for removal.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(QUERY)
    .taking_turns(),
    Check::new(
        "database.replication",
        "Replication",
        run!(Server, replication::replication),
    )
    .about(
        "Replicas and how far they are behind, replication slots that nobody reads, the archive \
         of the write-ahead log, and synchronous replication. A missing synchronous replica makes \
         every commit wait; an unread slot and a failing archive fill the disk. Usual causes are \
         a replica that was removed, and an archive that is full or whose credentials expired.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(QUERY)
    .taking_turns(),
    Check::new(
        "database.durability",
        "Durability",
        run!(Server, settings::durability),
    )
    .about(
        "Whether a change that was confirmed survives a crash: fsync, full_page_writes and \
         synchronous_commit, as a session of this role has them. Without fsync a power failure \
         can destroy the whole database. The usual cause is a setting for tests or for an import \
         that was left in place.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(QUERY)
    .taking_turns(),
    Check::new(
        "database.timeouts",
        "Timeouts",
        run!(Server, settings::timeouts),
    )
    .about(
        "Time limits that the role or the database sets for every session: statement_timeout, \
         lock_timeout and the limits for idle sessions. The daemon keeps them if they are \
         stricter than its own, so very short ones end ordinary requests. The usual cause is a \
         limit that was meant for another application.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(QUERY)
    .taking_turns(),
    Check::new(
        "database.statistics",
        "Statistics",
        run!(File, file::statistics),
    )
    .about(
        "How many rows the tables of the SQLite file had when ANALYZE counted them, and have now. \
         SQLite chooses by it how it reads, and a plan for few rows is slow with many. The usual \
         cause of a difference is an ANALYZE before an import.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(&["database.query", "database.migrations"])
    .taking_turns(),
    Check::new("database.size", "Size", run!(Database, load::size))
        .about(
            "The size of the database and what of it can be given back, how many reads the cache \
             answers, temporary files, and the free disk space of a server on this machine. SQL \
             cannot ask for the free space of another machine. Usual causes of a warning are a \
             disk shared with logs, a cache that is too small, and deleted rows in SQLite.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(QUERY)
        .taking_turns(),
];
