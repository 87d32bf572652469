//! Why a unit of work failed. The only place that maps `sqlx::Error`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::connect_error::ConnectError;
use super::plain::plain;
use super::postgres_fault::PostgresFault;

/// A failed unit of work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection became free in time. The database itself may be fine.
    #[error("no database connection became free within {waited:?} ({in_use} of {max} in use)")]
    PoolTimeout {
        /// The time limit.
        waited: Duration,
        /// Connections in use at that moment.
        in_use: usize,
        /// The size of the pool.
        max: usize,
    },
    /// The user's other requests kept its share of the connections in use.
    #[error("the user's share of {share} database connections was in use for {waited:?}")]
    ShareTimeout {
        /// How long the request waited.
        waited: Duration,
        /// The connections that one user may use at a time.
        share: usize,
    },
    /// The request would wait too long for a connection, so it is refused.
    #[error("the wait for {} is {wait:?}", if *of_user { "other requests of the user" } else { "a database connection" })]
    TooBusy {
        /// How long it would wait, or has waited.
        wait: Duration,
        /// Whether it would wait for others of its user.
        of_user: bool,
    },
    /// Other changes of the same task did not end in time.
    #[error("other changes of the task did not end within {waited:?}")]
    TaskTimeout {
        /// How long the request waited.
        waited: Duration,
    },
    /// The client closed its connection while its request waited for its turn, or its search ran.
    #[error("the client closed its connection before its request was done")]
    ClientLeft,
    /// A connection could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// An open connection broke, or the server is shutting down; trying again later may help.
    #[error("the connection to the database was lost: {}", plain(.0))]
    ConnectionLost(#[source] sqlx::Error),
    /// The same during a change that the server may still commit.
    #[error(
        "the connection to the database was lost, and the change may still be committed: {}",
        plain(.0)
    )]
    Undecided(#[source] sqlx::Error),
    /// The connection is out of date: its server became a standby, or a prepared statement no
    /// longer fits its table. Nothing was done; another connection may do it.
    #[error("the connection to the database is out of date: {}", plain(.0))]
    Stale(#[source] sqlx::Error),
    /// The connection broke during a change, and afterwards the database could not be asked
    /// whether the change was committed.
    #[error(
        "the connection to the database was lost, and it is unknown whether the change was committed: {}",
        plain(.0)
    )]
    OutcomeUnknown(#[source] sqlx::Error),
    /// A temporary condition: a lock, a deadlock, a full or failing disk, a time limit.
    #[error("the database cannot do this at the moment: {}", plain(.0))]
    Transient(#[source] sqlx::Error),
    /// A constraint of the schema forbids the change.
    #[error("the change violates {}", constraint.as_deref().unwrap_or("a constraint"))]
    Constraint {
        /// The constraint's name, where the engine reports it (PostgreSQL).
        constraint: Option<String>,
        /// The engine's error, for the log.
        source: sqlx::Error,
    },
    /// A stored value cannot be read.
    #[error(
        "row {row} of table {table}: column {column} cannot be read: {}",
        plain(source)
    )]
    Corrupt {
        /// The table's name.
        table: &'static str,
        /// The column's name.
        column: String,
        /// The row's id.
        row: i64,
        /// Why.
        source: sqlx::Error,
    },
    /// A text has a character that the database cannot store.
    #[error("the database cannot store a text: {}", plain(.0))]
    Unstorable(#[source] sqlx::Error),
    /// Anything else: a defect of the program or of the schema.
    #[error("a query failed: {}", plain(.0))]
    Query(#[source] sqlx::Error),
    /// SQLite's file is gone, or is another one than the one that was opened.
    #[error("the database file {} was deleted or replaced while the daemon had it open", .0.display())]
    FileReplaced(PathBuf),
    /// The store was closed, because the process is shutting down.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same work may succeed a little later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::PoolTimeout { .. }
            | Self::ShareTimeout { .. }
            | Self::TooBusy { .. }
            | Self::TaskTimeout { .. }
            | Self::ClientLeft
            | Self::Connect(_)
            | Self::ConnectionLost(_)
            | Self::Undecided(_)
            | Self::Stale(_)
            | Self::Transient(_)
            | Self::FileReplaced(_)
            | Self::Closed => true,
            Self::OutcomeUnknown(_)
            | Self::Constraint { .. }
            | Self::Unstorable(_)
            | Self::Corrupt { .. }
            | Self::Query(_) => false,
        }
    }

    /// Whether a table or a column is missing, as it is before `todoctl migrate up`.
    #[must_use]
    pub fn needs_migration(&self) -> bool {
        let Self::Query(sqlx::Error::Database(fault)) = self else {
            return false;
        };
        // SQLite has one code for all errors in a statement, so its message decides.
        matches!(fault.code().as_deref(), Some("42P01" | "42703"))
            || ["no such table", "no such column", "has no column named"]
                .iter()
                .any(|words| fault.message().contains(words))
    }

    /// Whether another process has locked the whole database.
    pub(super) fn is_file_locked(&self) -> bool {
        matches!(self, Self::Transient(error) if is_file_locked(error))
    }

    /// The driver's error.
    fn cause(&self) -> Option<&sqlx::Error> {
        match self {
            Self::ConnectionLost(error)
            | Self::Undecided(error)
            | Self::Stale(error)
            | Self::OutcomeUnknown(error)
            | Self::Transient(error)
            | Self::Query(error)
            | Self::Unstorable(error)
            | Self::Constraint { source: error, .. }
            | Self::Corrupt { source: error, .. } => Some(error),
            Self::PoolTimeout { .. }
            | Self::ShareTimeout { .. }
            | Self::TooBusy { .. }
            | Self::TaskTimeout { .. }
            | Self::ClientLeft
            | Self::Connect(_)
            | Self::FileReplaced(_)
            | Self::Closed => None,
        }
    }

    /// What PostgreSQL says about it.
    pub(crate) fn postgres(&self) -> Option<PostgresFault> {
        let fault = self.cause()?.as_database_error()?;
        let fault = fault.try_downcast_ref::<PgDatabaseError>()?;
        Some(PostgresFault::of(fault))
    }

    /// Whether a time limit of PostgreSQL ended the statement (appendix A: 57014 `query_canceled`).
    pub(crate) fn is_ended_by_limit(&self) -> bool {
        self.postgres().is_some_and(|fault| fault.code == "57014")
    }

    /// The same error for another request that the failure concerns too. Where the cause cannot
    /// be copied, its text remains.
    pub(super) fn repeated(&self) -> Self {
        let copy = |cause: &sqlx::Error| match cause {
            sqlx::Error::Io(error) => {
                sqlx::Error::Io(io::Error::new(error.kind(), error.to_string()))
            }
            other => sqlx::Error::Protocol(plain(other)),
        };
        match self {
            Self::ConnectionLost(cause) => Self::ConnectionLost(copy(cause)),
            Self::Undecided(cause) => Self::Undecided(copy(cause)),
            Self::OutcomeUnknown(cause) => Self::OutcomeUnknown(copy(cause)),
            Self::Transient(cause) => Self::Transient(copy(cause)),
            other => Self::Query(sqlx::Error::Protocol(other.to_string())),
        }
    }

    /// A row of `table` that could not be decoded.
    pub(super) fn corrupt(table: &'static str, row: i64, source: sqlx::Error) -> Self {
        let column = match &source {
            sqlx::Error::ColumnDecode { index, .. } => index.clone(),
            _ => "?".to_owned(),
        };
        Self::Corrupt {
            table,
            column,
            row,
            source,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_stale(&error) {
            return Self::Stale(error);
        }
        if is_connection_lost(&error) {
            return Self::ConnectionLost(error);
        }
        if is_transient(&error) {
            return Self::Transient(error);
        }
        if is_unstorable(&error) {
            return Self::Unstorable(error);
        }
        if let sqlx::Error::Database(fault) = &error
            && fault.kind() != sqlx::error::ErrorKind::Other
            && !is_of_the_schema(&**fault)
        {
            let constraint = fault.constraint().map(str::to_owned);
            return Self::Constraint {
                constraint,
                source: error,
            };
        }
        Self::Query(error)
    }
}

