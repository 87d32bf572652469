//! Looking at a database without changing anything, one question at a time.
//!
//! The checks of `todoctl db check` need to know which step fails, so here each
//! step is a function of its own; the daemon has no use for them.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};
use tokio::time::timeout;

use crate::config::DatabaseTarget;

use super::connect::{SqliteAccess, open_postgres_within, open_sqlite};
use super::connect_error::ConnectError;
use super::error::StoreError;

mod file;
mod network;
mod pooler;
mod server;
mod tls;

pub use file::{FileFacts, FileSystem, is_writable};
pub use network::{Address, connect, resolve};
pub use pooler::{PreparedStatements, prepared_statements, shares_backend};
pub use server::{Capacity, Role, Setting};
pub use tls::{TlsFinding, Trust, look_at_tls};

const QUERY: &str = "SELECT 1";

/// `SELECT 1` would not even open the file.
const QUERY_FILE: &str = "SELECT count(*) FROM sqlite_schema";

const VERSION: &str =
    "SELECT current_setting('server_version'), current_setting('server_version_num')::int";

const VERSION_SQLITE: &str = "SELECT sqlite_version()";

/// How long saying goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a server or a library says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineVersion {
    /// A PostgreSQL server.
    Postgres {
        /// In its own words, such as `16.4 (Debian 16.4-1)`.
        text: String,
        /// Its major version.
        major: i32,
    },
    /// The embedded SQLite.
    Sqlite {
        /// Such as `3.50.2`.
        text: String,
    },
}

/// One open connection that only ever asks.
pub struct ProbeConnection(Engine);

enum Engine {
    Postgres(Box<PgConnection>),
    Sqlite(Box<SqliteConnection>),
}

impl ProbeConnection {
    /// Logs in to the server within `limit`, or opens the file for reading.
    ///
    /// A missing file stays missing, and nothing is made beside one that exists.
    pub async fn open(target: &DatabaseTarget, limit: Duration) -> Result<Self, ConnectError> {
        match target {
            DatabaseTarget::Postgres(server) => {
                let connection = open_postgres_within(server, limit).await?;
                Ok(Self(Engine::Postgres(Box::new(connection))))
            }
            DatabaseTarget::Sqlite(file) => {
                let mut connection = open_sqlite(file, SqliteAccess::Read).await?;
                // SQLite opens anything; only the first read finds out what it is.
                sqlx::query(QUERY_FILE)
                    .execute(&mut connection)
                    .await
                    .map_err(|error| ConnectError::from_sqlx(target, &error))?;
                Ok(Self(Engine::Sqlite(Box::new(connection))))
            }
        }
    }

    /// The smallest query that needs the database to answer.
    pub async fn query(&mut self) -> Result<(), StoreError> {
        // By the simple protocol: a pooler may hand the next exchange to another server connection.
        match &mut self.0 {
            Engine::Postgres(connection) => sqlx::raw_sql(QUERY)
                .execute(&mut **connection)
                .await
                .map(drop)?,
            Engine::Sqlite(connection) => sqlx::query(QUERY_FILE)
                .execute(&mut **connection)
                .await
                .map(drop)?,
        }
        Ok(())
    }

    /// The version of what answers.
    pub async fn version(&mut self) -> Result<EngineVersion, StoreError> {
        match &mut self.0 {
            Engine::Postgres(connection) => {
                let row = sqlx::raw_sql(VERSION).fetch_one(&mut **connection).await?;
                let (text, number) = (row.try_get(0)?, row.try_get::<i32, _>(1)?);
                // 120004 is 12.4; before 10 it was 90624 for 9.6.24.
                let major = number / 10_000;
                Ok(EngineVersion::Postgres { text, major })
            }
            Engine::Sqlite(connection) => {
                let text = sqlx::query_scalar(VERSION_SQLITE)
                    .fetch_one(&mut **connection)
                    .await?;
                Ok(EngineVersion::Sqlite { text })
            }
        }
    }

    /// Says goodbye; that the other side may be gone does not matter.
    pub async fn close(self) {
        let goodbye = async {
            match self.0 {
                Engine::Postgres(connection) => connection.close().await,
                Engine::Sqlite(connection) => connection.close().await,
            }
        };
        if let Ok(Err(error)) = timeout(CLOSE_TIMEOUT, goodbye).await {
            tracing::debug!(%error, "a connection did not close cleanly");
        }
    }
}

impl std::fmt::Debug for ProbeConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Engine::Postgres(_) => "ProbeConnection(Postgres)",
            Engine::Sqlite(_) => "ProbeConnection(Sqlite)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SqliteTarget;
    use crate::store::ConnectFault;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_missing_file_stays_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("todo.db");
        let target = DatabaseTarget::Sqlite(SqliteTarget { path });
        ProbeConnection::open(&target, LIMIT).await.unwrap_err();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_no_database_is_recognised() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("todo.db");
        std::fs::write(&path, "a shopping list, not a database".repeat(100)).unwrap();
        let target = DatabaseTarget::Sqlite(SqliteTarget { path });
        let error = ProbeConnection::open(&target, LIMIT).await.unwrap_err();
        assert_eq!(error.fault, ConnectFault::NotADatabase);
    }
}
