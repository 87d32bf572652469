//! Which tasks were asked for that do not exist, by callers with right credentials: for `GET /status`.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::domain::Timestamp;

use super::recent::MINUTES;

/// So many are kept.
const MOST: usize = 100;

/// So many of one client on the internet, who may try any number.
const OF_CLIENT: usize = 5;

/// The newest requests of the last [`MINUTES`].
#[derive(Debug, Default)]
pub(super) struct MissingTasks(Mutex<VecDeque<Asked>>);

#[derive(Debug)]
struct Asked {
    at: Timestamp,
    id: i64,
    client: Option<IpAddr>,
}

impl Asked {
    fn is_recent(&self, now: Timestamp) -> bool {
        now.unix_seconds() - self.at.unix_seconds() < i64::from(MINUTES) * 60
    }
}

impl MissingTasks {
    /// Notes a request for the task `id`; `client` is the address of one on the internet.
    pub fn note(&self, id: i64, client: Option<IpAddr>, now: Timestamp) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        newest.retain(|one| one.is_recent(now));
        let of_client = newest.iter().filter(|one| one.client == client).count();
        if client.is_some() && of_client >= OF_CLIENT {
            return;
        }
        if newest.len() >= MOST {
            newest.pop_front();
        }
        newest.push_back(Asked {
            at: now,
            id,
            client,
        });
    }

    /// Their ids, the oldest request first.
    pub fn ids(&self, now: Timestamp) -> Vec<i64> {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = newest.iter().filter(|one| one.is_recent(now));
        recent.map(|one| one.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_forgotten() {
        let at = |minute: i64| Timestamp::from_micros_clamped(minute * 60_000_000);
        let missing = MissingTasks::default();
        let one = Some(IpAddr::from([203, 0, 113, 9]));
        for id in 0..20 {
            missing.note(id, one, at(1));
        }
        assert_eq!(missing.ids(at(1)), [0, 1, 2, 3, 4]);
        for id in 0..200 {
            missing.note(id, None, at(2));
        }
        assert_eq!(missing.ids(at(2)), (100..200).collect::<Vec<i64>>());
        assert!(missing.ids(at(100)).is_empty());
    }
}
