//! The connection that migrates, and the migrator's own statements.

use sqlx::migrate::Migrate as _;
use sqlx::{Connection as _, SqliteConnection};

use crate::config::{DatabaseTarget, PostgresTarget, SqliteTarget};
use crate::store::arg::{Arg, args};
use crate::store::connect::{SqliteAccess, open_postgres, open_sqlite};
use crate::store::connection::Connection;
use crate::store::row::QueryResult;
use crate::store::sql::{Sql, per_engine};

use super::embedded::{Direction, statements};
use super::error::MigrateError;
use super::history::Applied;
use super::lock::{self, LockWait};

/// The name of sqlx's table.
const TABLE: &str = "_sqlx_migrations";

static TABLE_EXISTS: Sql = per_engine!(
    ["SELECT "] {
        postgres: "to_regclass('_sqlx_migrations') IS NOT NULL",
        sqlite: "EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')"
    }
    => " AS present"
);

/// sqlx lets SQLite write the time of an installation as text.
static APPLIED: Sql = per_engine!(
    ["SELECT version, description, success, checksum, "] {
        postgres: "installed_on",
        sqlite: "CAST(round(unixepoch(installed_on, 'subsec') * 1000000) AS integer) AS installed_on"
    }
    => " FROM _sqlx_migrations ORDER BY version"
);

/// `$2` in hexadecimal digits.
static SET_CHECKSUM: Sql = per_engine!(
    ["UPDATE _sqlx_migrations SET checksum = "] {
        postgres: "decode($2, 'hex')",
        sqlite: "unhex($2)"
    }
    => " WHERE version = $1"
);

static FORGET: Sql = Sql::Common("DELETE FROM _sqlx_migrations WHERE version = $1");

/// SQLite's rows that refer to missing ones: foreign keys are not enforced while it migrates.
static DANGLING: Sql = Sql::Common(
    "SELECT \"table\" AS table_name, COALESCE(rowid, 0) AS row_id FROM pragma_foreign_key_check",
);

/// A limit of the role or of the database must not cut a migration off.
const NO_LIMIT: &str = "SET statement_timeout = 0";

/// Set for reading, and for migrating once the migration lock is held. A migration that waits
/// for a table makes every later query wait behind it, so it gives up soon.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '5s'";

/// A dedicated connection. [`MigrationConnection::close`] ends it in every case.
pub(super) struct MigrationConnection(Connection);

impl MigrationConnection {
    /// Opens the database to change it; a missing SQLite file is created.
    pub async fn open(target: &DatabaseTarget) -> Result<Self, MigrateError> {
        match target {
            DatabaseTarget::Postgres(server) => {
                let mut connection = Self::of_server(server).await?;
                connection.execute(NO_LIMIT).await?;
                Ok(connection)
            }
            DatabaseTarget::Sqlite(file) => Self::of_file(file, SqliteAccess::Migrate).await,
        }
    }

    /// Opens the database to read it; `None` if a SQLite file does not exist.
    pub async fn open_to_read(target: &DatabaseTarget) -> Result<Option<Self>, MigrateError> {
        match target {
            DatabaseTarget::Postgres(server) => {
                let mut connection = Self::of_server(server).await?;
                // A pooler would keep the setting and apply it to other clients.
                if !server.pooled {
                    connection.execute(LOCK_TIMEOUT).await?;
                }
                Ok(Some(connection))
            }
            DatabaseTarget::Sqlite(file) if !file.path.exists() => Ok(None),
            DatabaseTarget::Sqlite(file) => Self::of_file(file, SqliteAccess::Read).await.map(Some),
        }
    }

    /// An empty SQLite database that exists as long as the connection.
    pub async fn in_memory() -> Result<Self, MigrateError> {
        let connection = SqliteConnection::connect("sqlite::memory:").await?;
        Ok(Self(Connection::Sqlite(connection)))
    }

    async fn of_server(server: &PostgresTarget) -> Result<Self, MigrateError> {
        Ok(Self(Connection::Postgres {
            session: open_postgres(server).await?,
            // Each statement runs once, and a pooler may be in between when reading.
            prepares: false,
        }))
    }

