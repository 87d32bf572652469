//! The connection that migrates, and the statements of the migrator's own.

use chrono::{DateTime, Utc};
use sqlx::migrate::Migrate;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::config::DatabaseTarget;
use crate::domain::Timestamp;
use crate::store::connect::{SqliteAccess, open_postgres, open_sqlite};

use super::history::Applied;
use super::{Direction, MigrateError, Patience, lock, statements};

/// The table's name as sqlx has it.
const TABLE: &str = "_sqlx_migrations";

/// The versions that were applied to their end.
pub(super) const APPLIED_VERSIONS: &str = "SELECT version FROM _sqlx_migrations WHERE success";

const APPLIED: &str = "SELECT version, description, installed_on, success, checksum
     FROM _sqlx_migrations ORDER BY version";

const SET_CHECKSUM: &str = "UPDATE _sqlx_migrations SET checksum = $2 WHERE version = $1";

const FORGET: &str = "DELETE FROM _sqlx_migrations WHERE version = $1";

/// What the migrator says differently to each engine.
struct Texts {
    begin: &'static str,
    table_exists: &'static str,
    /// The first row that refers to a missing one, where the engine has not checked itself.
    dangling: Option<&'static str>,
}

const POSTGRES: Texts = Texts {
    begin: "BEGIN",
    table_exists: "SELECT to_regclass('_sqlx_migrations') IS NOT NULL",
    dangling: None,
};

const SQLITE: Texts = Texts {
    // A daemon may be writing: the lock is taken first rather than upgraded to.
    begin: "BEGIN IMMEDIATE",
    table_exists: "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')",
    // Foreign keys are off while SQLite migrates.
    dangling: Some("SELECT \"table\", COALESCE(rowid, 0) FROM pragma_foreign_key_check"),
};

/// A role's or a database's own limit must not cut a migration off.
const NO_LIMIT: &str = "SET statement_timeout = 0";

/// Set for reading, and for migrating once the migration lock is held. A migration that waits
/// for a table makes every later query wait behind it, so it gives up soon.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '5s'";

/// A dedicated connection, closed by [`MigrationConnection::close`] in every case.
pub(super) enum MigrationConnection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// Expands the body for each engine's connection and [`Texts`].
macro_rules! on_engine {
    ($connection:expr, |$inner:ident, $texts:pat_param| $body:expr) => {
        match $connection {
            MigrationConnection::Postgres($inner) => {
                let $texts = &POSTGRES;
                $body
            }
            MigrationConnection::Sqlite($inner) => {
                let $texts = &SQLITE;
                $body
            }
        }
    };
}

impl MigrationConnection {
    /// Opens the database to change it; a missing SQLite file is made.
    pub async fn open(target: &DatabaseTarget) -> Result<Self, MigrateError> {
        match target {
            DatabaseTarget::Postgres(server) => {
                let mut connection = open_postgres(server).await?;
                sqlx::raw_sql(NO_LIMIT).execute(&mut connection).await?;
                Ok(Self::Postgres(connection))
            }
            DatabaseTarget::Sqlite(file) => Ok(Self::Sqlite(
                open_sqlite(file, SqliteAccess::Migrate).await?,
            )),
        }
    }

    /// Opens the database to look at it; `None` where a SQLite file does not exist.
    pub async fn open_to_read(target: &DatabaseTarget) -> Result<Option<Self>, MigrateError> {
        match target {
            DatabaseTarget::Postgres(server) => {
                let mut connection = open_postgres(server).await?;
                // A pooler would keep it, and give it to others.
                if !server.pooled {
                    sqlx::raw_sql(LOCK_TIMEOUT).execute(&mut connection).await?;
                }
                Ok(Some(Self::Postgres(connection)))
            }
            DatabaseTarget::Sqlite(file) if !file.path.exists() => Ok(None),
            DatabaseTarget::Sqlite(file) => Ok(Some(Self::Sqlite(
                open_sqlite(file, SqliteAccess::Read).await?,
            ))),
        }
    }

    /// Takes PostgreSQL's lock; SQLite's is a file.
    pub async fn take_lock(&mut self, patience: Patience<'_>) -> Result<(), MigrateError> {
        if let Self::Postgres(connection) = self {
            lock::take_advisory(connection, patience).await?;
            sqlx::raw_sql(LOCK_TIMEOUT).execute(connection).await?;
        }
        Ok(())
    }

