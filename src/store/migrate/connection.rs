//! The connection that migrates.

use chrono::{DateTime, Utc};
use sqlx::migrate::Migrate;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, PgConnection, SqliteConnection};

use crate::config::{DatabaseTarget, SqliteTarget};
use crate::domain::Timestamp;
use crate::store::connect::{SqliteAccess, open_postgres, open_sqlite, prepare_file};
use crate::store::connection::Connection;
use crate::store::server::refuse_unfit;

use super::embedded::{Direction, statements};
use super::error::MigrateError;
use super::expected::expected_tables;
use super::history::AppliedRow;
use super::lock::{self, FileLock, LockWait};
use super::pooler;
use super::sessions::{self, SessionInfo};
use super::take_over::{self, OtherSchema, other_schema};

/// The table's name as sqlx has it.
const TABLE: &str = "_sqlx_migrations";

/// What sqlx writes into it.
const COLUMNS: [&str; 6] = [
    "version",
    "description",
    "installed_on",
    "success",
    "checksum",
    "execution_time",
];

const APPLIED: &str = "SELECT version, description, installed_on, success, checksum
     FROM _sqlx_migrations ORDER BY version";

/// The driver reads texts of bytes in this form alone, and a role may have another.
const READABLE_BYTES: &str = "SET LOCAL bytea_output = hex; ";

/// The first row that refers to a missing one. SQLite migrates without foreign keys.
const DANGLING: &str = "SELECT \"table\", COALESCE(rowid, 0) FROM pragma_foreign_key_check LIMIT 1";

const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name";

/// A role's or a database's own limit must not interrupt a migration.
const NO_STATEMENT_TIMEOUT: &str = "SET statement_timeout = 0";

/// While a migration waits for a table's lock, every later query of the table waits behind
/// it, so it gives up soon.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '5s'";

/// A dedicated connection; close it with [`MigrationConnection::close`].
pub(super) struct MigrationConnection(Connection);

impl MigrationConnection {
    /// Opens the database to change it; creates a missing SQLite file.
    pub async fn open(target: &DatabaseTarget) -> Result<Self, MigrateError> {
        match target {
            DatabaseTarget::Postgres(server) => {
                let mut session = open_postgres(server).await?;
                refuse_unfit(&mut session, server).await?;
                let mut connection = Self::of_server(session);
                connection.execute(NO_STATEMENT_TIMEOUT).await?;
                Ok(connection)
            }
            DatabaseTarget::Sqlite(file) => {
                prepare_file(file).await?;
                Self::open_file(file, SqliteAccess::Migrate).await
            }
        }
    }

    fn of_server(session: PgConnection) -> Self {
        Self(Connection::Postgres {
            session,
            prepares: false,
        })
    }

    async fn open_file(file: &SqliteTarget, access: SqliteAccess) -> Result<Self, MigrateError> {
        Ok(Self(Connection::Sqlite(open_sqlite(file, access).await?)))
    }

    /// An empty SQLite database that exists as long as the connection.
    pub async fn open_in_memory() -> Result<Self, MigrateError> {
        let connection = SqliteConnection::connect("sqlite::memory:").await?;
        Ok(Self(Connection::Sqlite(connection)))
    }

    /// Opens the database to change it, under the migration lock: PostgreSQL's belongs to the
    /// connection, SQLite's is the second value.
    pub async fn open_locked(
        target: &DatabaseTarget,
        wait: LockWait<'_>,
    ) -> Result<(Self, Option<FileLock>), MigrateError> {
        match target {
            DatabaseTarget::Postgres(server) => {
                pooler::refuse(server).await?;
                let mut connection = Self::open(target).await?;
                match connection.take_lock(wait).await {
                    Ok(()) => Ok((connection, None)),
                    Err(error) => {
                        connection.close().await;
                        Err(error)
                    }
                }
            }
            DatabaseTarget::Sqlite(file) => {
                let lock = FileLock::take(file, wait).await?;
                Ok((Self::open(target).await?, Some(lock)))
            }
        }
    }

    /// Opens the database to read it; `None` if the SQLite file does not exist.
    pub async fn open_to_read(target: &DatabaseTarget) -> Result<Option<Self>, MigrateError> {
        match target {
            DatabaseTarget::Postgres(server) => {
                let mut connection = Self::of_server(open_postgres(server).await?);
                // A pooler would keep the setting and hand it to other clients.
                if !server.pooled {
                    connection.execute(LOCK_TIMEOUT).await?;
                }
                Ok(Some(connection))
            }
            DatabaseTarget::Sqlite(file) if !file.path.exists() => Ok(None),
            DatabaseTarget::Sqlite(file) => {
                Self::open_file(file, SqliteAccess::Read).await.map(Some)
            }
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.0, Connection::Postgres { .. })
    }

