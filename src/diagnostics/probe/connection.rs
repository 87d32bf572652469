//! A connection that only asks.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};
use tokio::time::timeout;

use crate::config::{DatabaseTarget, PostgresTarget, SqliteTarget};
use crate::store::{ConnectError, SqliteAccess, StoreError, open_postgres_within, open_sqlite};

const QUERY: &str = "SELECT 1";

/// `SELECT 1` would not even open the file.
const QUERY_FILE: &str = "SELECT count(*) FROM sqlite_schema";

const VERSION: &str =
    "SELECT current_setting('server_version'), current_setting('server_version_num')::int";

const VERSION_FILE: &str = "SELECT sqlite_version()";

/// How long closing a connection may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// What a connection to either engine can do.
pub(crate) trait Connection: Sized {
    type Target;

    async fn open(target: &Self::Target, limit: Duration) -> Result<Self, ConnectError>;

    /// The smallest query that the database has to answer.
    async fn query(&mut self) -> Result<(), StoreError>;

    /// Closes it; whether the server is still there does not matter.
    async fn close(self);
}

pub(crate) struct ServerConnection(pub(super) PgConnection);

/// A PostgreSQL server's version.
pub(crate) struct ServerVersion {
    /// In the server's words, such as `16.4 (Debian 16.4-1)`.
    pub(crate) text: String,
    pub(crate) major: i32,
}

impl ServerConnection {
    /// For questions of the store.
    pub(crate) fn session(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    pub(crate) async fn version(&mut self) -> Result<ServerVersion, StoreError> {
        let row = sqlx::raw_sql(VERSION).fetch_one(&mut self.0).await?;
        let number: i32 = row.try_get(1)?;
        Ok(ServerVersion {
            text: row.try_get(0)?,
            // 120004 is 12.4; before 10 it was 90624 for 9.6.24.
            major: number / 10_000,
        })
    }
}

impl Connection for ServerConnection {
    type Target = PostgresTarget;

    async fn open(target: &PostgresTarget, limit: Duration) -> Result<Self, ConnectError> {
        open_postgres_within(target, limit).await.map(Self)
    }

    async fn query(&mut self) -> Result<(), StoreError> {
        // The simple protocol: a pooler may run the next exchange on another server connection.
        sqlx::raw_sql(QUERY).execute(&mut self.0).await?;
        Ok(())
    }

    async fn close(self) {
        close(self.0).await;
    }
}

/// Closes a connection that nothing depends on.
pub(super) async fn close(connection: PgConnection) {
    log_failure(
        timeout(CLOSE_LIMIT, connection.close())
            .await
            .unwrap_or(Ok(())),
    );
}

fn log_failure(closed: Result<(), sqlx::Error>) {
    if let Err(error) = closed {
        tracing::debug!(%error, "a connection did not close cleanly");
    }
}

/// A file opened for reading. A missing file stays missing, and nothing is created beside one
/// that exists.
pub(crate) struct FileConnection(pub(super) SqliteConnection);

impl FileConnection {
    /// Opens the file as it is without its write-ahead log.
    pub(crate) async fn open_without_log(target: &SqliteTarget) -> Result<Self, ConnectError> {
        open_sqlite(target, SqliteAccess::ReadWithoutLog)
            .await
            .map(Self)
    }

    /// Opens the file although entries of its schema cannot be read, which are left out then
    /// (<https://www.sqlite.org/pragma.html#pragma_writable_schema>).
    pub(crate) async fn open_with_unread_schema(
        target: &SqliteTarget,
    ) -> Result<Self, ConnectError> {
        let mut connection = open_sqlite(target, SqliteAccess::Read).await?;
        let set = sqlx::raw_sql("PRAGMA writable_schema = ON")
            .execute(&mut connection)
            .await;
        set.map_err(|error| {
            ConnectError::from_sqlx(&DatabaseTarget::Sqlite(target.clone()), &error)
        })?;
        Ok(Self(connection))
    }

    /// For questions of the store.
    pub(crate) fn session(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }

    pub(crate) async fn version(&mut self) -> Result<String, StoreError> {
        let query = sqlx::query_scalar(VERSION_FILE);
        Ok(query.fetch_one(&mut self.0).await?)
    }
}

impl Connection for FileConnection {
    type Target = SqliteTarget;

    async fn open(target: &SqliteTarget, _limit: Duration) -> Result<Self, ConnectError> {
        let mut connection = Self(open_sqlite(target, SqliteAccess::Read).await?);
        // SQLite opens any file; the first read finds out whether it is a database.
        let read = sqlx::query(QUERY_FILE).execute(&mut connection.0).await;
        read.map_err(|error| {
            ConnectError::from_sqlx(&DatabaseTarget::Sqlite(target.clone()), &error)
        })?;
        Ok(connection)
    }

    async fn query(&mut self) -> Result<(), StoreError> {
        sqlx::query(QUERY_FILE).execute(&mut self.0).await?;
        Ok(())
    }

    async fn close(self) {
        log_failure(self.0.close().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ConnectFault;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_missing_file_stays_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("todo.db");
        let opened = FileConnection::open(&SqliteTarget { path }, LIMIT).await;
        assert!(opened.is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_is_no_database() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("todo.db");
        std::fs::write(&path, "a shopping list, not a database".repeat(100)).unwrap();
        let opened = FileConnection::open(&SqliteTarget { path }, LIMIT).await;
        assert_eq!(opened.err().unwrap().fault, ConnectFault::NotADatabase);
    }
}
