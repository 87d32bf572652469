//! The faults, and which of them a round has.

use std::time::Duration;

use fastrand::Rng;

use crate::preload::Preloaded;
use crate::world::{Engine, World};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Fault {
    /// kill -9 of a daemon, and its restart.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Freeze,
    /// SIGTERM, and a restart.
    Restart,
    /// The reader of a daemon's log pauses.
    LogStalled,
    /// The reader of a daemon's log goes away.
    LogClosed,
    /// `todoctl` commands beside the daemon: jobs, migrations, checks.
    Commands,
    /// Another process locks the database, or the table of tasks.
    Lock,
    /// The disk fills up, and empties.
    FullDisk,
    /// Another process checkpoints the write-ahead log.
    Checkpoint,
    /// The server restarts, and ends its sessions.
    ServerRestart,
    /// The server crashes, and recovers.
    ServerCrash,
    /// The server is down for a while.
    ServerDown,
    /// A server process is killed, which makes the server end all of them.
    BackendKilled,
    /// Sessions are terminated, some or all.
    Terminate,
    /// Rows of tasks are locked by another session.
    RowLock,
    /// The table is locked, and connections break while statements wait for the lock.
    LockAndReset,
    /// A column is added, which outdates prepared statements.
    Alter,
    /// The network is slow.
    Delay,
    /// Present connections carry nothing, and heal after new ones were made.
    BlackHole,
    /// No connection carries anything.
    Partition,
    /// Connections are reset.
    Reset,
    /// Connections are reset, and new ones refused.
    Refuse,
    /// A connection is cut before a statement arrives.
    CutBeforeStatement,
    /// A connection is cut after a statement has arrived.
    CutAfterStatement,
    /// A connection is cut before a COMMIT arrives.
    CutBeforeCommit,
    /// A connection is cut after a COMMIT has arrived.
    CutAfterCommit,
    /// The daemon's side of a connection ends after a statement; the server does not notice.
    HalfOpen,
    /// A statement arrives after its request was answered and others were made.
    LateStatement,
    /// The same of a COMMIT.
    LateCommit,
    /// The pooler is killed and restarted.
    PoolerRestart,
    /// The pooler is stopped and goes on.
    PoolerFreeze,
    /// The pooler gets another size or mode, and back.
    PoolerReload,
    /// The pooler pauses, resumes, or renews its connections.
    PoolerPause,
    /// The daemons restart one after the other.
    Rolling,
    /// The newest migration is taken back under the daemons, and applied again.
    Schema,
    /// Redis is killed, or stops and goes on.
    Redis,
    /// The auth server fails, hangs, or answers with something else.
    AuthServer,
    /// The mail provider fails.
    Mail,
    /// Syncs and writes of the database's files fail.
    DiskErrors,
    /// A daemon's clock jumps by seconds or hours, and back.
    ClockJump,
    /// A daemon's clock jumps by days, and back. Keys of creates expire meanwhile.
    ClockDays,
}

const EVERYWHERE: &[Fault] = &[
    Fault::Kill,
    Fault::Freeze,
    Fault::Restart,
    Fault::LogStalled,
    Fault::LogClosed,
    Fault::Commands,
    Fault::Lock,
    Fault::Mail,
    Fault::Schema,
];

const ON_SQLITE: &[Fault] = &[Fault::FullDisk, Fault::FullDisk, Fault::Checkpoint];

const ON_POSTGRES: &[Fault] = &[
    Fault::ServerRestart,
    Fault::ServerCrash,
    Fault::ServerDown,
    Fault::BackendKilled,
    Fault::Terminate,
    Fault::RowLock,
    Fault::LockAndReset,
    Fault::Alter,
    Fault::Delay,
    Fault::BlackHole,
    Fault::Partition,
    Fault::Reset,
    Fault::Refuse,
    Fault::CutBeforeStatement,
    Fault::CutAfterStatement,
    Fault::CutBeforeCommit,
    Fault::CutAfterCommit,
    Fault::HalfOpen,
    Fault::LateStatement,
    Fault::LateCommit,
    // What breaks connections at a message finds most.
    Fault::CutAfterStatement,
    Fault::CutBeforeCommit,
    Fault::LateStatement,
    Fault::LockAndReset,
];

const ON_POOLER: &[Fault] = &[
    Fault::PoolerRestart,
    Fault::PoolerFreeze,
    Fault::PoolerReload,
    Fault::PoolerPause,
];

/// A fault of a round's plan.
#[derive(Debug, Clone)]
pub struct Planned {
    pub fault: Fault,
    /// After the round has begun.
    pub after: Duration,
    /// Decides about what is left open.
    pub seed: u64,
}

/// The faults of a round.
pub fn plan(world: &World, only: &[Fault], rng: &mut Rng) -> Vec<Planned> {
    let mut kinds = EVERYWHERE.to_vec();
    match world.engine {
        Engine::Sqlite => kinds.extend(ON_SQLITE),
        Engine::Postgres => kinds.extend(ON_POSTGRES),
    }
    if world.is_pooled() {
        kinds.extend(ON_POOLER);
    }
    if world.daemons.len() > 1 {
        kinds.push(Fault::Rolling);
    }
    if world.peers.redis.is_some() {
        kinds.push(Fault::Redis);
    }
    if world.peers.auth.is_some() {
        kinds.push(Fault::AuthServer);
    }
    if world.preloaded.iter().any(Preloaded::can_fail) {
        kinds.extend([Fault::DiskErrors; 2]);
    }
    if world.preloaded.iter().any(Preloaded::has_clock) {
        kinds.extend([Fault::ClockJump, Fault::ClockDays]);
    }
    if !world.is_on_small_disk {
        kinds.retain(|kind| *kind != Fault::FullDisk);
    }
    if !only.is_empty() {
        kinds.retain(|kind| only.contains(kind));
    }
    if kinds.is_empty() {
        return Vec::new();
    }
    let count = [1, 1, 2, 2, 3][rng.usize(..5)];
    (0..count)
        .map(|_| Planned {
            fault: kinds[rng.usize(..kinds.len())],
            after: Duration::from_millis(rng.u64(20..250)),
            seed: rng.u64(..),
        })
        .collect()
}
