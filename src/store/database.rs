//! [`Store`]: a database, whichever engine it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::{DatabaseConfig, DatabaseTarget};
use crate::domain::{TaskId, Timestamp, UserId};

use super::arg::{Arg, args};
use super::batch::{Batched, Call};
use super::connect_error::ConnectError;
use super::dialect::Dialect;
use super::engine::{Engine, Records};
use super::error::StoreError;
use super::identity::Identity;
use super::pool::PoolStatus;
use super::row::QueryResult;
use super::session::Session;
use super::short_lists::ShortLists;
use super::sql::{Sql, per_engine};
use super::task_turns::{TaskTurn, TaskTurns};
use super::work;

static PING: Sql = Sql::Common("SELECT 1");

/// A standby is read-only, and so is what its administrator has set to be.
static IS_WRITABLE: Sql = per_engine!(
    ["SELECT "] {
        postgres: "current_setting('transaction_read_only') = 'off'",
        sqlite: "TRUE"
    }
    => " AS writable"
);

/// A database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Arc<Engine>,
    records: Records,
    /// For what a pooler does not forward.
    direct: Arc<DatabaseTarget>,
    identity: Arc<Identity>,
    clock: Clock,
    turns: TaskTurns,
    short_lists: Arc<ShortLists>,
    /// Wakes the job that folds texts.
    unfolded: Arc<Notify>,
}

impl Store {
    /// Opens the database and checks that it answers. Does not migrate it.
    ///
    /// A missing SQLite file is created, empty.
    pub async fn connect(config: &DatabaseConfig, clock: Clock) -> Result<Self, ConnectError> {
        let records = Records::new();
        Ok(Self {
            engine: Engine::connect(config, &records).await?,
            records,
            direct: Arc::new(config.direct.clone()),
            identity: Arc::new(Identity::ask(&config.target).await?),
            clock,
            turns: TaskTurns::default(),
            short_lists: Arc::new(ShortLists::new()),
            unfolded: Arc::default(),
        })
    }

    /// A store on one connection, where everything that its methods do is rolled back in the
    /// end. A SQLite file must exist.
    pub(super) async fn connect_for_trial(
        config: &DatabaseConfig,
        clock: Clock,
    ) -> Result<Self, ConnectError> {
        let records = Records::new();
        Ok(Self {
            engine: Engine::connect_for_trial(config, &records).await?,
            records,
            direct: Arc::new(config.direct.clone()),
            identity: Arc::default(),
            clock,
            turns: TaskTurns::default(),
            short_lists: Arc::new(ShortLists::new()),
            unfolded: Arc::default(),
        })
    }

    /// The same store with another clock.
    pub(super) fn with_clock(&self, clock: Clock) -> Self {
        Self {
            clock,
            ..self.clone()
        }
    }

    /// Rolls a trial back and closes its connection.
    pub(super) async fn end_trial(self) -> Result<(), StoreError> {
        self.engine.writer().take().await?.close().await;
        Ok(())
    }

