//! How long callers wait in a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prometheus::{Histogram, HistogramOpts};

/// The histogram that all pools of a store share.
pub(super) fn acquire_histogram() -> Histogram {
    let options = HistogramOpts::new(
        "db_pool_acquire_seconds",
        "Time from asking for a database connection to having one.",
    )
    .buckets(vec![
        0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0,
    ]);
    #[allow(
        clippy::expect_used,
        reason = "the name and the buckets are constants and valid"
    )]
    Histogram::with_opts(options).expect("valid histogram options")
}

/// Counts the callers that wait, and measures how long they do.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<State>);

#[derive(Default)]
struct State {
    waiting: AtomicUsize,
    /// How long the caller waited whose wait ended last, in microseconds.
    last_wait: AtomicU64,
    seconds: Option<Histogram>,
}

impl Queue {
    /// A queue whose waits are recorded in a histogram too.
    pub fn recorded_in(seconds: Histogram) -> Self {
        Self(Arc::new(State {
            seconds: Some(seconds),
            ..State::default()
        }))
    }

    /// Counts a caller that begins to wait.
    pub fn enter(&self) -> Waiting {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting {
            queue: self.clone(),
            since: Instant::now(),
        }
    }

    /// How long a caller has to wait now, judged by the wait that ended last; zero if nobody waits.
    pub fn delay(&self) -> Duration {
        match self.waiting() {
            0 => Duration::ZERO,
            _ => Duration::from_micros(self.0.last_wait.load(Ordering::Relaxed)),
        }
    }

    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

/// A caller that waits. It is counted until this is dropped, so that a cancelled caller is no
/// longer counted.
pub(super) struct Waiting {
    queue: Queue,
    since: Instant,
}

impl Waiting {
    /// Ends the wait.
    pub fn leave(self) {
        let waited = self.since.elapsed();
        let state = &self.queue.0;
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        state.last_wait.store(micros, Ordering::Relaxed);
        if let Some(seconds) = &state.seconds {
            seconds.observe(waited.as_secs_f64());
        }
    }
}

/// Ends waits that end together, given in the order in which they began. The longest counts for
/// [`Queue::delay`].
pub(super) fn leave_together(waits: impl DoubleEndedIterator<Item = Waiting>) {
    for waiting in waits.rev() {
        waiting.leave();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_waits_that_end_together_is_the_delay() {
        let queue = Queue::default();
        let older = queue.enter();
        std::thread::sleep(Duration::from_millis(20));
        let (younger, _still_waiting) = (queue.enter(), queue.enter());
        leave_together([older, younger].into_iter());
        assert!(
            queue.delay() >= Duration::from_millis(20),
            "{:?}",
            queue.delay()
        );
        assert_eq!(queue.waiting(), 1);
    }
}
