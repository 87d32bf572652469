//! Fixed windows in this process's memory, bounded in number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// Beyond this many, those that were used least recently are forgotten.
const CAPACITY: u64 = 100_000;

/// Counts by key, each in a window that starts with its first count.
pub(super) struct Windows {
    length: Duration,
    cache: Cache<String, Arc<Window>>,
}

struct Window {
    started: Instant,
    count: AtomicU64,
}

impl Windows {
    /// Windows of `length`.
    pub fn new(length: Duration) -> Self {
        Self::bounded(length, CAPACITY)
    }

    fn bounded(length: Duration, capacity: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(capacity)
            .time_to_live(length)
            // By default a full cache keeps out what is new, which is whoever calls now.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { length, cache }
    }

    /// Counts `key` once more: the count, and what is left of its window.
    pub fn count(&self, key: &str) -> (u64, Duration) {
        let window = self.cache.get_with_by_ref(key, || {
            Arc::new(Window {
                started: Instant::now(),
                count: AtomicU64::new(0),
            })
        });
        let count = window.count.fetch_add(1, Ordering::Relaxed) + 1;
        (count, self.length.saturating_sub(window.started.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_anew() {
        let windows = Windows::new(Duration::from_millis(200));
        assert_eq!(windows.count("a").0, 1);
        let (count, left) = windows.count("a");
        assert_eq!(count, 2);
        assert!(left <= Duration::from_millis(200));
        assert_eq!(windows.count("b").0, 1);
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(windows.count("a").0, 1);
    }

    #[test]
    fn memory_is_bounded_and_newcomers_are_counted() {
        let windows = Windows::bounded(Duration::from_secs(60), 100);
        for number in 0..10_000 {
            windows.count(&number.to_string());
        }
        windows.cache.run_pending_tasks();
        assert!(windows.cache.entry_count() <= 100);
        windows.count("new");
        windows.cache.run_pending_tasks();
        assert_eq!(windows.count("new").0, 2);
    }

    #[test]
    fn none_is_lost_between_threads() {
        let windows = Windows::new(Duration::from_secs(60));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| _ = windows.count("a")));
            }
        });
        assert_eq!(windows.count("a").0, 8001);
    }
}
