//! A user's share of a pool.
//!
//! The requests of one user use at most half of a pool's connections at a time, so others get
//! theirs, however many requests the user sends and however slow they are. Where a pool has one
//! connection, requests of one user wait for it one at a time, so users take turns. Work of no
//! user, such as a job's or a probe's, has no share to exceed.

use std::hash::{BuildHasher as _, RandomState};
use std::iter;
use std::pin::pin;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use crate::domain::UserId;

use super::client::while_client_waits;
use super::error::StoreError;
use super::queue::Queue;

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
    places: Box<[Place]>,
    /// Connections that one user may use at a time.
    size: usize,
    /// How long a caller waits for one of them.
    wait: Duration,
}

struct Place {
    turns: Semaphore,
    queue: Queue,
}

impl Shares {
    pub fn new(connections: usize, wait: Duration) -> Self {
        let size = connections.div_ceil(2);
        let place = || Place {
            turns: Semaphore::new(size),
            queue: Queue::default(),
        };
        Self {
            places: iter::repeat_with(place).take(PLACES).collect(),
            size,
            wait,
        }
    }

    /// Whether the user uses less than its share.
    pub fn is_free(&self, share: Share) -> bool {
        self.places[share.0].turns.available_permits() > 0
    }

    /// A turn of the user, if it uses less than its share.
    pub fn try_turn(&self, share: Share) -> Option<SemaphorePermit<'_>> {
        self.places[share.0].turns.try_acquire().ok()
    }

    /// Waits, at most until `deadline`, until the user uses less than its share.
    pub async fn turn(
        &self,
        share: Share,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, StoreError> {
        if let Some(turn) = self.try_turn(share) {
            return Ok(turn);
        }
        let Place { turns, queue } = &self.places[share.0];
        let deadline = deadline.min(Instant::now() + self.wait);
        let turn = pin!(timeout_at(deadline.into(), turns.acquire()));
        let (turn, waited) = queue.wait(while_client_waits(turn)).await;
        match turn? {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(StoreError::ShareTimeout {
                waited,
                share: self.size,
            }),
        }
    }

    /// How long the user's next request has to wait for its turn.
    pub fn delay(&self, share: Share) -> Duration {
        self.places[share.0].queue.delay()
    }
}
