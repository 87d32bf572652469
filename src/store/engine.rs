//! The two engines: their pools and maintenance tasks.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::Histogram;

use crate::config::{
    DatabaseConfig, DatabaseTarget, HealthProbe, PoolConfig, PostgresTarget, SqliteTarget, wal_path,
};

use super::arg::args;
use super::batch::{BatchMetrics, Batcher};
use super::connect::{SqliteAccess, open_sqlite, prepare_file};
use super::connect_error::ConnectError;
use super::dialect::Dialect;
use super::error::StoreError;
use super::last_outcome::LastOutcome;
use super::open_file::{OpenFile, keep_deleted};
use super::opener::Opener;
use super::pool::{Limits, Pool, PoolStatus};
use super::queue::acquire_histogram;
use super::server::ServerTraits;
use super::sql::Sql;
use super::work;

/// Connections that were idle longer are closed: those beyond the configured number, or all of
/// them if health probes are passive, so that a Neon database can suspend.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The pause between two checks whether SQLite's write-ahead log was deleted.
const LOG_CHECK: Duration = Duration::from_millis(500);

/// How long a statement of a trial may take: it must not keep the daemon waiting.
const TRIAL_STATEMENT: Duration = Duration::from_secs(2);

/// The size beyond which SQLite's write-ahead log is copied back and emptied.
const WAL_LIMIT: u64 = 16 * 1024 * 1024;

static CHECKPOINT: Sql = Sql::Common("PRAGMA wal_checkpoint(TRUNCATE)");

#[allow(
    clippy::large_enum_variant,
    reason = "a store has one value, behind an Arc"
)]
pub(super) enum Engine {
    Postgres {
        pool: Arc<Pool>,
        batcher: Arc<Batcher>,
    },
    /// One writer and several readers. SQLite allows one writer at a time, and a queue is fairer
    /// than its busy handler.
    Sqlite {
        writer: Arc<Pool>,
        batcher: Arc<Batcher>,
        readers: Arc<Pool>,
        file: OpenFile,
        wal: WriteAheadLog,
    },
    /// One connection to either engine, on which everything is rolled back in the end.
    Trial { pool: Arc<Pool>, dialect: Dialect },
}

/// What the pools of one store record together.
#[derive(Clone)]
pub(super) struct Records {
    pub last_outcome: Arc<LastOutcome>,
    pub acquire_seconds: Histogram,
    pub batches: BatchMetrics,
}

impl Engine {
    /// Opens the database and checks that it answers. A missing SQLite file is created.
    pub async fn connect(
        config: &DatabaseConfig,
        records: &Records,
    ) -> Result<Arc<Self>, ConnectError> {
        let engine = match &config.target {
            DatabaseTarget::Postgres(target) => {
                let traits = ServerTraits::discover(target, config.pooler).await?;
                Arc::new(Self::postgres(target, traits, &config.pool, records))
            }
            DatabaseTarget::Sqlite(target) => {
                prepare_file(target).await?;
                // Opening the writer proves that the file may be written.
                drop(open_sqlite(target, SqliteAccess::Write).await?);
                let file = OpenFile::of(target)?;
                Arc::new(Self::sqlite(target, file, &config.pool, records))
            }
        };
        engine.close_idle_connections(config.health_probe == HealthProbe::Active);
        engine.watch_log();
        Ok(engine)
    }

