//! Which users are known to have few tasks.
//!
//! A page of a list has the number of all tasks, so its cost grows with that number. Pages share
//! a statement only if none of them keeps the others waiting.

use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};

use super::shares::{PLACES, Share};

/// The most tasks of a short list. So many entries of the index are counted in about 0.1 ms.
const SHORT: i64 = 1000;

/// What the latest list of each user had; users whose shares have the same place are not told
/// apart.
pub(super) struct ShortLists(Box<[AtomicBool]>);

impl ShortLists {
    pub fn new() -> Self {
        Self(
            iter::repeat_with(AtomicBool::default)
                .take(PLACES)
                .collect(),
        )
    }

    /// Records the number of a user's tasks.
    pub fn record(&self, share: Share, total: i64) {
        self.0[share.place()].store(total <= SHORT, Ordering::Relaxed);
    }

    /// Whether the user's list was short when it was last read.
    pub fn has(&self, share: Share) -> bool {
        self.0[share.place()].load(Ordering::Relaxed)
    }
}
