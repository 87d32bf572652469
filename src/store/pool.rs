//! Pools of connections.
//!
//! sqlx's own pool spawns a task and pings on every release, which costs a point read about
//! a third of its rate. Here deadpool keeps the connections, and a connection is pinged only
//! after it was idle for a while.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::{self, Object, PoolError, QueueMode, TimeoutType};
use prometheus::Histogram;

use super::admission::{Admission, Kind, LONGEST_WAIT, NoTurn, Standing, Turn};
use super::client::while_client_waits;
use super::connect_error::ConnectError;
use super::deadline::{self, Claim};
use super::error::StoreError;
use super::last_outcome::LastOutcome;
use super::manager::Manager;
use super::opener::Opener;
use super::queue::{Queue, Waiting};
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
    /// A turn for each connection.
    line: Admission,
    shares: Shares,
    /// Those that wait for a turn and a connection of their own.
    queue: Queue,
    /// Those that wait to share a statement.
    sharing: Queue,
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
            .create_timeout(Some(limits.wait))
            .recycle_timeout(Some(Duration::from_secs(5)))
            .queue_mode(QueueMode::Lifo)
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .expect("a runtime is set");
        Self {
            inner,
            limits,
            line: Admission::new(limits.max),
            shares: Shares::new(limits.max, limits.wait),
            queue: Queue::recorded_in(acquire_seconds.clone()),
            sharing: Queue::recorded_in(acquire_seconds),
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
        let claim = deadline::claim_of_this_work();
        let share_turn = match claim.share {
            Some(share) => {
                let turn = self
                    .shares
                    .turn(share, claim.kind, claim.standing, deadline);
                Some(turn.await?)
            }
            None => None,
        };
        let waiting = self.queue.enter();
        let connection = self.acquire(claim, deadline).await;
        if !matches!(connection, Err(StoreError::TooBusy { .. })) {
            waiting.leave();
        }
        let connection = connection?;
        deadline::this_work_has_begun();
        Ok(self.lease_of(connection, deadline, share_turn))
    }

    async fn acquire(
        &self,
        claim: Claim,
        deadline: Instant,
    ) -> Result<PooledConnection, StoreError> {
        let latest = deadline.min(Instant::now() + self.limits.wait);
        let turn = self.line.turn(claim.kind, claim.standing, Some(latest));
        let turn = turn.await.map_err(|reason| self.no_turn(&reason))?;
        let object = pin!(tokio::time::timeout_at(deadline.into(), self.inner.get()));
        let object = while_client_waits(object)
            .await?
            .unwrap_or(Err(PoolError::Timeout(TimeoutType::Wait)))
            .map_err(|error| self.explain(error))?;
        Ok(PooledConnection { object, turn })
    }

    /// A connection for work that is counted by [`Self::join_sharing`], that takes the turns of its
    /// users and limits its wait.
    pub async fn connection(self: Arc<Self>) -> Result<PooledConnection, StoreError> {
        let turn = self.line.turn(Kind::Statement, Standing::Own, None).await;
        let turn = turn.map_err(|reason| self.no_turn(&reason))?;
        let object = self.inner.get().await;
        let object = object.map_err(|error| self.explain(error))?;
        Ok(PooledConnection { object, turn })
    }

    /// What [`Self::connection`] returned, for one unit of work.
    pub fn lease_of_waiting(&self, connection: PooledConnection) -> Lease<'_> {
        self.lease_of(connection, self.deadline(), None)
    }

    fn lease_of(
        &self,
        connection: PooledConnection,
        deadline: Instant,
        mut share_turn: Option<Turn>,
    ) -> Lease<'_> {
        let PooledConnection {
            mut object,
            mut turn,
        } = connection;
        object.limit(deadline);
        turn.start();
        if let Some(turn) = &mut share_turn {
            turn.start();
        }
        Lease {
            object: Some(object),
            pool: self,
            reusable: false,
            _turns: (turn, share_turn),
        }
    }

    /// Counts a request that begins to wait for others to share its statement; refuses a new one
    /// while they wait for too long.
    pub fn join_sharing(&self) -> Result<Waiting, StoreError> {
        let wait = self.sharing.delay();
        let is_new = deadline::claim_of_this_work().standing == Standing::New;
        if is_new && wait > LONGEST_WAIT {
            return Err(StoreError::TooBusy {
                wait,
                of_user: false,
            });
        }
        deadline::this_work_has_begun();
        Ok(self.sharing.enter())
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

    /// How long a statement has to wait for a connection now; zero if none waits.
    pub fn expected_wait(&self) -> Duration {
        let alone = self.line.expected_wait(Kind::Statement);
        alone.max(self.sharing.delay())
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

    fn no_turn(&self, reason: &NoTurn) -> StoreError {
        match *reason {
            NoTurn::Refused(wait) => StoreError::TooBusy {
                wait,
                of_user: false,
            },
            NoTurn::TimedOut(_) => self.timed_out(),
            NoTurn::ClientLeft => StoreError::ClientLeft,
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
            waiting: self.queue.waiting() + self.sharing.waiting(),
            max: self.limits.max,
        }
    }
}

/// A connection that goes back to its pool when it is dropped, and then its turn.
pub(super) struct PooledConnection {
    object: Object<Manager>,
    turn: Turn,
}

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
    /// Given back after the connection: the pool's, and the user's.
    _turns: (Turn, Option<Turn>),
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
