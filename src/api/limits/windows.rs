//! Fixed windows in this process's memory, bounded in number.

use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, EntryAction, EntryResult};

/// The most windows; beyond it the least used are dropped.
const CAPACITY: usize = 100_000;

/// Counts by key, each in a window that starts with its first count.
pub(super) struct Windows {
    length: Duration,
    cache: Cache<String, Window>,
}

#[derive(Clone, Copy)]
struct Window {
    started: Instant,
    count: u64,
}

impl Windows {
    pub fn new(length: Duration) -> Self {
        Self::bounded(length, CAPACITY)
    }

    fn bounded(length: Duration, capacity: usize) -> Self {
        Self {
            length,
            cache: Cache::new(capacity),
        }
    }

    /// Counts `key` once more: the count, and what is left of its window.
    pub fn count(&self, key: &str) -> (u64, Duration) {
        let now = Instant::now();
        let first = Window {
            started: now,
            count: 1,
        };
        let entry = self.cache.entry(key, None, |_, window| {
            if now.saturating_duration_since(window.started) < self.length {
                window.count += 1;
            } else {
                *window = first;
            }
            EntryAction::<Window>::Retain(*window)
        });
        let window = match entry {
            EntryResult::Retained(window) => window,
            EntryResult::Vacant(guard) => {
                // Fails only if the entry was dropped meanwhile: then the next count starts anew.
                let _ = guard.insert(first);
                first
            }
            // The closure retains every entry, and nothing limits the time.
            EntryResult::Replaced(..) | EntryResult::Removed(..) | EntryResult::Timeout => first,
        };
        let elapsed = now.saturating_duration_since(window.started);
        (window.count, self.length.saturating_sub(elapsed))
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
        assert!(windows.cache.len() <= 100);
        windows.count("new");
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
