//! The one database connection that checks share.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::store::{ConnectError, StoreError};

use super::probe::Connection;

/// A connection that is opened by the first check that needs it.
pub(super) struct Session<C> {
    login: OnceCell<Result<Duration, ConnectError>>,
    /// Empty while a query is in progress.
    open: Mutex<Option<Idle<C>>>,
}

struct Idle<C> {
    connection: C,
    since: Instant,
}

/// A connection that was idle longer may have been ended for that, by `idle_session_timeout` or by a
/// proxy.
const SURELY_OPEN: Duration = Duration::from_millis(500);

impl<C: Connection> Session<C> {
    pub(super) fn new() -> Self {
        Self {
            login: OnceCell::new(),
            open: Mutex::new(None),
        }
    }

    /// With a connection that is open.
    pub(super) fn holding(connection: C) -> Self {
        let session = Self::new();
        session.put(Some(connection));
        session
    }

    /// The connection, unless a query on it has failed.
    pub(super) fn take(&self) -> Option<C> {
        self.put(None).map(|idle| idle.connection)
    }

    /// Logs in, once a run; returns how long that took.
    pub(super) async fn login(
        &self,
        target: &C::Target,
        limit: Duration,
    ) -> &Result<Duration, ConnectError> {
        let log_in = async || {
            let started = Instant::now();
            let connection = C::open(target, limit).await?;
            self.put(Some(connection));
            Ok(started.elapsed())
        };
        self.login.get_or_init(log_in).await
    }

    /// Runs a query. If it fails or times out, its connection is dropped, because the answer may
    /// still arrive; the next query opens another.
    pub(super) async fn ask<T>(
        &self,
        target: &C::Target,
        limit: Duration,
        question: impl AsyncFnOnce(&mut C) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.put(None) {
            Some(idle) if idle.since.elapsed() < SURELY_OPEN => idle.connection,
            Some(Idle { mut connection, .. }) => match connection.query().await {
                Err(StoreError::ConnectionLost(_) | StoreError::Stale(_)) => {
                    C::open(target, limit).await?
                }
                // Whatever else is wrong is the question's to find.
                Ok(()) | Err(_) => connection,
            },
            None => C::open(target, limit).await?,
        };
        let answer = question(&mut connection).await?;
        self.put(Some(connection));
        Ok(answer)
    }

    pub(super) async fn close(&self) {
        if let Some(connection) = self.take() {
            connection.close().await;
        }
    }

    /// Replaces the connection and returns the one that was there.
    fn put(&self, connection: Option<C>) -> Option<Idle<C>> {
        let since = Instant::now();
        let new = connection.map(|connection| Idle { connection, since });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *open, new)
    }
}
