//! Whether the latest statement was answered. Reading it does not query the database.

use std::sync::atomic::{AtomicI8, Ordering};

const NONE: i8 = 0;
const ANSWERED: i8 = 1;
const UNREACHABLE: i8 = -1;

/// The outcome of the latest statement.
#[derive(Debug, Default)]
pub(super) struct LastOutcome(AtomicI8);

impl LastOutcome {
    pub fn record(&self, answered: bool) {
        let outcome = if answered { ANSWERED } else { UNREACHABLE };
        self.0.store(outcome, Ordering::Relaxed);
    }

    /// Whether the latest statement was answered; `None` before the first.
    pub fn is_answered(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            NONE => None,
            outcome => Some(outcome == ANSWERED),
        }
    }
}
