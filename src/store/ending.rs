//! Ends what a server still does for connections that were lost, and for clients that have left.

use std::time::{Duration, Instant};

use super::arg::args;
use super::deadline;
use super::error::StoreError;
use super::pool::{Condition, Pool};
use super::session::{Backend, Session};
use super::sql::Sql;

/// How long to wait for the end of a lost connection's session.
const END_TIME: Duration = Duration::from_secs(2);

/// The pause after a session could not be ended.
const END_PAUSE: Duration = Duration::from_millis(250);

/// Signals a session. `$1` and `$2` are the process and its start, or that of its transaction: see
/// [`Backend`].
macro_rules! signal {
    ($function:literal) => {
        Sql::Common(concat!(
            "SELECT count(",
            $function,
            "(pid)) AS signalled FROM pg_catalog.pg_stat_activity
             WHERE pid = $1 AND $2 IN ((extract(epoch FROM backend_start) * 1000000)::bigint,
                (extract(epoch FROM xact_start) * 1000000)::bigint)"
        ))
    };
}

static TERMINATE: Sql = signal!("pg_terminate_backend");

/// Ends the statement that a session runs.
static CANCEL: Sql = signal!("pg_cancel_backend");

impl Pool {
    /// Tells the server to end the statement that `backend` runs. Its connection must be waiting
    /// for the answer: no other statement may begin meanwhile.
    pub async fn cancel(&self, backend: Backend) -> Result<(), StoreError> {
        let limit = Instant::now() + END_TIME;
        let cancelling = deadline::until(limit, self.signal(&CANCEL, backend));
        tokio::time::timeout_at(limit.into(), cancelling)
            .await
            .unwrap_or_else(|_| Err(self.timed_out()))
            .map(drop)
    }

    /// Ends the session of a connection that was lost, so that nothing it was sent can take
    /// effect any more; whether that is certain. Tries again until `until`, if the server cannot be
    /// reached.
    pub async fn end_session(&self, backend: Option<Backend>, until: Instant) -> bool {
        let Some(backend) = backend else {
            tokio::time::sleep_until(until.into()).await;
            return false;
        };
        loop {
            let error = match self.try_to_end(backend).await {
                Ok(()) => return true,
                Err(error) => error,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(%error, "the session of a lost connection could not be ended");
                return false;
            }
            tokio::time::sleep(END_PAUSE.min(left)).await;
        }
    }

    async fn try_to_end(&self, backend: Backend) -> Result<(), StoreError> {
        let ending = async {
            while self.signal(&TERMINATE, backend).await? {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, StoreError>(())
        };
        // The deadline of the work has passed perhaps; this must be done all the same.
        let limit = Instant::now() + END_TIME;
        tokio::time::timeout_at(limit.into(), deadline::until(limit, ending))
            .await
            .unwrap_or_else(|_| Err(self.timed_out()))
    }

    /// Signals a session; whether it was still there.
    async fn signal(&self, sql: &Sql, backend: Backend) -> Result<bool, StoreError> {
        let mut lease = self.lease().await?;
        let args = args![backend.pid, backend.started];
        let asked = async |session: &mut Session| {
            if self.prepares_statements() {
                return session.run(sql, &args).await;
            }
            // A pooler may change the server between the parts of a statement.
            session.begin().await?;
            let result = session.run(sql, &args).await?;
            session.end(true).await.map(|()| result)
        };
        let outcome = asked(&mut lease).await;
        lease.settle(if outcome.is_ok() {
            Condition::Reusable
        } else {
            Condition::Unclean
        });
        let signalled: i64 = outcome?.value("signalled")?;
        Ok(signalled > 0)
    }
}