    /// As [`Engine::connect`], with one connection on which everything is rolled back in the
    /// end. A SQLite file must exist.
    pub async fn connect_for_trial(
        config: &DatabaseConfig,
        records: &Records,
    ) -> Result<Arc<Self>, ConnectError> {
        let longest = config.pool.statement_timeout.min(TRIAL_STATEMENT);
        let (opener, dialect) = match &config.target {
            DatabaseTarget::Postgres(target) => {
                let traits = ServerTraits::discover(target, config.pooler).await?;
                let opener = Opener::Postgres {
                    target: target.clone(),
                    traits,
                    longest,
                };
                (opener, Dialect::Postgres)
            }
            DatabaseTarget::Sqlite(target) => {
                let opener = Opener::Sqlite {
                    target: target.clone(),
                    access: SqliteAccess::Trial,
                    longest,
                };
                (opener, Dialect::Sqlite)
            }
        };
        let limits = Limits {
            keep: 1,
            max: 1,
            wait: config.pool.timeout,
            statement: longest,
            max_age: Duration::MAX,
        };
        let pool = records.pool(Opener::Trial(Box::new(opener)), limits);
        Ok(Arc::new(Self::Trial { pool, dialect }))
    }

    fn postgres(
        target: &PostgresTarget,
        traits: ServerTraits,
        config: &PoolConfig,
        records: &Records,
    ) -> Self {
        let opener = Opener::Postgres {
            target: target.clone(),
            traits,
            longest: config.statement_timeout,
        };
        let limits = Limits {
            keep: config.size,
            max: config.max(),
            wait: config.timeout,
            statement: config.statement_timeout,
            max_age: config.recycle,
        };
        let pool = records.pool(opener, limits);
        Self::Postgres {
            batcher: records.batcher(&pool, Dialect::Postgres),
            pool,
        }
    }

    fn sqlite(
        target: &SqliteTarget,
        file: OpenFile,
        config: &PoolConfig,
        records: &Records,
    ) -> Self {
        let pool = |connections| {
            let limits = Limits {
                keep: connections,
                max: connections,
                wait: config.timeout,
                statement: config.statement_timeout,
                // A connection to a file does not break.
                max_age: Duration::MAX,
            };
            let opener = Opener::Sqlite {
                target: target.clone(),
                access: SqliteAccess::Write,
                longest: config.statement_timeout,
            };
            records.pool(opener, limits)
        };
        let writer = pool(1);
        Self::Sqlite {
            batcher: records.batcher(&writer, Dialect::Sqlite),
            writer,
            readers: pool(config.size.clamp(1, 4)),
            file,
            wal: WriteAheadLog {
                path: wal_path(&target.path),
                checkpointing: AtomicBool::new(false),
            },
        }
    }

    pub fn readers(&self) -> &Pool {
        match self {
            Self::Postgres { pool, .. } | Self::Trial { pool, .. } => pool,
            Self::Sqlite { readers, .. } => readers,
        }
    }

    pub fn writer(&self) -> &Pool {
        match self {
            Self::Postgres { pool, .. } | Self::Trial { pool, .. } => pool,
            Self::Sqlite { writer, .. } => writer,
        }
    }

