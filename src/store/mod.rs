//! All SQL, for both engines.
//!
//! [`Store`] is the seam: no connection and no transaction ever leaves this
//! module. One method is one unit of work. Its statements are `const`s beside
//! it, written once where both engines accept the text; `dialect` holds what
//! differs. `reading!`, `writing!` and, for several statements,
//! `transaction!` expand a method's body for each engine's pool.
//!
//! Time is bound from the [`Clock`], never asked of the database.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::Histogram;
use sqlx::{Postgres, Sqlite};

use crate::clock::Clock;
use crate::config::{DatabaseConfig, DatabaseTarget, HealthProbe, PostgresTarget, SqliteTarget};

mod api_keys;
mod auth_sessions;
mod connect;
mod connect_error;
mod dialect;
mod error;
mod idempotency;
mod key_cipher;
mod known;
pub(crate) mod messages;
pub mod migrate;
mod notifications;
mod outbox;
mod pool;
mod pooled;
mod reminders;
mod server;
mod sessions;
mod tasks;
mod transaction;
mod values;

pub use api_keys::{ATTEMPT_WINDOW, Attempts, StoredKey};
pub use auth_sessions::{RefreshToken, RefreshTokenHash};
pub use connect::{CONNECT_TIMEOUT, SqliteAccess, open_postgres, open_sqlite};
pub(crate) use connect::{open_postgres_within, wal_path};
pub use connect_error::ConnectError;
pub use error::StoreError;
pub use idempotency::Once;
pub use key_cipher::{CipherKeyError, EncryptedKey, KeyCipher, UndecipherableError};
pub(crate) use known::known_message;
pub(crate) use messages::ConnectFault;
pub use notifications::NotificationList;
pub use outbox::{OutboxEnd, OutboxMail, OutboxStatus};
pub use pool::PoolStatus;
pub use reminders::{DueTask, MailTerms, Reminded, ReminderWindow};
pub(crate) use server::{backend_pid, share_a_process};
pub use sessions::{NewSession, Session, SessionHash};
pub use tasks::{Conditional, TaskFilter, TaskPage, TaskPosition, TaskSlice};

use dialect::{Dialect, Sql};
use pool::{Backend, Limits, Pool, Pulse};
use server::ServerTraits;

/// Extra and, with passive probes, all connections close after idling this long.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// SQLite's write-ahead log is copied back and emptied beyond this size.
const WAL_LIMIT: u64 = 16 * 1024 * 1024;

/// A database, whichever engine it is. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
    clock: Clock,
    pulse: Arc<Pulse>,
    acquire_seconds: Histogram,
}

#[derive(Clone)]
enum Engine {
    Postgres(Arc<Pool<PostgresBackend>>),
    Sqlite(Arc<SqliteEngine>),
}

struct PostgresBackend {
    target: PostgresTarget,
    pooled: bool,
    persistent: bool,
    dialect: Dialect,
}

impl Backend for PostgresBackend {
    type Db = Postgres;

    async fn open(&self) -> Result<sqlx::PgConnection, ConnectError> {
        let mut connection = open_postgres(&self.target).await?;
        if !self.pooled {
            server::read_committed(&mut connection)
                .await
                .map_err(|error| {
                    ConnectError::from_sqlx(&DatabaseTarget::Postgres(self.target.clone()), &error)
                })?;
        }
        Ok(connection)
    }

    fn persistent(&self) -> bool {
        self.persistent
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn text(sql: &Sql) -> &'static str {
        sql.postgres
    }
}

/// One writer, because SQLite has only one anyway and waiting in a queue is
/// fairer than its busy handler; several readers beside it.
struct SqliteEngine {
    writer: Pool<SqliteBackend>,
    readers: Pool<SqliteBackend>,
    wal: PathBuf,
    checkpointing: AtomicBool,
}

struct SqliteBackend(SqliteTarget);

impl Backend for SqliteBackend {
    type Db = Sqlite;

    async fn open(&self) -> Result<sqlx::SqliteConnection, ConnectError> {
        open_sqlite(&self.0, SqliteAccess::Write).await
    }

