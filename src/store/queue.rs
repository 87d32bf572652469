//! How long callers wait in a queue.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counts the callers that wait, and measures how long they do.
#[derive(Default)]
pub(super) struct Queue {
    waiting: AtomicUsize,
    /// How long the newest caller waited, in microseconds.
    last_wait: AtomicU64,
}

impl Queue {
    /// Waits for `turn`; also how long that took.
    pub async fn wait<F: Future>(&self, turn: F) -> (F::Output, Duration) {
        let started = Instant::now();
        let waiting = Waiting::new(&self.waiting);
        let outcome = turn.await;
        drop(waiting);
        let waited = started.elapsed();
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.last_wait.store(micros, Ordering::Relaxed);
        (outcome, waited)
    }

    /// How long a caller has to wait now, judged by the newest one; zero if nobody waits.
    pub fn delay(&self) -> Duration {
        match self.waiting() {
            0 => Duration::ZERO,
            _ => Duration::from_micros(self.last_wait.load(Ordering::Relaxed)),
        }
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Counts a waiting caller until it is dropped, so that a cancelled caller is no longer counted.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
