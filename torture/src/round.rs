//! What the clients of a round share.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use fastrand::Rng;

use crate::faults::{Fault, Planned};
use crate::keyed::Kept;
use crate::ledger::{Ledger, Seen, Stopwatch};
use crate::world::World;

/// Users of a round whose tasks several clients change.
pub const USERS: usize = 3;

/// Tasks of a user, and creates with a key, that the clients still know. Fewer make more requests meet.
const REMEMBERED: usize = 12;

/// A round, and the tasks that its clients know.
#[derive(Debug)]
pub struct Round {
    pub number: u64,
    pub ports: Vec<u16>,
    pub ledger: Ledger,
    pub stopwatch: Stopwatch,
    pub is_over: AtomicBool,
    /// What each user sends as its bearer token; `None`: the service token.
    pub tokens: Vec<Option<String>>,
    pub limits: Limits,
    /// When tasks are due. Each is on a day of its own, except those that are due soon.
    pub dues: Dues,
    /// Of each user.
    known: Vec<Mutex<VecDeque<Known>>>,
    /// Creates with a key that were acknowledged.
    kept: Mutex<VecDeque<Kept>>,
}

/// When tasks are due, in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Dues {
    pub past: i64,
    /// Also for clocks that are hours ahead or behind.
    pub soon: [i64; 2],
    pub far: i64,
}

impl Dues {
    fn new() -> Self {
        const HOUR: i64 = 3_600_000_000;
        let soon = now() + 12 * HOUR;
        Self {
            past: 1_577_836_800_000_000,
            soon: [soon, soon + HOUR / 2],
            far: 1_936_000_000_000_000,
        }
    }

    pub fn any(&self, rng: &mut Rng) -> i64 {
        let [soon, later] = self.soon;
        [self.past, self.past, soon, later, self.far][rng.usize(..5)]
    }
}

/// The time, in microseconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "the daemons have the machine's clock, or one that is set relative to it"
)]
pub fn now() -> i64 {
    DateTime::<Utc>::from(SystemTime::now()).timestamp_micros()
}

/// A time as requests have it.
pub fn text_of(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Which requests a client sends.
#[derive(Debug, Clone, Copy)]
pub enum Mix {
    /// All kinds, about few tasks of few users, so that requests meet.
    Meeting,
    /// Mostly changes, of a user of its own, without a pause: many that share a statement or a
    /// transaction with others when a fault comes, and of which the checker knows the order.
    Alone(usize),
}

/// What the faults of a round rule out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Rows with a lifetime of days may be deleted: idempotency keys, so that creates have none,
    /// and mails that were sent.
    pub rows_expire: bool,
    /// The daemon's clock shows another day for a while.
    pub other_days: bool,
    /// There is no fault.
    pub is_calm: bool,
}

impl Limits {
    pub fn of(plan: &[Planned]) -> Self {
        let has = |fault| plan.iter().any(|planned| planned.fault == fault);
        Self {
            rows_expire: has(Fault::ClockDays),
            other_days: has(Fault::ClockDays) || has(Fault::ClockJump),
            is_calm: plan.is_empty(),
        }
    }
}

/// A task, and the tag that stands for what it was.
#[derive(Debug, Clone)]
pub struct Known {
    pub seen: Seen,
    pub etag: Option<String>,
}

impl Round {
    /// `writers` are users whose tasks no other client knows.
    pub fn new(
        number: u64,
        world: &World,
        writers: usize,
        limits: Limits,
        stopwatch: Stopwatch,
    ) -> Self {
        let users: Vec<_> = (0..=USERS + writers)
            .map(|index| user(number, index))
            .collect();
        Self {
            number,
            ports: world.ports.clone(),
            ledger: Ledger::default(),
            stopwatch,
            is_over: AtomicBool::new(false),
            tokens: world.peers.tokens(&users),
            limits,
            dues: Dues::new(),
            kept: Mutex::default(),
            known: users.iter().map(|_| Mutex::default()).collect(),
        }
    }

    /// What the names of the round's users begin with.
    pub fn prefix(&self) -> String {
        format!("r{}-", self.number)
    }

    /// The last user, whom one client has for itself.
    pub fn visitor(&self) -> usize {
        self.tokens.len() - 1
    }

    pub fn user(&self, index: usize) -> String {
        user(self.number, index)
    }

    pub fn remember(&self, user: usize, known: Known) {
        let mut tasks = self.known[user]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|other| other.seen.id != known.seen.id);
        if tasks.len() == REMEMBERED {
            tasks.pop_front();
        }
        tasks.push_back(known);
    }

    pub fn forget(&self, user: usize, ids: &[i64]) {
        let mut tasks = self.known[user]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|known| !ids.contains(&known.seen.id));
    }

    pub fn keep(&self, kept: Kept) {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(kept);
    }

    pub fn any_kept(&self, rng: &mut Rng) -> Option<Kept> {
        let all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (!all.is_empty()).then(|| all[rng.usize(..all.len())].clone())
    }

    pub fn pick(&self, user: usize, rng: &mut Rng) -> Option<Known> {
        let tasks = self.known[user]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Mostly one of the newest.
        let range = if rng.u8(..4) > 0 {
            tasks.len().min(3)
        } else {
            tasks.len()
        };
        (range > 0).then(|| tasks[tasks.len() - 1 - rng.usize(..range)].clone())
    }
}

/// The name of a round's user.
fn user(round: u64, index: usize) -> String {
    format!("r{round}-{index}")
}
