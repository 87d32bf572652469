//! Why a schema could not be changed or looked at.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use sqlx::postgres::PgDatabaseError;

use crate::config::PostgresTarget;
use crate::store::connect_error::ConnectError;
use crate::store::messages::{self, KnownMessage};
use crate::store::sql::quoted_name;

use super::embedded::Direction;

/// A statement longer than this is cut off in messages.
const SHOWN: usize = 600;

/// Why migrating failed, or was not begun. Nothing of a failed migration stays.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database could not be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A pooler in transaction mode answers, which keeps neither locks nor settings.
    #[error("migrations cannot run through the pooler at {place}")]
    ThroughPooler {
        /// Its host and port.
        place: String,
    },
    /// Another process migrates, and did not end in time.
    #[error("another process is migrating this database and did not finish in time ({holder})")]
    Locked {
        /// Who holds the lock, as far as is known.
        holder: String,
        /// Its server process, where it is PostgreSQL's.
        pid: Option<i32>,
    },
    /// The file that serves as a lock cannot be had.
    #[error("the lock file {} cannot be used: {source}", path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A migration was begun and not finished, by a tool without transactions.
    #[error("migration {version} was begun and not finished")]
    Dirty {
        /// Its number.
        version: i64,
    },
    /// What was applied is not what this program has under that number.
    #[error("migration {version} ({description}) was changed after it was applied")]
    Changed {
        /// Its number.
        version: i64,
        /// Its name.
        description: String,
    },
    /// The database has migrations that this program does not know.
    #[error(
        "the database is at version {database}, and this todoctl knows versions up to {program}"
    )]
    Newer {
        /// The database's newest version.
        database: i64,
        /// The program's newest version.
        program: i64,
    },
    /// A version to go to that this program does not have.
    #[error("there is no migration {version}; this todoctl knows versions up to {newest}")]
    NoSuchVersion {
        /// What was asked for.
        version: i64,
        /// The program's newest version.
        newest: i64,
    },
    /// The schema to compare with cannot be made.
    #[error("the schema cannot be compared: this role may not make another one beside it")]
    NoScratch {
        /// What would allow it.
        grant: String,
        /// What the server said.
        source: sqlx::Error,
    },
    /// A migration that this program does not know was to be reverted.
    #[error("migration {version} is not known to this todoctl, so it cannot revert it")]
    NotOurs {
        /// Its number.
        version: i64,
    },
    /// A migration without a way back.
    #[error("migration {version} has no down file")]
    Irreversible {
        /// Its number.
        version: i64,
    },
    /// A statement failed; the migration was rolled back.
    #[error(transparent)]
    Statement(Box<FailedStatement>),
    /// After a migration a row refers to one that does not exist; it was rolled back.
    #[error("after migration {version} row {row} of {table} refers to a row that does not exist")]
    ForeignKey {
        /// The migration's number.
        version: i64,
        /// The table.
        table: String,
        /// The row.
        row: i64,
    },
    /// A query of the migrator itself failed.
    #[error("a query of the migrator failed: {}", said(.0))]
    Query(#[from] sqlx::Error),
}

/// A statement of a migration that the database refused.
#[derive(Debug, thiserror::Error)]
#[error("{what} migration {version} ({description}) failed: {reason}\n  statement: {statement}")]
pub struct FailedStatement {
    /// `applying` or `reverting`.
    pub what: &'static str,
    /// The migration's number.
    pub version: i64,
    /// The migration's name.
    pub description: String,
    /// What the database said.
    pub reason: String,
    /// What the database advises.
    pub hint: Option<String>,
    /// The text that failed, cut off when it is long.
    pub statement: String,
    /// The driver's error; not a source, because `reason` has told it.
    fault: sqlx::Error,
}

