//! Pools of connections.
//!
//! sqlx's own pool spawns a task and pings on every release, which costs a point read about
//! a third of its rate. Here deadpool keeps the connections, and a connection is pinged only
//! after it was idle for a while.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::{self, Object, PoolError, QueueMode, TimeoutType, Timeouts};
use prometheus::Histogram;
use tokio::sync::SemaphorePermit;

use super::client::while_client_waits;
use super::connect_error::ConnectError;
use super::deadline;
use super::error::StoreError;
use super::last_outcome::LastOutcome;
use super::manager::Manager;
use super::opener::Opener;
use super::queue::Queue;
use super::session::Session;
use super::shares::Shares;

/// How much longer than the server's own limit a statement's answer is waited for.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Sizes and times of one pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections kept open.
    pub keep: usize,
    /// The most that may be open.
    pub max: usize,
    /// How long a caller waits for a connection.
    pub wait: Duration,
    /// How long a statement may take.
    pub statement: Duration,
    /// The age at which a connection is replaced.
    pub max_age: Duration,
}

/// A pool of connections to one database.
pub(super) struct Pool {
    inner: managed::Pool<Manager>,
    limits: Limits,
    queue: Queue,
    shares: Shares,
    last_outcome: Arc<LastOutcome>,
}

impl Pool {
    pub fn new(
        opener: Opener,
        limits: Limits,
        last_outcome: Arc<LastOutcome>,
        acquire_seconds: Histogram,
    ) -> Self {
        let manager = Manager::new(opener, limits.max_age);
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
            queue: Queue::recorded_in(acquire_seconds),
            shares: Shares::new(limits.max, limits.wait),
            last_outcome,
        }
    }

    /// Whether prepared statements are reused.
    pub fn prepares_statements(&self) -> bool {
        self.inner.manager().prepares_statements()
    }

    /// A connection for one unit of work.
    pub async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let deadline = self.deadline();
        let turn = match deadline::share_of_this_work() {
            Some(share) => Some(self.shares.turn(share, deadline).await?),
            None => None,
        };
        let connection = pin!(tokio::time::timeout_at(deadline.into(), self.inner.get()));
        let connection = while_client_waits(connection);
        let (outcome, _) = self.queue.wait(connection).await;
        let object = outcome?
            .unwrap_or(Err(PoolError::Timeout(TimeoutType::Wait)))
            .map_err(|error| self.explain(error))?;
        Ok(self.lease_of(object, deadline, turn))
    }

    /// A connection for work that is counted in [`Self::queue`], that takes the turns of its
    /// users and limits its wait.
    pub async fn connection(self: Arc<Self>) -> Result<PooledConnection, StoreError> {
        let timeouts = Timeouts {
            wait: None,
            ..self.inner.timeouts()
        };
        let connection = self.inner.timeout_get(&timeouts).await;
        connection
            .map(PooledConnection)
            .map_err(|error| self.explain(error))
    }

    /// What [`Self::connection`] returned, for one unit of work.
    pub fn lease_of_waiting(&self, connection: PooledConnection) -> Lease<'_> {
        self.lease_of(connection.0, self.deadline(), None)
    }

    fn lease_of<'a>(
        &'a self,
        mut object: Object<Manager>,
        deadline: Instant,
        turn: Option<SemaphorePermit<'a>>,
    ) -> Lease<'a> {
        object.limit(deadline);
        Lease {
            object: Some(object),
            pool: self,
            reusable: false,
            _turn: turn,
        }
    }

    /// The deadline of the unit of work that begins now.
    pub fn deadline(&self) -> Instant {
        deadline::of_this_work(self.limits.statement + ANSWER_TIME)
    }

    /// How long the unit of work that arrives now waits for others at most.
    pub fn latest_start(&self) -> Instant {
        self.deadline().min(Instant::now() + self.limits.wait)
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The callers that wait for a connection.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The users' shares of the connections.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    fn explain(&self, error: PoolError<ConnectError>) -> StoreError {
        match error {
            PoolError::Backend(error) => {
                self.last_outcome.record(false);
                StoreError::Connect(error)
            }
            PoolError::Closed => StoreError::Closed,
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                self.last_outcome.record(false);
                self.timed_out()
            }
            PoolError::Timeout(TimeoutType::Wait)
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => self.timed_out(),
        }
    }

    /// The error of a caller that got no connection in time.
    pub fn timed_out(&self) -> StoreError {
        let status = self.inner.status();
        StoreError::PoolTimeout {
            waited: self.limits.wait,
            in_use: status.size.saturating_sub(status.available),
            max: self.limits.max,
        }
    }

    /// Replaces all connections; those in use, when their work is done.
    pub fn discard(&self) {
        self.inner.manager().outdate();
        self.inner.retain(|_, _| false);
    }

    /// Closes connections that were idle longer than `idle`; with `keep_some`, the configured
    /// number stays open.
    pub fn close_idle(&self, idle: Duration, keep_some: bool) {
        let keep = if keep_some { self.limits.keep } else { 0 };
        let mut excess = self.inner.status().size.saturating_sub(keep);
        self.inner.retain(|_, metrics| {
            let close = excess > 0 && metrics.last_used() > idle;
            excess -= usize::from(close);
            !close
        });
    }

    /// Takes a connection out of the pool.
    pub async fn take(&self) -> Result<Session, StoreError> {
        let object = self.lease().await?.object.take();
        object.map(Object::take).ok_or(StoreError::Closed)
    }

    /// Closes every idle connection. No new one is opened afterwards.
    pub fn close(&self) {
        self.inner.close();
    }

    pub fn status(&self) -> PoolStatus {
        let status = self.inner.status();
        PoolStatus {
            size: status.size,
            idle: status.available,
            waiting: self.queue.waiting(),
            max: self.limits.max,
        }
    }
}