    fn persistent(&self) -> bool {
        true
    }

    fn dialect(&self) -> Dialect {
        Dialect::SqliteFolded
    }

    fn text(sql: &Sql) -> &'static str {
        sql.sqlite
    }
}

/// Runs a query on a reading connection, then turns its answer into the method's result.
///
/// A read whose connection turns out to be lost is tried once more on a new
/// one, so that a restarted server goes unnoticed.
macro_rules! reading {
    ($store:expr, |$connection:ident| $query:expr => |$answer:pat_param| $result:expr) => {
        match &$store.engine {
            $crate::store::Engine::Postgres(pool) => {
                $crate::store::reading!(@pool pool, $connection, $query, $answer, $result)
            }
            $crate::store::Engine::Sqlite(engine) => {
                $crate::store::reading!(@pool engine.readers, $connection, $query, $answer, $result)
            }
        }
    };
    (@pool $pool:expr, $connection:ident, $query:expr, $answer:pat_param, $result:expr) => {{
        let mut retried = false;
        loop {
            let mut $connection = $pool.lease().await?;
            let outcome = match $connection.pin().await {
                Ok(()) => {
                    let outcome = $query;
                    $connection.unpin(outcome).await
                }
                Err(error) => Err(error),
            };
            $connection.settle(&outcome);
            match outcome.map_err($crate::store::StoreError::from) {
                Ok($answer) => break $result,
                Err($crate::store::StoreError::ConnectionLost(_)) if !retried => retried = true,
                Err(error) => break Err(error),
            }
        }
    }};
}
use reading;

/// Runs a query on a writing connection, then turns its answer into the method's result.
macro_rules! writing {
    ($store:expr, |$connection:ident| $query:expr => |$answer:pat_param| $result:expr) => {
        match &$store.engine {
            $crate::store::Engine::Postgres(pool) => {
                $crate::store::writing!(@pool pool, $connection, $query, $answer, $result)
            }
            $crate::store::Engine::Sqlite(engine) => {
                let done =
                    $crate::store::writing!(@pool engine.writer, $connection, $query, $answer, $result);
                engine.keep_wal_small();
                done
            }
        }
    };
    (@pool $pool:expr, $connection:ident, $query:expr, $answer:pat_param, $result:expr) => {{
        let mut $connection = $pool.lease().await?;
        let outcome = match $connection.pin().await {
            Ok(()) => {
                let outcome = $query;
                $connection.unpin(outcome).await
            }
            Err(error) => Err(error),
        };
        $connection.settle(&outcome);
        match outcome.map_err($crate::store::StoreError::from) {
            Ok($answer) => $result,
            Err(error) => Err(error),
        }
    }};
}
use writing;

impl Store {
    /// Opens the database and proves that it answers. Nothing is migrated.
    ///
    /// A missing SQLite file is created, empty.
    pub async fn connect(config: &DatabaseConfig, clock: Clock) -> Result<Self, ConnectError> {
        let pulse = Arc::new(Pulse::default());
        let acquire_seconds = pool::acquire_histogram();
        let engine = match &config.target {
            DatabaseTarget::Postgres(target) => {
                let traits = ServerTraits::discover(target, config.pooler).await?;
                let backend = PostgresBackend {
                    target: target.clone(),
                    pooled: traits.pooled,
                    persistent: traits.persistent,
                    dialect: traits.dialect,
                };
                let limits = Limits {
                    keep: config.pool.size,
                    max: config.pool.max(),
                    wait: config.pool.timeout,
                    max_age: config.pool.recycle,
                };
                let pool = Pool::new(backend, limits, pulse.clone(), acquire_seconds.clone());
                Engine::Postgres(Arc::new(pool))
            }
            DatabaseTarget::Sqlite(target) => {
                let engine = SqliteEngine::new(target, config, &pulse, &acquire_seconds);
                // Opening the writer creates the file and proves that it may be written.
                drop(open_sqlite(target, SqliteAccess::Write).await?);
                Engine::Sqlite(Arc::new(engine))
            }
        };
        let store = Self {
            engine,
            clock,
            pulse,
            acquire_seconds,
        };
        store.spawn_idle_closer(config.health_probe == HealthProbe::Active);
        Ok(store)
    }

