//! Which web pages have asked whether they may call, and which have called, in the last minutes: for
//! `GET /status`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::Timestamp;

use super::recent::Window;

/// More pages than a service has.
const PAGES: usize = 64;

/// What browsers asked for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageRequest {
    /// A preflight, which was answered with yes.
    Preflight,
    /// Any other request.
    Other,
}

/// The pages of the last [`super::MINUTES`] by their origins, which the configuration has.
#[derive(Debug, Default)]
pub(super) struct RecentPages(Mutex<BTreeMap<String, Counts>>);

#[derive(Debug, Default)]
struct Counts {
    preflights: Window,
    others: Window,
}

impl RecentPages {
    pub fn count(&self, origin: &str, request: PageRequest, now: Timestamp) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !pages.contains_key(origin) {
            if pages.len() >= PAGES {
                return;
            }
            pages.insert(origin.to_owned(), Counts::default());
        }
        if let Some(counts) = pages.get(origin) {
            match request {
                PageRequest::Preflight => counts.preflights.count(now),
                PageRequest::Other => counts.others.count(now),
            }
        }
    }

    /// Each origin, its preflights, and its other requests.
    pub fn all(&self, now: Timestamp) -> Vec<(String, u64, u64)> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = pages.iter().map(|(origin, counts)| {
            let (preflights, others) = (counts.preflights.sum(now), counts.others.sum(now));
            (origin.clone(), preflights, others)
        });
        all.filter(|(_, preflights, others)| preflights + others > 0)
            .collect()
    }
}
