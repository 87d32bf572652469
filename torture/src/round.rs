//! What the clients of a round share.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use fastrand::Rng;

use crate::ledger::{Ledger, Stopwatch, View};

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
    /// Of each user.
    known: Vec<Mutex<VecDeque<Known>>>,
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
    pub fn new(number: u64, ports: Vec<u16>, writers: usize, stopwatch: Stopwatch) -> Self {
        Self {
            number,
            ports,
            ledger: Ledger::default(),
            stopwatch,
            is_over: AtomicBool::new(false),
            known: (0..USERS + writers).map(|_| Mutex::default()).collect(),
        }
    }

    /// What the names of the round's users begin with.
    pub fn prefix(&self) -> String {
        format!("r{}-", self.number)
    }

    pub fn user(&self, index: usize) -> String {
        format!("r{}-{index}", self.number)
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