/// Whether an error of SQLite says that another process has locked the file (`SQLITE_BUSY`).
pub(super) fn is_file_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    let code = code.and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// Whether the connection that reported `error` can no longer be used.
pub(super) fn is_connection_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(fault) => fault
            .code()
            .is_some_and(|code| is_connection_lost_code(&code)),
        _ => false,
    }
}

/// Whether a statement failed because of its connection and did nothing: on another one it may
/// succeed.
pub(super) fn is_stale(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(fault) = error else {
        return false;
    };
    match fault.code().as_deref() {
        // A standby, or a server that was set to read-only; a statement that was prepared and
        // is not there, or is another, because a pooler changed the server; the session was ended
        // because it was idle.
        Some("25006" | "26000" | "42P05" | "57P05") => true,
        // The same by PgBouncer.
        Some("08P01") => fault.message() == "client_idle_timeout",
        // A table was altered after a statement on it was prepared.
        Some("0A000") => fault
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|fault| fault.routine() == Some("RevalidateCachedQuery")),
        _ => false,
    }
}

/// Whether SQLite did not find what a statement or a trigger names. A connection that has read the
/// schema before that was made again does not find it either
/// (<https://www.sqlite.org/rescode.html#error>).
pub(super) fn is_of_old_schema(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|fault| {
        let is_error = fault.code().as_deref() == Some("1");
        is_error && fault.message().starts_with("no such ")
    })
}