    /// What was applied, in the order of the versions; nothing where the table is missing.
    pub async fn applied(&mut self) -> Result<Vec<Applied>, MigrateError> {
        type Row = (i64, String, DateTime<Utc>, bool, Vec<u8>);
        let rows: Vec<Row> = on_engine!(self, |connection, texts| {
            let exists: bool = sqlx::query_scalar(texts.table_exists)
                .persistent(false)
                .fetch_one(&mut *connection)
                .await?;
            if !exists {
                return Ok(Vec::new());
            }
            sqlx::query_as(APPLIED)
                .persistent(false)
                .fetch_all(connection)
                .await?
        });
        let applied = |(version, description, installed_on, success, checksum)| Applied {
            version,
            description,
            installed_on: Timestamp::from(installed_on),
            success,
            checksum,
        };
        Ok(rows.into_iter().map(applied).collect())
    }

    /// Makes the table of applied migrations where it is missing.
    pub async fn ensure_table(&mut self) -> Result<(), MigrateError> {
        on_engine!(self, |connection, _| {
            connection.ensure_migrations_table(TABLE).await
        })
        .map_err(|error| MigrateError::Query(sqlx::Error::Migrate(Box::new(error))))
    }

    /// Runs one migration and notes it, in one transaction.
    pub async fn run(
        &mut self,
        migration: &sqlx::migrate::Migration,
        direction: Direction,
    ) -> Result<(), MigrateError> {
        on_engine!(self, |connection, texts| {
            let mut transaction = connection.begin_with(texts.begin).await?;
            for statement in statements(migration.sql.as_str()) {
                sqlx::raw_sql(AssertSqlSafe(statement))
                    .execute(&mut *transaction)
                    .await
                    .map_err(|error| {
                        MigrateError::statement(migration, direction, statement, error)
                    })?;
            }
            match direction {
                // sqlx's name for: note it, the statements have been run.
                Direction::Up => transaction
                    .skip(TABLE, migration)
                    .await
                    .map_err(|error| MigrateError::Query(sqlx::Error::Migrate(Box::new(error))))?,
                Direction::Down => {
                    sqlx::query(FORGET)
                        .bind(migration.version)
                        .execute(&mut *transaction)
                        .await?;
                }
            }
            if let Some(dangling) = texts.dangling {
                let row: Option<(String, i64)> = sqlx::query_as(dangling)
                    .fetch_optional(&mut *transaction)
                    .await?;
                if let Some((table, row)) = row {
                    let version = migration.version;
                    return Err(MigrateError::ForeignKey {
                        version,
                        table,
                        row,
                    });
                }
            }
            transaction.commit().await?;
        });
        Ok(())
    }

    /// Runs statements of this program's own, without looking at what they answer.
    pub async fn execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        on_engine!(self, |connection, _| {
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(connection)
                .await
                .map(drop)
        })
    }

    /// The one number that a query of this program's own answers.
    pub async fn number(&mut self, sql: &str) -> Result<i64, sqlx::Error> {
        on_engine!(self, |connection, _| {
            sqlx::query_scalar(AssertSqlSafe(sql))
                .persistent(false)
                .fetch_one(connection)
                .await
        })
    }

    /// Begins a transaction of which nothing is to stay: see [`Self::undo`].
    pub async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let begin = match self {
            Self::Postgres(_) => POSTGRES.begin,
            Self::Sqlite(_) => SQLITE.begin,
        };
        self.execute(begin).await
    }

    /// Takes back what was done since [`Self::begin`].
    pub async fn undo(&mut self) -> Result<(), sqlx::Error> {
        self.execute("ROLLBACK").await
    }

    /// Runs a migration's statements and notes nothing: for transactions that are undone.
    pub async fn rehearse(
        &mut self,
        migration: &sqlx::migrate::Migration,
        direction: Direction,
    ) -> Result<(), MigrateError> {
        for statement in statements(migration.sql.as_str()) {
            let ran = self.execute(statement).await;
            ran.map_err(|error| MigrateError::statement(migration, direction, statement, error))?;
        }
        Ok(())
    }

    /// Notes another checksum for an applied migration.
    pub async fn set_checksum(&mut self, version: i64, checksum: &[u8]) -> Result<(), sqlx::Error> {
        on_engine!(self, |connection, _| {
            sqlx::query(SET_CHECKSUM)
                .bind(version)
                .bind(checksum)
                .persistent(false)
                .execute(connection)
                .await
                .map(drop)
        })
    }

    /// Says goodbye, which frees PostgreSQL's lock; that the server may be gone does not matter.
    pub async fn close(self) {
        let closed = on_engine!(self, |connection, _| connection.close().await);
        if let Err(error) = closed {
            tracing::debug!(%error, "a connection did not close cleanly");
        }
    }
}
