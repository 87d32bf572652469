//! How a pool opens its connections, and which of them it uses again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, RecycleResult};

use super::connect_error::ConnectError;
use super::opener::Opener;
use super::session::Session;

/// A connection that was idle longer than this is pinged before it is used again: proxies and
/// firewalls end idle connections without a word, the strictest after some seconds.
const PING_AFTER: Duration = Duration::from_secs(5);

/// Opens and recycles one pool's connections.
pub(super) struct Manager {
    opener: Opener,
    max_age: Duration,
    /// Connections that were opened before this are not used again.
    opened_after: Mutex<Instant>,
}

impl Manager {
    pub fn new(opener: Opener, max_age: Duration) -> Self {
        Self {
            opener,
            max_age,
            opened_after: Mutex::new(Instant::now()),
        }
    }

    /// Whether prepared statements are reused.
    pub fn prepares_statements(&self) -> bool {
        self.opener.prepares_statements()
    }

    /// No connection that is open now is used again.
    pub fn outdate(&self) {
        *lock(&self.opened_after) = Instant::now();
    }
}

impl managed::Manager for Manager {
    type Type = Session;
    type Error = ConnectError;

    async fn create(&self) -> Result<Session, ConnectError> {
        // Boxed, so that the future of every statement does not have room for this.
        Box::pin(self.opener.open()).await
    }

    async fn recycle(
        &self,
        session: &mut Session,
        metrics: &Metrics,
    ) -> RecycleResult<ConnectError> {
        if metrics.age() > self.max_age {
            return Err(managed::RecycleError::message(
                "older than the configured age",
            ));
        }
        if metrics.created <= *lock(&self.opened_after) {
            return Err(managed::RecycleError::message("out of date"));
        }
        if metrics.last_used() > PING_AFTER && session.ping().await.is_err() {
            return Err(managed::RecycleError::message("does not answer a ping"));
        }
        Ok(())
    }
}

/// The value of a mutex; nobody panics while holding it.
fn lock(instant: &Mutex<Instant>) -> MutexGuard<'_, Instant> {
    instant.lock().unwrap_or_else(PoisonError::into_inner)
}