/// A connection that goes back to its pool when it is dropped.
pub(super) struct PooledConnection(Object<Manager>);

/// The connections of a pool at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Open connections.
    pub size: usize,
    /// Open and unused.
    pub idle: usize,
    /// Callers that wait for one.
    pub waiting: usize,
    /// The most that may be open.
    pub max: usize,
}

/// The condition of a connection after its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing is open on it.
    Reusable,
    /// The database answers, but a transaction may still be open on it.
    Unclean,
    /// The database answers, and no connection as old as this one is of further use.
    Stale,
    /// The connection broke, or the server ended it.
    Lost,
}

/// A connection in use. It returns to the pool only through [`Lease::settle`]. If the work was
/// cancelled, a statement or a transaction may still be open, so the connection is closed.
pub(super) struct Lease<'a> {
    object: Option<Object<Manager>>,
    pool: &'a Pool,
    reusable: bool,
    /// Given back after the connection.
    _turn: Option<SemaphorePermit<'a>>,
}

impl Lease<'_> {
    /// Returns a connection that was not used.
    pub fn put_back(mut self) {
        self.reusable = true;
    }

    /// Returns the connection or closes it. If it was lost, closes the idle ones too: the server
    /// has ended them as well.
    pub fn settle(mut self, condition: Condition) {
        let lost = condition == Condition::Lost;
        self.pool.last_outcome.record(!lost);
        self.reusable = condition == Condition::Reusable;
        match condition {
            Condition::Lost => {
                self.pool.inner.retain(|_, _| false);
            }
            Condition::Stale => self.pool.discard(),
            Condition::Reusable | Condition::Unclean => {}
        }
    }
}

impl Deref for Lease<'_> {
    type Target = Session;

    #[allow(clippy::expect_used, reason = "only drop takes the object")]
    fn deref(&self) -> &Self::Target {
        self.object
            .as_ref()
            .expect("a lease holds its connection until it is dropped")
    }
}

impl DerefMut for Lease<'_> {
    #[allow(clippy::expect_used, reason = "only drop takes the object")]
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.object
            .as_mut()
            .expect("a lease holds its connection until it is dropped")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let (false, Some(object)) = (self.reusable, self.object.take()) {
            drop(Object::take(object));
        }
    }
}