    async fn take_lock(&mut self, wait: LockWait<'_>) -> Result<(), MigrateError> {
        if let Connection::Postgres { session, .. } = &mut self.0 {
            lock::take_advisory(session, wait).await?;
            self.execute(LOCK_TIMEOUT).await?;
        }
        Ok(())
    }

    /// The rows of `_sqlx_migrations` by version; none if the table does not exist.
    pub async fn applied(&mut self) -> Result<Vec<AppliedRow>, MigrateError> {
        type Row = (i64, String, DateTime<Utc>, bool, Vec<u8>);
        let columns = if self.is_postgres() {
            "SELECT attname::text FROM pg_catalog.pg_attribute
             WHERE attrelid = to_regclass('_sqlx_migrations') AND attnum > 0 AND NOT attisdropped"
        } else {
            "SELECT name FROM pragma_table_info('_sqlx_migrations')"
        };
        let columns: Vec<(String,)> = self.fetch_all(columns).await?;
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        let mut missing = COLUMNS.to_vec();
        missing.retain(|one| columns.iter().all(|(name,)| name != one));
        if !missing.is_empty() {
            return Err(MigrateError::BrokenRecord { missing });
        }
        let before = if self.is_postgres() {
            READABLE_BYTES
        } else {
            ""
        };
        let rows: Vec<Row> = self.fetch_all(&format!("{before}{APPLIED}")).await?;
        let applied = |(version, description, installed_on, success, checksum)| AppliedRow {
            version,
            description,
            installed_on: Timestamp::from(installed_on),
            success,
            checksum,
        };
        Ok(rows.into_iter().map(applied).collect())
    }

    /// Where the tables are, if migrations would create others. A search path in the URL is meant
    /// for this service alone, so a new schema in it is wanted.
    pub async fn other_schema(
        &mut self,
        target: &DatabaseTarget,
    ) -> Result<Option<OtherSchema>, sqlx::Error> {
        let DatabaseTarget::Postgres(server) = target else {
            return Ok(None);
        };
        let options = server.options.as_deref().unwrap_or_default();
        let homes = self.fetch_all(take_over::HOMES).await?;
        Ok(other_schema(homes, options.contains("search_path")))
    }

    /// Why the tables that are there are not to be taken over; `None` if they may be.
    pub async fn refusal(&mut self) -> Result<Option<String>, sqlx::Error> {
        if let Connection::Postgres { session, .. } = &mut self.0 {
            return take_over::refusal(session).await;
        }
        let tables: Vec<(String,)> = self.fetch_all(TABLES).await?;
        let is_wanted = |name: &String| {
            expected_tables().any(|(wanted, _)| wanted == name) && !name.starts_with("todoctl_")
        };
        let found: Vec<String> = tables
            .into_iter()
            .map(|row| row.0)
            .filter(is_wanted)
            .collect();
        Ok((!found.is_empty()).then(|| format!("a wanted table exists: {}", found.join(", "))))
    }

    /// Creates `_sqlx_migrations` if it is missing.
    pub async fn ensure_table(&mut self) -> Result<(), MigrateError> {
        let created = match &mut self.0 {
            Connection::Postgres { session, .. } => session.ensure_migrations_table(TABLE).await,
            Connection::Sqlite(connection) => connection.ensure_migrations_table(TABLE).await,
        };
        created.map_err(query_error)
    }

    /// Runs a migration and records it, in one transaction.
    pub async fn run(
        &mut self,
        migration: &sqlx::migrate::Migration,
        direction: Direction,
    ) -> Result<(), MigrateError> {
        self.begin().await?;
        let outcome = self.run_and_record(migration, direction).await;
        let ended = self.0.end(outcome.is_ok()).await;
        // The first error is the cause: a rollback fails when the connection is lost.
        outcome?;
        Ok(ended?)
    }

    async fn run_and_record(
        &mut self,
        migration: &sqlx::migrate::Migration,
        direction: Direction,
    ) -> Result<(), MigrateError> {
        let version = migration.version;
        self.run_statements(migration, direction).await?;
        match direction {
            Direction::Up => self.record(migration).await?,
            Direction::Down => self.forget(version).await?,
        }
        let dangling: Vec<(String, i64)> = if self.is_postgres() {
            Vec::new()
        } else {
            self.fetch_all(DANGLING).await?
        };
        match dangling.into_iter().next() {
            Some((table, row)) => Err(MigrateError::ForeignKey {
                version,
                table,
                row,
            }),
            None => Ok(()),
        }
    }

