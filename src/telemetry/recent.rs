//! What failed in the last minutes, and why: for `GET /status`. Bounded, and without texts that
//! may hold data.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::domain::Timestamp;

/// How far back the counts reach.
pub const MINUTES: u32 = 15;

/// So many failures of each route are kept.
const NEWEST: usize = 3;

/// The lower half of a slot.
const COUNT: u64 = u32::MAX as u64;

/// Counts events of the last [`MINUTES`].
///
/// A slot holds the number of its minute in the upper half and the count in the lower one, so
/// that one operation changes both.
#[derive(Debug, Default)]
pub struct Window([AtomicU64; MINUTES as usize]);

impl Window {
    /// Counts an event at `now`.
    pub fn count(&self, now: Timestamp) {
        self.add(now, 1);
    }

    /// Counts `events` at `now`.
    pub fn add(&self, now: Timestamp, events: u64) {
        let minute = minute_of(now);
        let slot = &self.0[(minute % MINUTES) as usize];
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |slot| {
            let counted = if slot >> 32 == u64::from(minute) {
                slot & COUNT
            } else {
                0
            };
            Some((u64::from(minute) << 32) | counted.saturating_add(events).min(COUNT))
        });
    }

    /// The events within the last [`MINUTES`] before `now`.
    #[must_use]
    pub fn sum(&self, now: Timestamp) -> u64 {
        let minute = u64::from(minute_of(now));
        let slots = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        slots
            .filter(|slot| minute.saturating_sub(slot >> 32) < u64::from(MINUTES))
            .map(|slot| slot & COUNT)
            .sum()
    }
}

/// Minutes since 1970.
fn minute_of(now: Timestamp) -> u32 {
    u32::try_from(now.unix_seconds() / 60).unwrap_or_default()
}

/// A request that was answered with a 5xx status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentFailure {
    /// When it was answered.
    pub at: Timestamp,
    /// The status of the answer.
    pub status: u16,
    /// The kind of error, such as `database`.
    pub kind: &'static str,
    /// The database's code: an SQLSTATE of PostgreSQL, or a number of SQLite.
    pub code: Option<String>,
    /// The id of the known message, such as `postgres.deadlock`.
    pub known_message: Option<&'static str>,
    /// The id of the request, which its log line has too.
    pub request_id: String,
}

/// So many routes are told apart: the endpoints, and unknown paths by their methods.
const ROUTES: usize = 64;

/// A method and the template of a path.
#[derive(Debug)]
struct Route {
    method: &'static str,
    path: &'static str,
    answered: Window,
    failed: Window,
    newest: Mutex<VecDeque<RecentFailure>>,
}

/// A route's failures: how many, and the newest of them first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFailures {
    /// The method.
    pub method: &'static str,
    /// The template of the path.
    pub route: &'static str,
    /// How many there were.
    pub failed: u64,
    /// The newest of them, the last one first.
    pub newest: Vec<RecentFailure>,
}

/// The requests of the last [`MINUTES`]. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RecentRequests(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    shed: Window,
    /// In the order of their first requests, without a gap.
    routes: [OnceLock<Box<Route>>; ROUTES],
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            shed: Window::default(),
            routes: [const { OnceLock::new() }; ROUTES],
        }
    }
}

impl Shared {
    /// The route's own counts. Beyond [`ROUTES`] it shares those of the last one.
    fn route(&self, method: &'static str, path: &'static str) -> Option<&Route> {
        let new = || {
            Box::new(Route {
                method,
                path,
                answered: Window::default(),
                failed: Window::default(),
                newest: Mutex::default(),
            })
        };
        let routes = self.routes.iter().map(|slot| &**slot.get_or_init(new));
        let mut last = None;
        for route in routes {
            if route.method == method && route.path == path {
                return Some(route);
            }
            last = Some(route);
        }
        last
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes
            .iter()
            .map_while(|slot| slot.get().map(|route| &**route))
    }
}

impl RecentRequests {
    /// Counts an answer of any status.
    pub fn answered(&self, method: &'static str, route: &'static str, now: Timestamp) {
        if let Some(route) = self.0.route(method, route) {
            route.answered.count(now);
        }
    }

    /// Counts a request that was refused because of too much load.
    pub fn shed(&self, now: Timestamp) {
        self.0.shed.count(now);
    }

    /// Keeps a failure.
    pub fn failed(&self, method: &'static str, route: &'static str, failure: RecentFailure) {
        let Some(route) = self.0.route(method, route) else {
            return;
        };
        route.failed.count(failure.at);
        let mut newest = route.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.truncate(NEWEST - 1);
        newest.push_front(failure);
    }

    /// Answers within the last [`MINUTES`], by method and template of the path.
    pub fn count_answered(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let routes = self.0.routes();
        routes.map(move |route| (route.method, route.path, route.answered.sum(now)))
    }

    /// Refusals because of load within the last [`MINUTES`].
    #[must_use]
    pub fn count_shed(&self, now: Timestamp) -> u64 {
        self.0.shed.sum(now)
    }

    /// The routes that failed within the last [`MINUTES`].
    #[must_use]
    pub fn failures(&self, now: Timestamp) -> Vec<RouteFailures> {
        let failures = self.0.routes().map(|route| {
            let newest = route.newest.lock().unwrap_or_else(PoisonError::into_inner);
            RouteFailures {
                method: route.method,
                route: route.path,
                failed: route.failed.sum(now),
                newest: newest.iter().cloned().collect(),
            }
        });
        failures.filter(|one| one.failed > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_micros_clamped(minute * 60_000_000)
    }

    #[test]
    fn a_window_forgets() {
        let window = Window::default();
        for minute in [100, 100, 101, 114] {
            window.count(at(minute));
        }
        assert_eq!(window.sum(at(114)), 4);
        assert_eq!(window.sum(at(115)), 2);
        // The slot of minute 100.
        window.count(at(115));
        assert_eq!(window.sum(at(115)), 3);
        assert_eq!(window.sum(at(200)), 0);
    }

    #[test]
    fn the_newest_failures_are_kept() {
        let recent = RecentRequests::default();
        for minute in 1..=10 {
            let failure = RecentFailure {
                at: at(minute),
                status: 503,
                kind: "database",
                code: None,
                known_message: None,
                request_id: minute.to_string(),
            };
            recent.failed("GET", "/tasks/", failure);
        }
        let failures = recent.failures(at(10));
        assert_eq!((failures.len(), failures[0].failed), (1, 10));
        let ids = failures[0].newest.iter().map(|one| one.request_id.as_str());
        assert_eq!(ids.collect::<Vec<_>>(), ["10", "9", "8"]);
        assert_eq!(recent.failures(at(100)), []);
    }

    #[test]
    fn answers_are_counted_by_route() {
        let recent = RecentRequests::default();
        for (method, times) in [("GET", 3), ("POST", 2), ("GET", 1)] {
            for _ in 0..times {
                recent.answered(method, "/tasks/", at(1));
            }
        }
        let counted: Vec<_> = recent.count_answered(at(1)).collect();
        assert_eq!(counted, [("GET", "/tasks/", 4), ("POST", "/tasks/", 2)]);
        // More than there are.
        for number in 0..ROUTES {
            let path = Box::leak(number.to_string().into_boxed_str());
            recent.answered("GET", path, at(1));
        }
        let all: u64 = recent
            .count_answered(at(1))
            .map(|(_, _, count)| count)
            .sum();
        assert_eq!(all, 6 + ROUTES as u64);
    }
}
