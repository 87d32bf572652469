//! Pools of plain sqlx connections.
//!
//! sqlx's own pool spawns a task and pings at every release, which costs a point
//! read about a third of its rate. Here deadpool keeps the connections, and one
//! is pinged only when it has been idle for a while.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, Object, PoolError, QueueMode, RecycleResult, TimeoutType};
use prometheus::{Histogram, HistogramOpts};
use sqlx::{Connection, Database};

use super::connect_error::ConnectError;
use super::dialect::{Dialect, Sql};
use super::error::{StoreError, is_connection_lost};

/// A connection that idled longer than this is pinged before it is used again.
const PING_AFTER: Duration = Duration::from_secs(30);

/// One engine: how to open a connection, and which dialect it speaks.
pub(super) trait Backend: Send + Sync + 'static {
    /// sqlx's name for the engine.
    type Db: Database;

    /// Opens one connection.
    fn open(
        &self,
    ) -> impl Future<Output = Result<<Self::Db as Database>::Connection, ConnectError>> + Send;

    /// Whether statements may be prepared once and used again.
    fn persistent(&self) -> bool;

    /// What this engine speaks.
    fn dialect(&self) -> Dialect;

    /// The statement in this engine's dialect.
    fn text(sql: &Sql) -> &'static str;
}

/// What tells whether the database answers, without asking it.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// The outcome of the newest query: 1 answered, -1 out of reach, 0 none yet.
    last: AtomicI64,
}

impl Pulse {
    fn record(&self, answered: bool) {
        self.last
            .store(if answered { 1 } else { -1 }, Ordering::Relaxed);
    }

    /// Whether the newest query was answered; `None` before the first.
    pub fn last(&self) -> Option<bool> {
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            outcome => Some(outcome > 0),
        }
    }
}

/// Opens and recycles one pool's connections.
pub(super) struct Manager<B> {
    backend: B,
    max_age: Duration,
}

impl<B: Backend> managed::Manager for Manager<B> {
    type Type = <B::Db as Database>::Connection;
    type Error = ConnectError;

    async fn create(&self) -> Result<Self::Type, ConnectError> {
        self.backend.open().await
    }

    async fn recycle(
        &self,
        connection: &mut Self::Type,
        metrics: &Metrics,
    ) -> RecycleResult<ConnectError> {
        if metrics.age() > self.max_age {
            return Err(managed::RecycleError::message("older than the pool keeps"));
        }
        if metrics.last_used() > PING_AFTER && connection.ping().await.is_err() {
            return Err(managed::RecycleError::message("no longer answers"));
        }
        Ok(())
    }
}

/// Sizes and times of one pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections kept open.
    pub keep: usize,
    /// The most that may be open.
    pub max: usize,
    /// How long a caller waits for one.
    pub wait: Duration,
    /// The age at which one is replaced.
    pub max_age: Duration,
}

/// A pool of connections to one database.
pub(super) struct Pool<B: Backend> {
    inner: managed::Pool<Manager<B>>,
    limits: Limits,
    waiting: AtomicUsize,
    pulse: Arc<Pulse>,
    acquire_seconds: Histogram,
}

/// The histogram that all pools of a store share.
pub(super) fn acquire_histogram() -> Histogram {
    let options = HistogramOpts::new(
        "db_pool_acquire_seconds",
        "Time from asking for a database connection to having one.",
    )
    .buckets(vec![
        0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0,
    ]);
    #[allow(
        clippy::expect_used,
        reason = "the name and the buckets are constants and valid"
    )]
    Histogram::with_opts(options).expect("valid histogram options")
}