/// Whether no client can have caused the violation. A primary key that exists already: no client
/// chooses one, so its sequence lags behind its table. A column without a value: every statement
/// gives each required column one, so somebody added it.
fn is_of_the_schema(fault: &dyn DatabaseError) -> bool {
    if fault.kind() == sqlx::error::ErrorKind::NotNullViolation {
        return true;
    }
    // SQLite: SQLITE_CONSTRAINT_PRIMARYKEY and SQLITE_CONSTRAINT_ROWID.
    matches!(fault.code().as_deref(), Some("1555" | "2579"))
        || (fault.is_unique_violation()
            && fault
                .constraint()
                .is_some_and(|name| name.ends_with("_pkey")))
}

/// Whether an argument of a statement is a text that the database cannot store.
fn is_unstorable(error: &sqlx::Error) -> bool {
    match error {
        // `arg.rs`
        sqlx::Error::Encode(_) => true,
        // PostgreSQL, appendix A: character not in repertoire, untranslatable character.
        sqlx::Error::Database(fault) => {
            matches!(fault.code().as_deref(), Some("22021" | "22P05"))
        }
        _ => false,
    }
}

/// Whether the same statement may succeed a little later.
fn is_transient(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(fault) = error else {
        return false;
    };
    let Some(code) = fault.code() else {
        return false;
    };
    // PostgreSQL, appendix A: serialization failure, deadlock, lock not available, canceled by
    // a limit, class 53 (out of resources); division by zero is the guard of a deadline.
    if code.len() == 5 {
        return matches!(&*code, "40001" | "40P01" | "55P03" | "57014" | "22012")
            || code.starts_with("53");
    }
    // https://www.sqlite.org/rescode.html: BUSY, LOCKED, INTERRUPT, IOERR, FULL in the low byte;
    // SQLITE_CONSTRAINT_COMMITHOOK is the guard of a deadline.
    code.parse::<i32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 9 | 10 | 13) || code == 531)
}

/// PostgreSQL, appendix A: class 08 (connection exception), 57P01 to 57P05 and 25P03, 25P04
/// (the server ends the session), 40003 (statement completion unknown).
fn is_connection_lost_code(code: &str) -> bool {
    // SQLite's codes are numbers of other lengths, so they cannot be confused.
    (code.len() == 5 && code.starts_with("08")) || code == "40003" || ends_session(code)
}

fn ends_session(code: &str) -> bool {
    matches!(
        code,
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25P04"
    )
}

/// Whether the server itself reported that it ends the session, so that it rolls back the open
/// transaction. An error of a pooler (08P01) or a connection that just ends proves nothing.
pub(super) fn is_rolled_back(lost: &sqlx::Error) -> bool {
    let code = lost
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ends_session(&code))
}
