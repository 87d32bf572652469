//! Which requests were refused in the last minutes, why, and from where: for `GET /status`. Bounded,
//! and without texts that may hold data.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::domain::Timestamp;

use super::recent::Window;

/// So many kinds of refusals are told apart.
const KINDS: usize = 64;

/// So many details of a kind.
const DETAILS: usize = 12;

/// So many addresses of a kind.
const ADDRESSES: usize = 4;

/// A kind of refusal. Its texts are constants; those that do not apply are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusalKind {
    /// The status of the answer; 0 where there was none.
    pub status: u16,
    /// Why, in a word.
    pub reason: &'static str,
    /// The method.
    pub method: &'static str,
    /// The template of the path.
    pub route: &'static str,
    /// The kind of the credentials, as in the metrics; `unknown` where they were not checked, and
    /// `none` where there were none.
    pub caller: &'static str,
}

/// The refusals of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// The kind.
    pub kind: RefusalKind,
    /// How many there were.
    pub count: u64,
    /// What exactly was wrong, and how often.
    pub details: Vec<(Cow<'static, str>, u64)>,
    /// The clients' addresses, and how often each was refused.
    pub addresses: Vec<(IpAddr, u64)>,
}

/// The refusals of the last [`super::MINUTES`].
#[derive(Debug, Default)]
pub(super) struct RecentRefusals(Mutex<BTreeMap<RefusalKind, Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: Window,
    details: Few<Cow<'static, str>, DETAILS>,
    addresses: Few<IpAddr, ADDRESSES>,
}

impl RecentRefusals {
    /// Counts a refusal; whether it is the first of its kind. Kinds beyond [`KINDS`] are not counted
    /// until others are forgotten.
    pub fn count(
        &self,
        kind: RefusalKind,
        details: impl IntoIterator<Item = Cow<'static, str>>,
        address: IpAddr,
        now: Timestamp,
    ) -> bool {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= KINDS {
            kinds.retain(|one, counts| *one == kind || counts.all.sum(now) > 0);
        }
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            return false;
        }
        let counts = kinds.entry(kind).or_default();
        let is_first = counts.all.sum(now) == 0;
        counts.all.count(now);
        for detail in details {
            counts.details.count(detail, now);
        }
        counts.addresses.count(address, now);
        is_first
    }

    /// The most frequent ones first.
    pub fn all(&self, now: Timestamp) -> Vec<Refusals> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = kinds.iter().map(|(kind, counts)| Refusals {
            kind: *kind,
            count: counts.all.sum(now),
            details: counts.details.sums(now),
            addresses: counts.addresses.sums(now),
        });
        let mut all: Vec<Refusals> = all.filter(|one| one.count > 0).collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.count));
        all
    }
}

/// Counts by keys that clients choose.
#[derive(Debug)]
struct Few<K, const MOST: usize>(BTreeMap<K, Window>);

impl<K, const MOST: usize> Default for Few<K, MOST> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, const MOST: usize> Few<K, MOST> {
    /// Keys beyond `MOST` are not counted until others are forgotten.
    fn count(&mut self, key: K, now: Timestamp) {
        if self.0.len() >= MOST {
            self.0
                .retain(|one, counted| *one == key || counted.sum(now) > 0);
        }
        if self.0.len() < MOST || self.0.contains_key(&key) {
            self.0.entry(key).or_default().count(now);
        }
    }

    fn sums(&self, now: Timestamp) -> Vec<(K, u64)> {
        let sums = self
            .0
            .iter()
            .map(|(key, counted)| (key.clone(), counted.sum(now)));
        sums.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_micros_clamped(minute * 60_000_000)
    }

    fn kind(status: u16) -> RefusalKind {
        RefusalKind {
            status,
            reason: "media_type",
            method: "POST",
            route: "/tasks/",
            caller: "jwt",
        }
    }

    #[test]
    fn counts_are_bounded_and_forgotten() {
        let refusals = RecentRefusals::default();
        for number in 0..100_u8 {
            let detail = Some(Cow::Owned(number.to_string()));
            let address = IpAddr::from([10, 0, 0, number]);
            let is_first = refusals.count(kind(415), detail, address, at(1));
            assert_eq!(is_first, number == 0);
            refusals.count(kind(number.into()), None, address, at(1));
        }
        let all = refusals.all(at(1));
        assert_eq!(all.len(), KINDS);
        assert_eq!((all[0].kind, all[0].count), (kind(415), 100));
        assert_eq!(all[0].details.len(), DETAILS);
        assert_eq!(all[0].addresses.len(), ADDRESSES);
        assert_eq!(refusals.all(at(100)), []);
        // Old ones make room.
        let address = IpAddr::from([10, 0, 1, 1]);
        assert!(refusals.count(kind(999), Some("new".into()), address, at(100)));
        let all = refusals.all(at(100));
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].details, [("new".into(), 1)]);
        assert_eq!(all[0].addresses, [(address, 1)]);
    }
}