    /// Removes the records of `forgotten` and records `migrations` without running them, in one
    /// transaction.
    pub async fn record_all<'a>(
        &mut self,
        forgotten: impl Iterator<Item = i64>,
        migrations: impl Iterator<Item = &'a sqlx::migrate::Migration>,
    ) -> Result<(), MigrateError> {
        self.ensure_table().await?;
        self.begin().await?;
        let outcome = self.replace_records(forgotten, migrations).await;
        let ended = self.0.end(outcome.is_ok()).await;
        outcome?;
        Ok(ended?)
    }

    async fn replace_records<'a>(
        &mut self,
        forgotten: impl Iterator<Item = i64>,
        migrations: impl Iterator<Item = &'a sqlx::migrate::Migration>,
    ) -> Result<(), MigrateError> {
        for version in forgotten {
            self.forget(version).await?;
        }
        for migration in migrations {
            self.record(migration).await?;
        }
        Ok(())
    }

    async fn forget(&mut self, version: i64) -> Result<(), sqlx::Error> {
        let forget = format!("DELETE FROM _sqlx_migrations WHERE version = {version}");
        self.execute(&forget).await
    }

    /// Keeps a `_sqlx_migrations` that cannot be used under another name.
    pub async fn set_record_aside(&mut self) -> Result<(), sqlx::Error> {
        const OLD: &str = "_sqlx_migrations_old";
        let tables = if self.is_postgres() {
            "SELECT relname::text FROM pg_catalog.pg_class"
        } else {
            "SELECT name FROM sqlite_schema"
        };
        let taken: Vec<(String,)> = self.fetch_all(tables).await?;
        // An earlier one may be there.
        let numbered = (2..).map(|number| format!("{OLD}_{number}"));
        let name = std::iter::once(OLD.to_owned())
            .chain(numbered)
            .find(|name| taken.iter().all(|(one,)| one != name))
            .unwrap_or_else(|| OLD.to_owned());
        self.execute(&format!("ALTER TABLE _sqlx_migrations RENAME TO {name}"))
            .await
    }

    /// Adds the migration's row to `_sqlx_migrations`, which sqlx calls skipping it.
    async fn record(&mut self, migration: &sqlx::migrate::Migration) -> Result<(), MigrateError> {
        let recorded = match &mut self.0 {
            Connection::Postgres { session, .. } => session.skip(TABLE, migration).await,
            Connection::Sqlite(connection) => connection.skip(TABLE, migration).await,
        };
        recorded.map_err(query_error)
    }

    /// Runs a migration's statements without recording it.
    pub async fn run_statements(
        &mut self,
        migration: &sqlx::migrate::Migration,
        direction: Direction,
    ) -> Result<(), MigrateError> {
        for statement in statements(migration.sql.as_str()) {
            self.execute(statement)
                .await
                .map_err(|error| MigrateError::statement(migration, direction, statement, error))?;
        }
        Ok(())
    }

    /// Runs SQL of this program.
    pub async fn execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        self.0.run_script(sql).await.map(drop)
    }

    /// The one number that a query of this program returns.
    pub async fn fetch_number(&mut self, sql: &str) -> Result<i64, sqlx::Error> {
        let rows: Vec<(i64,)> = self.fetch_all(sql).await?;
        rows.first()
            .map(|row| row.0)
            .ok_or(sqlx::Error::RowNotFound)
    }

    /// The rows of a query of this program. It is sent in one message, without preparing it,
    /// because a pooler may run each message in another session.
    pub async fn fetch_all<T>(&mut self, sql: &str) -> Result<Vec<T>, sqlx::Error>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow>,
    {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match &mut self.0 {
            Connection::Postgres { session, .. } => {
                let rows = sql.fetch_all(session).await?;
                rows.iter().map(T::from_row).collect()
            }
            Connection::Sqlite(connection) => {
                let rows = sql.fetch_all(connection).await?;
                rows.iter().map(T::from_row).collect()
            }
        }
    }

    /// The session that holds a lock on a table of `statement`, on PostgreSQL.
    pub async fn table_lock_holder(&mut self, statement: &str) -> Option<SessionInfo> {
        match &mut self.0 {
            Connection::Postgres { session, .. } => {
                sessions::table_holder(session, statement).await
            }
            Connection::Sqlite(_) => None,
        }
    }

    pub async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.0.begin().await
    }

    pub async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        self.0.end(false).await
    }

    /// Closes the connection, which frees PostgreSQL's lock.
    pub async fn close(self) {
        self.0.close().await;
    }
}

fn query_error(error: sqlx::migrate::MigrateError) -> MigrateError {
    MigrateError::Query(sqlx::Error::Migrate(Box::new(error)))
}
