//! Opening one connection, with an explanation for each error.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::config::{
    ClaimError, DatabaseTarget, OtherJournal, PostgresTarget, SqliteTarget, claim, has_hot_journal,
    wal_path,
};

use super::connect_error::ConnectError;
use super::damaged_log::DamagedLog;
use super::login::attempt;
use super::messages::ConnectFault;
use super::namesake;

/// The time limit for one attempt; a suspended Neon database needs 10 to 15 s to wake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens one connection to a PostgreSQL server.
pub async fn open_postgres(target: &PostgresTarget) -> Result<PgConnection, ConnectError> {
    open_postgres_within(target, CONNECT_TIMEOUT).await
}

/// As [`open_postgres`], within `limit`.
pub(crate) async fn open_postgres_within(
    target: &PostgresTarget,
    limit: Duration,
) -> Result<PgConnection, ConnectError> {
    match attempt(target, limit).await {
        Err(error) if error.fault == ConnectFault::NoSuchDatabase => {
            Err(namesake::named(error, target).await)
        }
        result => result,
    }
}

/// What a SQLite connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqliteAccess {
    /// The file must exist, see [`prepare_file`]; foreign keys are enforced.
    Write,
    /// Like `Write`, but without foreign keys: a rebuilt table would cascade.
    Migrate,
    /// Like `Write`, for changes that are rolled back: the file keeps its journal mode.
    Trial,
    /// Reads the file of a running daemon; the file must exist. No write-ahead log is created if
    /// there is none.
    Read,
    /// Reads what the file has without its write-ahead log.
    ReadWithoutLog,
}

/// So many rows may wait for the task that reads them. With fewer, a connection's thread stops
/// and goes on several times for one statement.
const ROWS: usize = 256;

/// How long a statement waits for another process to unlock a SQLite file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens one connection to a SQLite file, in WAL mode with full synchronisation. Fails where SQLite
/// would damage it with a journal of another state.
pub async fn open_sqlite(
    target: &SqliteTarget,
    access: SqliteAccess,
) -> Result<SqliteConnection, ConnectError> {
    open_sqlite_within(target, access, BUSY_TIMEOUT).await
}

/// The same, where no statement waits for a lock longer than `wait`.
pub(super) async fn open_sqlite_within(
    target: &SqliteTarget,
    access: SqliteAccess,
    wait: Duration,
) -> Result<SqliteConnection, ConnectError> {
    let named = DatabaseTarget::Sqlite(target.clone());
    if access != SqliteAccess::ReadWithoutLog
        && let Some(other) = OtherJournal::beside(&target.path)
    {
        return Err(ConnectError {
            remedy: other.remedy(),
            ..ConnectError::new(ConnectFault::OtherJournal, &named, other.to_string())
        });
    }
    let mut options = SqliteConnectOptions::new()
        .filename(&target.path)
        .busy_timeout(wait)
        .foreign_keys(access != SqliteAccess::Migrate)
        .row_buffer_size(ROWS)
        .disable_statement_logging();
    match access {
        SqliteAccess::Read | SqliteAccess::ReadWithoutLog => {
            if !target.path.exists() {
                let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
                let what = format!("{} does not exist yet", target.path.display());
                return Err(ConnectError::from_io(&named, &what, &missing));
            }
            options = options.read_only(true);
            // Without a write-ahead log no process has the file open. A reader would create one
            // and leave it behind.
            let is_whole = !wal_path(&target.path).exists() && !has_hot_journal(&target.path);
            if access == SqliteAccess::ReadWithoutLog || is_whole {
                options = options.immutable(true);
            }
        }
        SqliteAccess::Write | SqliteAccess::Migrate => {
            options = options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full);
        }
        SqliteAccess::Trial => {}
    }
    SqliteConnection::connect_with(&options)
        .await
        .map_err(|error| ConnectError::from_sqlx(&named, &error))
}

/// As [`create_file`], before the file is opened for writing: SQLite then deletes what it does not
/// take of a damaged log, so a copy of that is kept.
pub(super) async fn prepare_file(target: &SqliteTarget) -> Result<(), ConnectError> {
    create_file(target)?;
    let Some(damaged) = DamagedLog::of(&target.path) else {
        return Ok(());
    };
    let named = DatabaseTarget::Sqlite(target.clone());
    let copy = damaged
        .keep()
        .map_err(|error| ConnectError::from_io(&named, "cannot copy the damaged log", &error))?;
    // The service goes on: what is lost does not come back by waiting.
    tracing::error!(
        copy = %copy.display(),
        "{damaged}; the log is kept, and todoctl doctor --only database.wal says what is in it"
    );
    // At the next start the rest of the log would be found again.
    let mut session = open_sqlite(target, SqliteAccess::Migrate).await?;
    let emptied = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut session)
        .await;
    let emptied = emptied.and(session.close().await);
    emptied.map_err(|error| ConnectError::from_sqlx(&named, &error))
}

/// Creates a SQLite file that is missing, and its directory. Fails where a database was lost.
pub(super) fn create_file(target: &SqliteTarget) -> Result<(), ConnectError> {
    let named = || DatabaseTarget::Sqlite(target.clone());
    claim(target).map_err(|error| match error {
        ClaimError::Lost(lost) => {
            let message = lost.to_string();
            let mut error = ConnectError::new(ConnectFault::Lost, &named(), message);
            error.remedy = lost.remedy();
            error
        }
        ClaimError::Io { what, source } => ConnectError::from_io(&named(), &what, &source),
    })
}
