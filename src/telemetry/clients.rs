//! Which clients were served and which refused in the last minutes: for `GET /status`. Bounded.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::domain::Timestamp;

use super::missing_tasks::MissingTasks;
use super::pages::{PageRequest, RecentPages};
use super::recent::Window;
use super::refusals::{RecentRefusals, RefusalKind, Refusals};

/// The clients of the last [`super::MINUTES`]. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RecentClients(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    accepted: [Window; KINDS.len()],
    done: [Window; DONE.len()],
    key_obstacles: [Window; OBSTACLES.len()],
    refusals: RecentRefusals,
    missing_tasks: MissingTasks,
    pages: RecentPages,
    /// Since the start.
    has_local_proxy: AtomicBool,
    has_scraper: AtomicBool,
    has_clients: AtomicBool,
}

/// The kinds of credentials, as in the metrics; `none` where a request has none.
const KINDS: [&str; 4] = ["jwt", "service", "session", "none"];

/// What refusals are compared with: writes by their methods, and refreshed tokens.
const DONE: [&str; 5] = ["POST", "PUT", "PATCH", "DELETE", REFRESH];

/// Why the key provider could not check a key.
const OBSTACLES: [&str; 4] = ["location", "timed_out", "network", "unexpected"];

/// An access token that was issued for a refresh token.
pub const REFRESH: &str = "refresh";

impl RecentClients {
    /// Counts credentials that were accepted.
    pub fn accepted(&self, kind: &str, now: Timestamp) {
        count(&KINDS, &self.0.accepted, kind, now);
    }

    /// Counts a request that has succeeded: its method, or [`REFRESH`]. Only what changes something
    /// is counted.
    pub fn done(&self, what: &str, now: Timestamp) {
        count(&DONE, &self.0.done, what, now);
    }

    /// Counts a refusal; whether it is the first of its kind.
    pub(crate) fn refused(
        &self,
        kind: RefusalKind,
        details: impl IntoIterator<Item = Cow<'static, str>>,
        address: IpAddr,
        now: Timestamp,
    ) -> bool {
        self.0.refusals.count(kind, details, address, now)
    }

    /// Counts a request of a web page whose origin is allowed.
    pub fn of_page(&self, origin: &str, request: PageRequest, now: Timestamp) {
        self.0.pages.count(origin, request, now);
    }

    /// The origin of each web page, how many of its preflights were answered with yes, and how many
    /// other requests it has made.
    #[must_use]
    pub fn pages(&self, now: Timestamp) -> Vec<(String, u64, u64)> {
        self.0.pages.all(now)
    }

    /// Notes a request for a task that does not exist; `client` is the address of one on the internet.
    pub(crate) fn missing_task(&self, id: i64, client: Option<IpAddr>, now: Timestamp) {
        self.0.missing_tasks.note(id, client, now);
    }

    /// The ids of the newest tasks that were asked for and do not exist.
    #[must_use]
    pub fn missing_tasks(&self, now: Timestamp) -> Vec<i64> {
        self.0.missing_tasks.ids(now)
    }

    /// Counts a key that the key provider could not check, for this reason.
    pub fn key_obstacle(&self, reason: &str, now: Timestamp) {
        count(&OBSTACLES, &self.0.key_obstacles, reason, now);
    }

    /// How many keys the key provider could not check, for each reason.
    pub fn count_key_obstacles(&self, now: Timestamp) -> impl Iterator<Item = (&'static str, u64)> {
        sums(OBSTACLES, &self.0.key_obstacles, now)
    }

    /// Notes a request that a proxy has forwarded from this machine, container or pod.
    pub fn forwarded_locally(&self) {
        self.0.has_local_proxy.store(true, Ordering::Relaxed);
    }

    /// Notes that somebody has read the metrics.
    pub fn scraped(&self) {
        self.0.has_scraper.store(true, Ordering::Relaxed);
    }

    /// Notes a request that is no probe, or was forwarded.
    pub fn came(&self) {
        self.0.has_clients.store(true, Ordering::Relaxed);
    }

    /// Whether a proxy of this machine, container or pod has forwarded a request since the start.
    #[must_use]
    pub fn has_local_proxy(&self) -> bool {
        self.0.has_local_proxy.load(Ordering::Relaxed)
    }

    /// Whether somebody has read the metrics since the start.
    #[must_use]
    pub fn has_scraper(&self) -> bool {
        self.0.has_scraper.load(Ordering::Relaxed)
    }

    /// Whether a request has come since the start that is no probe, or was forwarded.
    #[must_use]
    pub fn has_clients(&self) -> bool {
        self.0.has_clients.load(Ordering::Relaxed)
    }

    /// How many credentials of each kind were accepted.
    pub fn count_accepted(&self, now: Timestamp) -> impl Iterator<Item = (&'static str, u64)> {
        sums(KINDS, &self.0.accepted, now)
    }

    /// How many requests of each kind have succeeded.
    pub fn count_done(&self, now: Timestamp) -> impl Iterator<Item = (&'static str, u64)> {
        sums(DONE, &self.0.done, now)
    }

    /// How many requests have created something.
    #[must_use]
    pub fn created(&self, now: Timestamp) -> u64 {
        let mut done = self.count_done(now);
        done.find(|(what, _)| *what == "POST")
            .map_or(0, |(_, count)| count)
    }

    /// The refusals, the most frequent ones first.
    #[must_use]
    pub fn refusals(&self, now: Timestamp) -> Vec<Refusals> {
        self.0.refusals.all(now)
    }
}

fn count(names: &[&str], windows: &[Window], name: &str, now: Timestamp) {
    let index = names.iter().position(|one| *one == name);
    if let Some(window) = index.and_then(|index| windows.get(index)) {
        window.count(now);
    }
}

fn sums<const N: usize>(
    names: [&'static str; N],
    windows: &[Window; N],
    now: Timestamp,
) -> impl Iterator<Item = (&'static str, u64)> {
    let counts: Vec<u64> = windows.iter().map(|window| window.sum(now)).collect();
    names.into_iter().zip(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_forgotten() {
        let at = |minute: i64| Timestamp::from_micros_clamped(minute * 60_000_000);
        let clients = RecentClients::default();
        clients.accepted("jwt", at(1));
        clients.accepted("other", at(1));
        clients.done("POST", at(1));
        clients.done("GET", at(1));
        clients.key_obstacle("location", at(1));
        let counts = |now| -> (u64, u64, u64) {
            (
                clients.count_accepted(now).map(|(_, count)| count).sum(),
                clients.count_done(now).map(|(_, count)| count).sum(),
                clients
                    .count_key_obstacles(now)
                    .map(|(_, count)| count)
                    .sum(),
            )
        };
        assert_eq!(counts(at(1)), (1, 1, 1));
        assert_eq!(counts(at(100)), (0, 0, 0));
    }
}