impl MigrateError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Connect(error) => return Some(error.remedy.clone()),
            Self::Statement(failed) if failed.hint.is_some() => return failed.hint.clone(),
            Self::ThroughPooler { .. } => {
                "set DATABASE_URL_UNPOOLED to the server's own address, past the pooler"
            }
            Self::Locked { pid: Some(pid), .. } => {
                return Some(format!(
                    "wait for it; if it hangs, end it: psql -c 'SELECT pg_terminate_backend({pid})'"
                ));
            }
            Self::Locked { pid: None, .. } => {
                "wait for it; if it hangs, end that process, then: todoctl migrate up"
            }
            Self::LockFile { path, .. } => {
                let path = path.display();
                return Some(format!("let this user write {path} and its directory"));
            }
            Self::Dirty { .. } => "todoctl migrate repair --dry-run",
            Self::Changed { .. } => {
                "deploy the todoctl that applied it, or, if only the file's look has changed: todoctl migrate repair"
            }
            Self::Newer { .. } => {
                "deploy the newer todoctl that migrated it; to go on with this one, without migrating: --allow-newer"
            }
            Self::NoSuchVersion { .. } => "todoctl migrate status",
            Self::NoScratch { grant, .. } => {
                return Some(format!(
                    "as the database's owner: psql -c '{grant}'; or check a restored copy of it"
                ));
            }
            Self::NotOurs { .. } => "run the newer todoctl that applied it: todoctl migrate down",
            Self::Irreversible { .. } => "restore a backup from before it",
            Self::Statement(_) if self.is_lock_timeout() => {
                "end the session that holds the table (psql -c 'SELECT pid, query FROM pg_stat_activity'), then: todoctl migrate up"
            }
            Self::Statement(failed) if failed.reason.ends_with("already exists") => {
                "nothing was changed; see what is there: todoctl migrate check; rename what is in the way (ALTER TABLE … RENAME TO …), then: todoctl migrate up"
            }
            Self::Statement(_) => "nothing was changed; mend the cause, then: todoctl migrate up",
            Self::ForeignKey { .. } => {
                "nothing was changed; mend or delete that row, then: todoctl migrate up"
            }
            Self::Query(error) => {
                return Some(
                    messages::find(&said(error))
                        .map_or_else(|| "todoctl db check".to_owned(), KnownMessage::remedy),
                );
            }
        };
        Some(text.to_owned())
    }

    /// PostgreSQL, appendix A: 42501 `insufficient_privilege`, 25006 `read_only_sql_transaction`.
    pub(super) fn no_scratch(server: &PostgresTarget, error: sqlx::Error) -> Self {
        let refused = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .is_some_and(|code| matches!(code.as_ref(), "42501" | "25006"));
        if refused {
            let (database, role) = (quoted_name(&server.database), quoted_name(&server.user));
            Self::NoScratch {
                grant: format!("GRANT CREATE ON DATABASE {database} TO {role}"),
                source: error,
            }
        } else {
            Self::Query(error)
        }
    }

    pub(super) fn statement(
        migration: &sqlx::migrate::Migration,
        direction: Direction,
        statement: &str,
        source: sqlx::Error,
    ) -> Self {
        let fault = source.as_database_error();
        let postgres = fault.and_then(|fault| fault.try_downcast_ref::<PgDatabaseError>());
        let mut reason =
            fault.map_or_else(|| source.to_string(), |fault| fault.message().to_owned());
        if let Some(detail) = postgres.and_then(PgDatabaseError::detail) {
            reason += &format!(" ({detail})");
        }
        Self::Statement(Box::new(FailedStatement {
            what: match direction {
                Direction::Up => "applying",
                Direction::Down => "reverting",
            },
            version: migration.version,
            description: migration.description.to_string(),
            reason,
            hint: postgres.and_then(PgDatabaseError::hint).map(str::to_owned),
            statement: shortened(statement).into_owned(),
            fault: source,
        }))
    }

    /// PostgreSQL, appendix A: 55P03 `lock_not_available`.
    pub(super) fn is_lock_timeout(&self) -> bool {
        let Self::Statement(failed) = self else {
            return false;
        };
        failed
            .fault
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .is_some_and(|code| code == "55P03")
    }
}

/// What the database said, without the driver's words around it.
fn said(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(fault) => fault.message().to_owned(),
        None => error.to_string(),
    }
}

/// Without the comments in front of it.
fn shortened(statement: &str) -> Cow<'_, str> {
    let mut statement = statement.trim();
    while let Some((comment, rest)) = statement.split_once('\n')
        && comment.starts_with("--")
    {
        statement = rest.trim_start();
    }
    if statement.len() <= SHOWN {
        return Cow::Borrowed(statement);
    }
    let end = statement.floor_char_boundary(SHOWN);
    Cow::Owned(format!("{}…", &statement[..end]))
}