    /// Which database this is, as it was when the store connected.
    #[must_use]
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Runs the smallest query that needs an answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.check_file()?;
        self.read(&PING, &args![]).await.map(drop)
    }

    /// Whether the database accepts changes. Asked again on a new connection if it does not:
    /// another server may have taken the place of the one that became a standby.
    pub async fn is_writable(&self) -> Result<bool, StoreError> {
        self.check_file()?;
        for _ in 0..2 {
            if self.read(&IS_WRITABLE, &args![]).await?.value("writable")? {
                return Ok(true);
            }
            self.engine.writer().discard();
        }
        Ok(false)
    }

    /// Whether the latest statement was answered; `None` before the first. Does not query the
    /// database.
    #[must_use]
    pub fn last_answer(&self) -> Option<bool> {
        self.records.last_outcome.is_answered()
    }

    /// Connections at this moment, by pool: `main`, or `writer` and `readers`.
    #[must_use]
    pub fn pools(&self) -> Vec<(&'static str, PoolStatus)> {
        self.engine.pools()
    }

    /// Whether every connection for reading is in use, so that [`Self::ping`] would have to wait.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        let pool = self.engine.readers().status();
        pool.idle == 0 && pool.size >= pool.max
    }

    /// How long a statement has to wait for a connection now; zero if none waits.
    #[must_use]
    pub fn queue_delay(&self) -> Duration {
        let (readers, writer) = (self.engine.readers(), self.engine.writer());
        readers.expected_wait().max(writer.expected_wait())
    }

    /// The metrics that the store records itself.
    #[must_use]
    pub fn metrics(&self) -> Vec<Box<dyn Collector>> {
        let Records {
            last_outcome: _,
            acquire_seconds,
            batches,
        } = &self.records;
        vec![
            Box::new(acquire_seconds.clone()),
            Box::new(batches.requests.clone()),
            Box::new(batches.alone.clone()),
        ]
    }

    /// Before the end: copies a SQLite file that was deleted or replaced while it was in use.
    pub async fn keep_deleted_file(&self) {
        self.engine.keep_deleted().await;
    }

    /// Closes all connections. Work in progress keeps its connection until it ends.
    pub async fn close(&self) {
        self.engine.close().await;
    }

    /// Runs one read-only statement; see [`work::read`].
    pub(super) async fn read(
        &self,
        sql: &Sql,
        args: &[Arg<'_>],
    ) -> Result<QueryResult, StoreError> {
        work::read(self.engine.readers(), sql, args).await
    }

    /// Runs one statement and returns after its commit; see [`work::write`]. On SQLite it may
    /// share its transaction with those of other requests; see [`super::batch`].
    pub(super) async fn write(
        &self,
        sql: &Sql,
        args: &[Arg<'_>],
    ) -> Result<QueryResult, StoreError> {
        self.check_file()?;
        let outcome = match self.engine.batcher() {
            Some(batcher) if self.dialect() == Dialect::Sqlite => {
                let call = Call {
                    sql,
                    args,
                    writes: true,
                    batched: None,
                };
                batcher.run(&call).await
            }
            _ => work::write(self.engine.writer(), sql, args).await,
        };
        self.engine.after_write();
        outcome
    }

    /// Runs a statement, or one that does the same for several requests; see [`super::batch`].
    pub(super) async fn share(
        &self,
        statement: &'static Batched,
        args: &[Arg<'_>],
    ) -> Result<QueryResult, StoreError> {
        let batcher = match self.dialect() {
            // Its readers do not wait for each other.
            Dialect::Sqlite if !statement.writes => None,
            Dialect::Postgres | Dialect::Sqlite => self.engine.batcher(),
        };
        let Some(batcher) = batcher else {
            // Boxed: most requests do not need it, and their futures should be small.
            return if statement.writes {
                Box::pin(self.write(&statement.single, args)).await
            } else {
                Box::pin(self.read(&statement.single, args)).await
            };
        };
        if statement.writes {
            self.check_file()?;
        }
        let call = Call {
            sql: &statement.single,
            args,
            writes: statement.writes,
            batched: Some(statement),
        };
        let outcome = batcher.run(&call).await;
        if statement.writes {
            self.engine.after_write();
        }
        outcome
    }

    /// Waits for the turn to change a task; see [`super::task_turns`].
    pub(super) async fn turn(&self, user: &UserId, task: TaskId) -> Result<TaskTurn, StoreError> {
        let deadline = self.engine.writer().latest_start();
        self.turns.turn(user, task, deadline).await
    }

    /// Waits for the turn to change several tasks.
    pub(super) async fn turns_of(
        &self,
        user: &UserId,
        tasks: &BTreeSet<TaskId>,
    ) -> Result<Vec<TaskTurn>, StoreError> {
        let deadline = self.engine.writer().latest_start();
        self.turns.turns(user, tasks, deadline).await
    }

    /// Runs several statements in one transaction; see [`work::transaction`].
    pub(super) async fn transaction<T, W>(&self, work: impl Fn() -> W) -> Result<T, StoreError>
    where
        W: AsyncFnOnce(&mut Session) -> Result<T, StoreError>,
    {
        self.check_file()?;
        let outcome = work::transaction(self.engine.writer(), work).await;
        self.engine.after_write();
        outcome
    }

    fn check_file(&self) -> Result<(), StoreError> {
        self.engine
            .check_file()
            .inspect_err(|_| self.records.last_outcome.record(false))
    }

    /// Completes when a search finds tasks without folded texts; see [`Self::fold_tasks`].
    pub async fn until_unfolded(&self) {
        self.unfolded.notified().await;
    }

    /// A search has found tasks without folded texts.
    pub(super) fn unfolded_found(&self) {
        self.unfolded.notify_one();
    }

    pub(super) fn short_lists(&self) -> &ShortLists {
        &self.short_lists
    }

    pub(super) fn direct(&self) -> &DatabaseTarget {
        &self.direct
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.engine.dialect()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("pools", &self.pools())
            .finish_non_exhaustive()
    }
}