impl<B: Backend> Pool<B> {
    pub fn new(backend: B, limits: Limits, pulse: Arc<Pulse>, acquire_seconds: Histogram) -> Self {
        let manager = Manager {
            backend,
            max_age: limits.max_age,
        };
        #[allow(
            clippy::expect_used,
            reason = "build fails only without a runtime, which is given"
        )]
        let inner = managed::Pool::builder(manager)
            .max_size(limits.max)
            .wait_timeout(Some(limits.wait))
            .create_timeout(Some(limits.wait))
            .recycle_timeout(Some(Duration::from_secs(5)))
            .queue_mode(QueueMode::Lifo)
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .expect("a runtime is set");
        Self {
            inner,
            limits,
            waiting: AtomicUsize::new(0),
            pulse,
            acquire_seconds,
        }
    }

    /// A connection for one unit of work.
    pub async fn lease(&self) -> Result<Lease<'_, B>, StoreError> {
        let started = Instant::now();
        let waiting = Waiting::new(&self.waiting);
        let outcome = self.inner.get().await;
        drop(waiting);
        self.acquire_seconds
            .observe(started.elapsed().as_secs_f64());
        match outcome {
            Ok(object) => Ok(Lease {
                object: Some(object),
                pool: self,
                settled: false,
                spoilt: false,
            }),
            Err(error) => Err(self.explain(error)),
        }
    }

    fn explain(&self, error: PoolError<ConnectError>) -> StoreError {
        match error {
            PoolError::Backend(error) => {
                self.pulse.record(false);
                StoreError::Connect(error)
            }
            PoolError::Closed => StoreError::Closed,
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                self.pulse.record(false);
                self.timed_out()
            }
            PoolError::Timeout(TimeoutType::Wait)
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => self.timed_out(),
        }
    }

    fn timed_out(&self) -> StoreError {
        let status = self.inner.status();
        StoreError::PoolTimeout {
            waited: self.limits.wait,
            in_use: status.size.saturating_sub(status.available),
            max: self.limits.max,
        }
    }

    /// Closes what idled longer than `idle`, but for the `keep` connections that stay open.
    pub fn close_idle(&self, idle: Duration, keep_some: bool) {
        let keep = if keep_some { self.limits.keep } else { 0 };
        let mut excess = self.inner.status().size.saturating_sub(keep);
        self.inner.retain(|_, metrics| {
            let close = excess > 0 && metrics.last_used() > idle;
            excess -= usize::from(close);
            !close
        });
    }

    /// Closes every idle connection and lets no new one be opened.
    pub fn close(&self) {
        self.inner.close();
    }

    /// What the pool holds at this moment.
    pub fn status(&self) -> PoolStatus {
        let status = self.inner.status();
        PoolStatus {
            size: status.size,
            idle: status.available,
            waiting: self.waiting.load(Ordering::Relaxed),
            max: self.limits.max,
        }
    }
}

/// Connections at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Open connections.
    pub size: usize,
    /// Open and unused.
    pub idle: usize,
    /// Callers that ask for one and have none yet.
    pub waiting: usize,
    /// The most that may be open.
    pub max: usize,
}

/// Counts a caller for as long as it lives, also when the caller is cancelled.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in use. It goes back to the pool only when [`Lease::settle`] was
/// called: one whose work was cancelled or lost is closed instead, because a
/// statement or a transaction may still be open on it.
pub(super) struct Lease<'a, B: Backend> {
    object: Option<Object<Manager<B>>>,
    pool: &'a Pool<B>,
    settled: bool,
    spoilt: bool,
}

impl<B: Backend> Lease<'_, B> {
    /// The statement in this connection's dialect.
    #[allow(clippy::unused_self, reason = "the connection tells which engine")]
    pub fn text(&self, sql: &Sql) -> &'static str {
        B::text(sql)
    }

    /// Whether statements may be prepared once and used again.
    pub fn persistent(&self) -> bool {
        self.pool.inner.manager().backend.persistent()
    }

    /// What this connection speaks.
    pub fn dialect(&self) -> Dialect {
        self.pool.inner.manager().backend.dialect()
    }

    /// Ends the unit of work. After a lost connection every idle one is closed
    /// too: the server that went away took them with it.
    pub fn settle<T>(mut self, outcome: &Result<T, sqlx::Error>) {
        let lost = outcome.as_ref().is_err_and(is_connection_lost);
        self.pool.pulse.record(!lost);
        self.settled = !lost && !self.spoilt;
        if lost {
            self.pool.inner.retain(|_, _| false);
        }
    }

    /// From now on the connection is fit to be closed only: a transaction may be open on it.
    pub fn spoil(&mut self) {
        self.spoilt = true;
    }

    /// Ends a transaction, given what became of its COMMIT or ROLLBACK. Where that failed
    /// the transaction may still be open (SQLite), so the connection is closed.
    pub fn finish<T>(self, ended: &Result<T, sqlx::Error>) {
        match ended {
            Err(error) if !is_connection_lost(error) => drop(self),
            _ => self.settle(ended),
        }
    }
}

impl<B: Backend> Deref for Lease<'_, B> {
    type Target = <B::Db as Database>::Connection;

    #[allow(clippy::expect_used, reason = "only drop takes the object")]
    fn deref(&self) -> &Self::Target {
        self.object
            .as_ref()
            .expect("a lease holds its connection until it is dropped")
    }
}

impl<B: Backend> DerefMut for Lease<'_, B> {
    #[allow(clippy::expect_used, reason = "only drop takes the object")]
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.object
            .as_mut()
            .expect("a lease holds its connection until it is dropped")
    }
}

impl<B: Backend> Drop for Lease<'_, B> {
    fn drop(&mut self) {
        if let (false, Some(object)) = (self.settled, self.object.take()) {
            drop(Object::take(object));
        }
    }
}
