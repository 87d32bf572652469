//! What the clients of a round share.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use fastrand::Rng;

use crate::faults::{Fault, Planned};
use crate::ledger::{Ledger, Stopwatch, View};
use crate::world::World;

/// Users of a round whose tasks several clients change.
pub const USERS: usize = 3;

/// Tasks of a user that the clients still know. Fewer make more requests meet.
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
    /// When tasks are due that are due soon, also for clocks that are hours ahead or behind.
    pub soon: String,
    /// Of each user.
    known: Vec<Mutex<VecDeque<Known>>>,
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
    /// 500 is no violation, because somebody changes the schema.
    pub may_fail: bool,
}

impl Limits {
    pub fn of(plan: &[Planned]) -> Self {
        let has = |fault| plan.iter().any(|planned| planned.fault == fault);
        Self {
            rows_expire: has(Fault::ClockDays),
            other_days: has(Fault::ClockDays) || has(Fault::ClockJump),
            may_fail: has(Fault::Schema),
        }
    }
}

/// A task, and the tag that stands for what it was.
#[derive(Debug, Clone)]
pub struct Known {
    pub id: i64,
    pub view: View,
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
        let users: Vec<_> = (0..USERS + writers)
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
            soon: soon(),
            known: users.iter().map(|_| Mutex::default()).collect(),
        }
    }

    /// What the names of the round's users begin with.
    pub fn prefix(&self) -> String {
        format!("r{}-", self.number)
    }

    pub fn user(&self, index: usize) -> String {
        user(self.number, index)
    }

    pub fn remember(&self, user: usize, known: Known) {
        let mut tasks = self.known[user]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|other| other.id != known.id);
        if tasks.len() == REMEMBERED {
            tasks.pop_front();
        }
        tasks.push_back(known);
    }

    pub fn forget(&self, user: usize, ids: &[i64]) {
        let mut tasks = self.known[user]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|known| !ids.contains(&known.id));
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

#[allow(
    clippy::disallowed_methods,
    reason = "the daemons have the machine's clock, or one that is set relative to it"
)]
fn soon() -> String {
    let soon = SystemTime::now() + Duration::from_hours(12);
    DateTime::<Utc>::from(soon)
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