    /// Asks the database for the number 1.
    pub async fn ping(&self) -> Result<(), StoreError> {
        reading!(self, |connection| {
            sqlx::query("SELECT 1")
                .persistent(connection.persistent())
                .execute(&mut *connection)
                .await
        } => |_| Ok(()))
    }

    /// Whether the newest query was answered; `None` before the first. Asks nothing.
    #[must_use]
    pub fn last_answer(&self) -> Option<bool> {
        self.pulse.last()
    }

    /// Connections at this moment, by pool: `main`, or `writer` and `readers`.
    #[must_use]
    pub fn pools(&self) -> Vec<(&'static str, PoolStatus)> {
        match &self.engine {
            Engine::Postgres(pool) => vec![("main", pool.status())],
            Engine::Sqlite(engine) => vec![
                ("writer", engine.writer.status()),
                ("readers", engine.readers.status()),
            ],
        }
    }

    /// Whether every connection is in use, so that the next caller has to wait.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.pools()
            .iter()
            .any(|(_, pool)| pool.idle == 0 && pool.size >= pool.max)
    }

    /// The histogram of the time that a connection was waited for.
    #[must_use]
    pub fn acquire_seconds(&self) -> &Histogram {
        &self.acquire_seconds
    }

    /// Closes all connections. Work that still runs keeps its own until it ends.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Postgres(pool) => pool.close(),
            Engine::Sqlite(engine) => {
                engine.checkpoint().await;
                engine.readers.close();
                engine.writer.close();
            }
        }
    }

    /// Closes idle connections for as long as somebody holds the store.
    fn spawn_idle_closer(&self, keep_some: bool) {
        let Engine::Postgres(pool) = &self.engine else {
            return;
        };
        let pool = Arc::downgrade(pool);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(IDLE_LIMIT / 4);
            loop {
                tick.tick().await;
                let Some(pool) = pool.upgrade() else { return };
                pool.close_idle(IDLE_LIMIT, keep_some);
            }
        });
    }
}

impl SqliteEngine {
    fn new(
        target: &SqliteTarget,
        config: &DatabaseConfig,
        pulse: &Arc<Pulse>,
        acquire_seconds: &Histogram,
    ) -> Self {
        let pool = |connections| {
            let limits = Limits {
                keep: connections,
                max: connections,
                wait: config.pool.timeout,
                // A file does not drop its connections.
                max_age: Duration::MAX,
            };
            let backend = SqliteBackend(target.clone());
            Pool::new(backend, limits, pulse.clone(), acquire_seconds.clone())
        };
        Self {
            writer: pool(1),
            readers: pool(config.pool.size.clamp(1, 4)),
            wal: connect::wal_path(&target.path),
            checkpointing: AtomicBool::new(false),
        }
    }

    /// Starts a checkpoint if the write-ahead log has outgrown [`WAL_LIMIT`].
    ///
    /// SQLite's automatic checkpoints cannot reset the log while a reader is
    /// active, and under sustained load one always is.
    fn keep_wal_small(self: &Arc<Self>) {
        let size = std::fs::metadata(&self.wal).map_or(0, |file| file.len());
        if size > WAL_LIMIT && !self.checkpointing.swap(true, Ordering::AcqRel) {
            let engine = Arc::clone(self);
            tokio::spawn(async move {
                engine.checkpoint().await;
                engine.checkpointing.store(false, Ordering::Release);
            });
        }
    }

    /// Copies the log into the database and empties it. Holds the only writer,
    /// and waits (at most the busy timeout) for readers of older pages.
    async fn checkpoint(&self) {
        let Ok(mut writer) = self.writer.lease().await else {
            return;
        };
        let outcome = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut *writer)
            .await;
        writer.settle(&outcome);
        if let Err(error) = outcome {
            tracing::warn!(%error, "the write-ahead log could not be checkpointed");
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("pools", &self.pools())
            .finish_non_exhaustive()
    }
}