    /// Runs the statements of several requests together: on SQLite those that write. A trial has
    /// one request at a time.
    pub fn batcher(&self) -> Option<&Arc<Batcher>> {
        match self {
            Self::Postgres { batcher, .. } | Self::Sqlite { batcher, .. } => Some(batcher),
            Self::Trial { .. } => None,
        }
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres { .. } => Dialect::Postgres,
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Trial { dialect, .. } => *dialect,
        }
    }

    /// The pools' connections at this moment, by the pool's name.
    pub fn pools(&self) -> Vec<(&'static str, PoolStatus)> {
        match self {
            Self::Postgres { pool, .. } | Self::Trial { pool, .. } => {
                vec![("main", pool.status())]
            }
            Self::Sqlite {
                writer, readers, ..
            } => vec![("writer", writer.status()), ("readers", readers.status())],
        }
    }

    /// Fails if SQLite's file is no longer the one that was opened: what is written then is lost
    /// when the connections close.
    pub fn check_file(&self) -> Result<(), StoreError> {
        match self {
            Self::Postgres { .. } | Self::Trial { .. } => Ok(()),
            Self::Sqlite { file, .. } => file.check(),
        }
    }

    /// Starts a checkpoint if SQLite's write-ahead log has outgrown [`WAL_LIMIT`].
    ///
    /// SQLite's automatic checkpoints cannot reset the log while a reader is active, and under
    /// sustained load one always is.
    pub fn after_write(self: &Arc<Self>) {
        if let Self::Sqlite { wal, .. } = &**self
            && wal.size() > WAL_LIMIT
            && !wal.checkpointing.swap(true, Ordering::AcqRel)
        {
            let engine = Arc::clone(self);
            tokio::spawn(async move { engine.checkpoint().await });
        }
    }

    /// Copies SQLite's log into the database and empties it. Occupies the only writer, and waits
    /// for readers of older pages, at most for the busy timeout.
    async fn checkpoint(&self) {
        if let Self::Sqlite { writer, wal, .. } = self {
            if let Err(error) = work::write(writer, &CHECKPOINT, &args![]).await {
                tracing::warn!(%error, "the write-ahead log could not be checkpointed");
            }
            wal.checkpointing.store(false, Ordering::Release);
        }
    }

    /// Closes idle connections to a server for as long as the store exists.
    fn close_idle_connections(self: &Arc<Self>, keep_some: bool) {
        if self.dialect() == Dialect::Sqlite {
            return;
        }
        let engine = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(IDLE_LIMIT / 4);
            loop {
                tick.tick().await;
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                engine.writer().close_idle(IDLE_LIMIT, keep_some);
            }
        });
    }

    /// Saves what is in the write-ahead log when somebody deletes or replaces it or the database,
    /// for as long as the store exists: its changes are copied into the open database, which can
    /// be read as long as this process has it open, and no more are accepted.
    fn watch_log(self: &Arc<Self>) {
        if self.dialect() != Dialect::Sqlite {
            return;
        }
        let engine = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(LOG_CHECK);
            loop {
                tick.tick().await;
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                let Self::Sqlite { file, .. } = &*engine else {
                    return;
                };
                file.find_deleted_log();
                // Each time: a change that was accepted before may be written after the first copy,
                // and a reader may have kept that from being whole.
                if file.check().is_err() {
                    engine.checkpoint().await;
                }
            }
        });
    }

    /// Copies a database that was deleted or replaced, with what is in its log: it ends with its last
    /// connection. That of a large file takes long.
    pub async fn keep_deleted(&self) {
        let Self::Sqlite { file, .. } = self else {
            return;
        };
        if file.check().is_ok() {
            return;
        }
        self.checkpoint().await;
        let path = file.path().to_owned();
        let kept = tokio::task::spawn_blocking(move || keep_deleted(&path)).await;
        match kept {
            Ok(Some(Ok(kept))) => tracing::error!(
                kept = %kept.display(),
                "the database was deleted or replaced while it was in use; what was in it is kept in this file"
            ),
            Ok(Some(Err(error))) => tracing::error!(
                %error,
                "the database was deleted or replaced while it was in use, and what was in it cannot be kept"
            ),
            Ok(None) | Err(_) => {}
        }
    }

    /// Closes all connections. Work in progress keeps its connection until it ends.
    pub async fn close(&self) {
        self.checkpoint().await;
        self.readers().close();
        self.writer().close();
    }
}

impl Records {
    pub fn new() -> Self {
        Self {
            last_outcome: Arc::new(LastOutcome::default()),
            acquire_seconds: acquire_histogram(),
            batches: BatchMetrics::new(),
        }
    }

    fn batcher(&self, pool: &Arc<Pool>, dialect: Dialect) -> Arc<Batcher> {
        Batcher::new(Arc::clone(pool), dialect, self.batches.clone())
    }

    fn pool(&self, opener: Opener, limits: Limits) -> Arc<Pool> {
        let records = self.clone();
        Arc::new(Pool::new(
            opener,
            limits,
            records.last_outcome,
            records.acquire_seconds,
        ))
    }
}

pub(super) struct WriteAheadLog {
    path: PathBuf,
    checkpointing: AtomicBool,
}

impl WriteAheadLog {
    fn size(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }
}