    async fn of_file(file: &SqliteTarget, access: SqliteAccess) -> Result<Self, MigrateError> {
        let connection = open_sqlite(file, access).await?;
        Ok(Self(Connection::Sqlite(connection)))
    }

    /// Takes PostgreSQL's lock; SQLite's is a file.
    pub async fn take_lock(&mut self, wait: LockWait<'_>) -> Result<(), MigrateError> {
        if let Connection::Postgres { .. } = self.0 {
            lock::take_advisory(&mut self.0, wait).await?;
            self.execute(LOCK_TIMEOUT).await?;
        }
        Ok(())
    }

    /// What was applied, in the order of the versions; nothing if the table is missing.
    pub async fn applied(&mut self) -> Result<Vec<Applied>, MigrateError> {
        if !self
            .query(&TABLE_EXISTS, &args![])
            .await?
            .value("present")?
        {
            return Ok(Vec::new());
        }
        let mut applied = Vec::new();
        for row in self.query(&APPLIED, &args![]).await?.rows {
            applied.push(Applied {
                version: row.get("version")?,
                description: row.get("description")?,
                installed_on: row.get("installed_on")?,
                success: row.get("success")?,
                checksum: row.get("checksum")?,
            });
        }
        Ok(applied)
    }

    /// Creates the table of applied migrations if it is missing.
    pub async fn ensure_table(&mut self) -> Result<(), MigrateError> {
        match &mut self.0 {
            Connection::Postgres { session, .. } => session.ensure_migrations_table(TABLE).await,
            Connection::Sqlite(connection) => connection.ensure_migrations_table(TABLE).await,
        }
        .map_err(of_sqlx)
    }

    /// Runs one migration and records it, in one transaction.
    pub async fn run(
        &mut self,
        migration: &sqlx::migrate::Migration,
        direction: Direction,
    ) -> Result<(), MigrateError> {
        self.begin().await?;
        let outcome = self.apply(migration, direction).await;
        let ended = self.0.end(outcome.is_ok()).await;
        outcome?;
        Ok(ended?)
    }

    async fn apply(
        &mut self,
        migration: &sqlx::migrate::Migration,
        direction: Direction,
    ) -> Result<(), MigrateError> {
        self.rehearse(migration, direction).await?;
        match direction {
            Direction::Up => self.record(migration).await?,
            Direction::Down => {
                self.query(&FORGET, &args![migration.version]).await?;
            }
        }
        if let Connection::Sqlite(_) = self.0
            && let Some(row) = self.query(&DANGLING, &args![]).await?.rows.first()
        {
            return Err(MigrateError::ForeignKey {
                version: migration.version,
                table: row.get("table_name")?,
                row: row.get("row_id")?,
            });
        }
        Ok(())
    }

    /// Records a migration whose statements have run; sqlx calls this skipping it.
    async fn record(&mut self, migration: &sqlx::migrate::Migration) -> Result<(), MigrateError> {
        match &mut self.0 {
            Connection::Postgres { session, .. } => session.skip(TABLE, migration).await,
            Connection::Sqlite(connection) => connection.skip(TABLE, migration).await,
        }
        .map_err(of_sqlx)
    }

    /// Runs the statements of a migration without recording it.
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

    /// Runs statements of this program; what they return is ignored.
    pub async fn execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        self.0.run_script(sql).await
    }

    /// Runs one statement to its end.
    pub async fn query(&mut self, sql: &Sql, args: &[Arg<'_>]) -> Result<QueryResult, sqlx::Error> {
        self.0.run(sql, args).await
    }

    pub async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.0.begin().await
    }

    /// Rolls back what was done since [`Self::begin`].
    pub async fn undo(&mut self) -> Result<(), sqlx::Error> {
        self.0.end(false).await
    }

    /// Records another checksum for an applied migration.
    pub async fn set_checksum(&mut self, version: i64, checksum: &[u8]) -> Result<(), sqlx::Error> {
        let args = args![version, hex::encode(checksum)];
        self.query(&SET_CHECKSUM, &args).await.map(drop)
    }

    /// Closes the connection, which frees PostgreSQL's lock.
    pub async fn close(self) {
        self.0.close().await;
    }
}

fn of_sqlx(error: sqlx::migrate::MigrateError) -> MigrateError {
    MigrateError::Query(sqlx::Error::Migrate(Box::new(error)))
}
