//! Callers that wait for a connection: how many, and for how long.

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

/// The waiting callers of one pool.
pub(super) struct Waits {
    count: AtomicUsize,
    /// How long the newest caller waited, in microseconds.
    last: AtomicU64,
    seconds: Histogram,
}

impl Waits {
    pub fn new(seconds: Histogram) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            seconds,
        })
    }

    /// Counts a caller.
    pub fn begin(self: &Arc<Self>) -> Waiting {
        self.count.fetch_add(1, Ordering::Relaxed);
        Waiting {
            waits: Arc::clone(self),
            since: Instant::now(),
        }
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How long a caller has to wait now, judged by the newest one; zero if nobody waits.
    pub fn delay(&self) -> Duration {
        match self.count() {
            0 => Duration::ZERO,
            _ => Duration::from_micros(self.last.load(Ordering::Relaxed)),
        }
    }
}

/// A caller that waits for a connection. It is counted until this is dropped, so a cancelled
/// caller is no longer counted.
pub(super) struct Waiting {
    waits: Arc<Waits>,
    since: Instant,
}

impl Waiting {
    /// Records how long the caller waited, whether or not it got a connection.
    pub fn end(self) {
        let waited = self.since.elapsed();
        self.waits.seconds.observe(waited.as_secs_f64());
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.waits.last.store(micros, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waits.count.fetch_sub(1, Ordering::Relaxed);
    }
}
