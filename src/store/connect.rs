//! Opening one connection, with every fault explained.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::config::{DatabaseTarget, PostgresTarget, SqliteTarget};

use super::error::ConnectError;

/// How long one try may take; a suspended Neon database needs 10 to 15 s to wake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens one connection to a PostgreSQL server.
pub async fn open_postgres(target: &PostgresTarget) -> Result<PgConnection, ConnectError> {
    let named = || DatabaseTarget::Postgres(target.clone());
    let options = target
        .connect_options()
        .map_err(|error| ConnectError::from_sqlx(&named(), &error))?;
    match tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(ConnectError::from_sqlx(&named(), &error)),
        Err(_) => Err(ConnectError::timed_out(&named(), CONNECT_TIMEOUT)),
    }
}

/// What a SQLite connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqliteAccess {
    /// Creates the file and its directory when they are missing; foreign keys are enforced.
    Write,
    /// Like `Write`, but without foreign keys: a rebuilt table would cascade.
    Migrate,
    /// Reads the file of a running daemon; the file must exist.
    Read,
}

/// Opens one connection to a SQLite file, in WAL mode with full synchronisation.
pub async fn open_sqlite(
    target: &SqliteTarget,
    access: SqliteAccess,
) -> Result<SqliteConnection, ConnectError> {
    let named = DatabaseTarget::Sqlite(target.clone());
    let mut options = SqliteConnectOptions::new()
        .filename(&target.path)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(access != SqliteAccess::Migrate)
        .disable_statement_logging();
    if access == SqliteAccess::Read {
        if !target.path.exists() {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            let what = format!("{} does not exist yet", target.path.display());
            return Err(ConnectError::from_io(&named, &what, &missing));
        }
        options = options.read_only(true);
    } else {
        if let Some(directory) = directory_of(&target.path) {
            std::fs::create_dir_all(directory).map_err(|error| {
                let what = format!("cannot create the directory {}", directory.display());
                ConnectError::from_io(&named, &what, &error)
            })?;
        }
        options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
    }
    SqliteConnection::connect_with(&options)
        .await
        .map_err(|error| ConnectError::from_sqlx(&named, &error))
}

/// The directory that holds `path`, unless that is the current one.
fn directory_of(path: &Path) -> Option<&Path> {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
}
