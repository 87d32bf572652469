//! A user's share of a pool.
//!
//! The requests of one user use at most half of a pool's connections at a time, so others get
//! theirs, however many requests the user sends and however slow they are. Where a pool has one
//! connection, requests of one user wait for it one at a time, so users take turns. Work of no
//! user, such as a job's or a probe's, has no share to exceed.

use std::hash::{BuildHasher as _, RandomState};
use std::iter;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::domain::UserId;

use super::admission::{Admission, Kind, NoTurn, Standing, Turn};
use super::error::StoreError;

/// A table of fixed size needs no lock, no allocation and no clean-up. Two users share a place
/// with a probability of 1 in so many.
pub(super) const PLACES: usize = 4096;

/// Nobody outside can choose a user id that shares a place with another one.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The place of a user in [`Shares`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Share(usize);

impl Share {
    pub fn of(user: &UserId) -> Self {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "any bits of the hash will do"
        )]
        let hash = HASHER.hash_one(user) as usize;
        Self(hash % PLACES)
    }

    /// Below [`PLACES`].
    pub(super) fn place(self) -> usize {
        self.0
    }
}

/// The shares of all users of one pool.
pub(super) struct Shares {
    lines: Box<[Admission]>,
    /// Connections that one user may use at a time.
    size: usize,
    /// How long a caller waits for one of them.
    wait: Duration,
}

impl Shares {
    pub fn new(connections: usize, wait: Duration) -> Self {
        let size = connections.div_ceil(2);
        Self {
            lines: iter::repeat_with(|| Admission::new(size))
                .take(PLACES)
                .collect(),
            size,
            wait,
        }
    }

    /// Whether the user uses less than its share.
    pub fn is_free(&self, share: Share) -> bool {
        self.lines[share.0].is_free()
    }

    /// A turn of the user for a statement that runs now, if it uses less than its share.
    pub fn try_turn(&self, share: Share) -> Option<Turn> {
        let mut turn = self.lines[share.0].try_turn(Kind::Statement)?;
        turn.start();
        Some(turn)
    }

    /// Waits, at most until `deadline`, until the user uses less than its share.
    pub async fn turn(
        &self,
        share: Share,
        kind: Kind,
        standing: Standing,
        deadline: Instant,
    ) -> Result<Turn, StoreError> {
        let deadline = deadline.min(Instant::now() + self.wait);
        let turn = self.lines[share.0].turn(kind, standing, Some(deadline));
        turn.await.map_err(|reason| match reason {
            NoTurn::Refused(wait) => StoreError::TooBusy {
                wait,
                of_user: true,
            },
            NoTurn::TimedOut(waited) => StoreError::ShareTimeout {
                waited,
                share: self.size,
            },
            NoTurn::ClientLeft => StoreError::ClientLeft,
        })
    }
}
