//! Which clients were refused in the last minutes: for `GET /status`. Bounded.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::Timestamp;

use super::recent::Window;

/// So many keys of [`Few`] are told apart.
const FEW: usize = 8;

/// A kind of credentials, and why they were refused.
type Refused = (&'static str, &'static str);

/// The clients of the last [`super::MINUTES`]. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RecentClients(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// By kind of credentials.
    accepted: [Window; KINDS.len()],
    refused: Mutex<BTreeMap<Refused, Window>>,
    limited_users: Window,
    limited_proxies: Few<IpAddr>,
    refused_origins: Few<String>,
    too_large: Window,
    unknown_paths: Window,
    /// Since the start.
    has_local_proxy: AtomicBool,
    has_scraper: AtomicBool,
}

/// Counts by keys that clients choose.
#[derive(Debug)]
struct Few<K>(Mutex<BTreeMap<K, Window>>);

impl<K> Default for Few<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone> Few<K> {
    /// Keys beyond [`FEW`] are not counted until others are forgotten.
    fn count(&self, key: K, now: Timestamp) {
        let mut counts = locked(&self.0);
        if counts.len() >= FEW {
            counts.retain(|one, counted| *one == key || counted.sum(now) > 0);
        }
        if counts.len() < FEW || counts.contains_key(&key) {
            counts.entry(key).or_default().count(now);
        }
    }

    fn sums(&self, now: Timestamp) -> Vec<(K, u64)> {
        let counts = locked(&self.0);
        let sums = counts
            .iter()
            .map(|(one, counted)| (one.clone(), counted.sum(now)));
        sums.filter(|(_, count)| *count > 0).collect()
    }
}

/// The kinds of credentials, as in the metrics; `none` where a request has none.
const KINDS: [&str; 4] = ["jwt", "service", "session", "none"];

impl RecentClients {
    /// Counts credentials that were accepted.
    pub fn accepted(&self, kind: &str, now: Timestamp) {
        let index = KINDS.iter().position(|one| *one == kind);
        if let Some(index) = index {
            self.0.accepted[index].count(now);
        }
    }

    /// Counts credentials that were refused. Kinds and reasons are few and constant.
    pub fn refused(&self, kind: &'static str, reason: &'static str, now: Timestamp) {
        locked(&self.0.refused)
            .entry((kind, reason))
            .or_default()
            .count(now);
    }

    /// Counts a request that `RATE_LIMIT_PER_MINUTE` refused.
    pub fn limited_user(&self, now: Timestamp) {
        self.0.limited_users.count(now);
    }

    /// Counts a request that `AUTH_FAILURES_PER_MINUTE` refused and that came through this proxy,
    /// which is not trusted.
    pub fn limited_proxy(&self, proxy: IpAddr, now: Timestamp) {
        self.0.limited_proxies.count(proxy, now);
    }

    /// Counts a preflight that was refused because `CORS_ORIGINS` does not have this origin.
    pub fn refused_origin(&self, origin: String, now: Timestamp) {
        self.0.refused_origins.count(origin, now);
    }

    /// Counts a request whose body is larger than `MAX_BODY_BYTES`.
    pub fn too_large(&self, now: Timestamp) {
        self.0.too_large.count(now);
    }

    /// Counts a request with credentials for a path that does not exist.
    pub fn unknown_path(&self, now: Timestamp) {
        self.0.unknown_paths.count(now);
    }

    /// Notes a request that a proxy has forwarded from this machine, container or pod.
    pub fn forwarded_locally(&self) {
        self.0.has_local_proxy.store(true, Ordering::Relaxed);
    }

    /// Notes that somebody has read the metrics.
    pub fn scraped(&self) {
        self.0.has_scraper.store(true, Ordering::Relaxed);
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

    /// How many credentials of each kind were accepted.
    pub fn count_accepted(&self, now: Timestamp) -> impl Iterator<Item = (&'static str, u64)> {
        let accepted = self.0.accepted.iter();
        let counts: Vec<u64> = accepted.map(|window| window.sum(now)).collect();
        KINDS.into_iter().zip(counts)
    }

    /// Why credentials of this kind were refused, and how many.
    #[must_use]
    pub fn count_refused(&self, kind: &str, now: Timestamp) -> BTreeMap<&'static str, u64> {
        let refused = locked(&self.0.refused);
        let of_kind = refused.iter().filter(|((one, _), _)| *one == kind);
        let counts = of_kind.map(|((_, reason), counted)| (*reason, counted.sum(now)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Requests that `RATE_LIMIT_PER_MINUTE` refused.
    #[must_use]
    pub fn count_limited_users(&self, now: Timestamp) -> u64 {
        self.0.limited_users.sum(now)
    }

    /// The proxies that are not trusted, and how many requests were refused that came through each.
    #[must_use]
    pub fn count_limited_proxies(&self, now: Timestamp) -> Vec<(IpAddr, u64)> {
        self.0.limited_proxies.sums(now)
    }

    /// The origins that `CORS_ORIGINS` does not have, and how many preflights of each were refused.
    #[must_use]
    pub fn count_refused_origins(&self, now: Timestamp) -> Vec<(String, u64)> {
        self.0.refused_origins.sums(now)
    }

    /// Requests with credentials for paths that do not exist.
    #[must_use]
    pub fn count_unknown_paths(&self, now: Timestamp) -> u64 {
        self.0.unknown_paths.sum(now)
    }

    /// Requests whose body was larger than `MAX_BODY_BYTES`.
    #[must_use]
    pub fn count_too_large(&self, now: Timestamp) -> u64 {
        self.0.too_large.sum(now)
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_micros_clamped(minute * 60_000_000)
    }

    #[test]
    fn counts_are_forgotten() {
        let clients = RecentClients::default();
        clients.accepted("jwt", at(1));
        clients.accepted("other", at(1));
        clients.refused("jwt", "signature", at(1));
        clients.limited_user(at(1));
        let accepted = |now| -> u64 { clients.count_accepted(now).map(|(_, count)| count).sum() };
        assert_eq!(accepted(at(1)), 1);
        assert_eq!(clients.count_refused("jwt", at(1))["signature"], 1);
        assert!(clients.count_refused("session", at(1)).is_empty());
        assert_eq!(clients.count_limited_users(at(1)), 1);
        assert_eq!(accepted(at(100)), 0);
        assert!(clients.count_refused("jwt", at(100)).is_empty());
        assert_eq!(clients.count_limited_users(at(100)), 0);
    }

    #[test]
    fn few_proxies_are_kept_and_old_ones_make_room() {
        let clients = RecentClients::default();
        for number in 0..20 {
            clients.limited_proxy(IpAddr::from([10, 0, 0, number]), at(1));
        }
        assert_eq!(clients.count_limited_proxies(at(1)).len(), FEW);
        let new = IpAddr::from([10, 0, 1, 1]);
        clients.limited_proxy(new, at(100));
        assert_eq!(clients.count_limited_proxies(at(100)), [(new, 1)]);
    }
}
