//! Looking at a database without changing anything, one question at a time.
//!
//! The checks of `todoctl db check` need to know which step fails, so here each
//! step is a function of its own; the daemon has no use for them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{DatabaseTarget, PostgresTarget};

use super::connect::{SqliteAccess, open_postgres, open_sqlite};
use super::error::{ConnectError, StoreError};

const QUERY: &str = "SELECT 1";

/// `SELECT 1` would not even open the file.
const QUERY_FILE: &str = "SELECT count(*) FROM sqlite_schema";

const VERSION: &str =
    "SELECT current_setting('server_version'), current_setting('server_version_num')::int";

const VERSION_SQLITE: &str = "SELECT sqlite_version()";

/// How long saying goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether something accepts connections where the server should be; returns
/// the address or the socket that did.
///
/// The name server and the server get `limit` each. Addresses are tried in the
/// order in which the driver tries them, so that both have the same luck.
pub async fn reach(server: &PostgresTarget, limit: Duration) -> Result<String, ConnectError> {
    let target = DatabaseTarget::Postgres(server.clone());
    let failed = |error| ConnectError::from_sqlx(&target, &sqlx::Error::Io(error));
    let silent = |_| ConnectError::timed_out(&target, limit);
    if server.host.starts_with('/') {
        let socket = format!("{}/.s.PGSQL.{}", server.host, server.port);
        timeout(limit, connect_socket(&socket))
            .await
            .map_err(silent)?
            .map_err(failed)?;
        return Ok(socket);
    }
    let host = server.host.trim_matches(['[', ']']);
    let addresses: Vec<SocketAddr> = timeout(limit, tokio::net::lookup_host((host, server.port)))
        .await
        .map_err(|_| {
            failed(io::Error::new(
                io::ErrorKind::TimedOut,
                "the name server did not answer",
            ))
        })?
        .map_err(failed)?
        .collect();
    let stream = timeout(limit, TcpStream::connect(&addresses[..]))
        .await
        .map_err(silent)?
        .map_err(failed)?;
    Ok(stream.peer_addr().map_err(failed)?.to_string())
}

#[cfg(unix)]
async fn connect_socket(path: &str) -> io::Result<()> {
    tokio::net::UnixStream::connect(path).await.map(drop)
}

#[cfg(not(unix))]
async fn connect_socket(_path: &str) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

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
    /// Logs in to the server, or opens the file for reading; a missing file stays missing.
    pub async fn open(target: &DatabaseTarget) -> Result<Self, ConnectError> {
        match target {
            DatabaseTarget::Postgres(server) => {
                let connection = open_postgres(server).await?;
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
    use crate::config::{SqliteTarget, TlsMode};
    use crate::store::ConnectFault;

    fn server(host: &str, port: u16) -> PostgresTarget {
        PostgresTarget {
            host: host.to_owned(),
            port,
            user: "todo".to_owned(),
            password: None,
            database: "todo".to_owned(),
            tls: TlsMode::Disable,
            root_cert: None,
            options: None,
            application_name: "todoctl".to_owned(),
            pooled: false,
        }
    }

    #[tokio::test]
    async fn a_listener_is_reached_and_named() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let limit = Duration::from_secs(5);
        let reached = reach(&server("127.0.0.1", at.port()), limit).await.unwrap();
        assert_eq!(reached, at.to_string());
        drop(listener);
        let error = reach(&server("127.0.0.1", at.port()), limit)
            .await
            .unwrap_err();
        assert_eq!(error.fault, ConnectFault::Refused);
    }

    #[tokio::test]
    async fn a_missing_socket_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let host = directory.path().to_str().unwrap();
        let error = reach(&server(host, 5432), Duration::from_secs(5))
            .await
            .unwrap_err();
        assert_eq!(error.fault, ConnectFault::Refused, "{error}");
    }

    #[tokio::test]
    async fn a_missing_file_stays_missing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("todo.db");
        let target = DatabaseTarget::Sqlite(SqliteTarget { path });
        ProbeConnection::open(&target).await.unwrap_err();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_is_no_database_is_recognised() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("todo.db");
        std::fs::write(&path, "a shopping list, not a database".repeat(100)).unwrap();
        let target = DatabaseTarget::Sqlite(SqliteTarget { path });
        let error = ProbeConnection::open(&target).await.unwrap_err();
        assert_eq!(error.fault, ConnectFault::NotADatabase);
    }
}
