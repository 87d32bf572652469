//! Why the schema could not be changed or read.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use crate::config::{Remedy, migration_lock_path};
use crate::store::connect_error::ConnectError;
use crate::store::known::known_message;
use crate::store::messages::{self, KnownMessage, Place};
use crate::store::plain::plain;

use super::embedded::Direction;
use super::name_taken::Namesake;
use super::sessions::SessionInfo;
use super::take_over::OtherSchema;

/// Records what the schema has.
const STAMP: &str = "todoctl migrate stamp";

/// Messages show this much of a statement.
const MAX_STATEMENT: usize = 600;

/// Why migrating failed or did not start. A failed migration is rolled back.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages explain variants and fields")]
pub enum MigrateError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A pooler in transaction mode keeps neither locks nor settings of a session.
    #[error("migrations cannot run through the pooler at {host_port}")]
    ThroughPooler { host_port: String },
    /// Another process migrates, and did not finish in time.
    #[error("another process is migrating this database and did not finish in time: {holder}")]
    Locked {
        holder: String,
        /// Its server process, on PostgreSQL.
        pid: Option<i32>,
    },
    #[error("cannot use the lock file {}: {source}", migration_lock_path(database).display())]
    LockFile {
        database: PathBuf,
        source: io::Error,
    },
    /// Another session holds a table for too long.
    #[error("migration {version} waits for table {:?}, which another session has locked: {holder}", holder.table)]
    TableLocked { version: i64, holder: SessionInfo },
    /// A tool without transactions started a migration and did not finish it.
    #[error("migration {version} was started and not finished")]
    Dirty { version: i64 },
    /// The applied migration had another checksum than this program's file.
    #[error("migration {version} ({description}) was changed after it was applied")]
    Changed { version: i64, description: String },
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
    /// Another service records its migrations in the same table.
    #[error("_sqlx_migrations also has migrations of another service: {migrations}")]
    OtherRecords {
        migrations: String,
        /// The newest version in the table.
        database: i64,
        /// The program's newest version.
        program: i64,
    },
    /// `_sqlx_migrations` seems empty, because row-level security hides its rows.
    #[error("row-level security hides the rows of _sqlx_migrations from this role")]
    HiddenRecord,
    /// Neither the program nor the database has the version to stop at.
    #[error("there is no migration {version}; the newest is {newest}")]
    NoSuchVersion { version: i64, newest: i64 },
    /// `_sqlx_migrations` was lost, or rows of it.
    #[error(
        "the schema has migrations that _sqlx_migrations does not record: {}",
        list(versions)
    )]
    Unrecorded { versions: Vec<i64> },
    /// Another program changed the table.
    #[error("_sqlx_migrations lacks a column that records migrations: {}", missing.join(", "))]
    BrokenRecord { missing: Vec<&'static str> },
    /// Somebody made or removed a part of a migration that is not recorded.
    #[error(
        "migration {version} is not recorded as applied, and the schema has only a part of it: {} is missing",
        missing.join(", ")
    )]
    InPart { version: i64, missing: Vec<String> },
    /// A migration to revert is not in this program.
    #[error("this todoctl does not know migration {version} and cannot revert it")]
    Unknown { version: i64 },
    #[error("migration {version} has no down file")]
    Irreversible { version: i64 },
    /// The search path leads elsewhere than it did. Nothing was changed.
    #[error("{0}")]
    OtherSchema(OtherSchema),
    /// The tables in the database belong to another service. Nothing was changed.
    #[error("tables of another service are in the way: {reason}")]
    OtherService {
        reason: String,
        /// The file, on SQLite.
        file: Option<PathBuf>,
    },
    /// Another program has taken a name. Nothing was changed.
    #[error("{0}")]
    NameTaken(Namesake),
    /// The database refused a statement of a migration.
    #[error(transparent)]
    Statement(Box<FailedStatement>),
    /// After the migration a row would refer to one that does not exist.
    #[error("after migration {version}, row {row} of {table} refers to a row that does not exist")]
    ForeignKey {
        version: i64,
        table: String,
        row: i64,
    },
    /// A query about the migrations failed.
    #[error("a query about the migrations failed: {}", plain(.0))]
    Query(#[from] sqlx::Error),
}

/// A statement of a migration that the database refused.
#[derive(Debug, thiserror::Error)]
#[error("{what} migration {version} ({description}) failed: {reason}\n  statement: {statement}")]
pub struct FailedStatement {
    /// `applying` or `reverting`.
    pub what: &'static str,
    /// The migration's version.
    pub version: i64,
    /// The migration's name.
    pub description: String,
    /// The database's message and detail.
    pub reason: String,
    /// The database's hint.
    pub hint: Option<String>,
    /// Without leading comments; shortened.
    pub statement: String,
    /// Not the error's source, because `reason` repeats it.
    fault: sqlx::Error,
}

impl FailedStatement {
    /// PostgreSQL, appendix A: 55P03 `lock_not_available`.
    pub(super) fn is_lock_timeout(&self) -> bool {
        let fault = self.fault.as_database_error();
        fault
            .and_then(DatabaseError::code)
            .is_some_and(|code| code == "55P03")
    }
}

impl MigrateError {
    /// Whether waiting may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let may_heal = |error| known_message(error).is_some_and(KnownMessage::may_heal);
        match self {
            Self::Connect(error) => error.is_transient(),
            // The server is a standby that is being promoted, or it restarts.
            Self::Query(error) => may_heal(error),
            Self::Statement(failed) => may_heal(&failed.fault),
            _ => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        let up = Remedy::command("todoctl migrate up");
        match self {
            Self::Connect(error) => error.remedy.clone(),
            Self::Statement(failed) if let Some(hint) = &failed.hint => Remedy::note(hint),
            Self::ThroughPooler { .. } | Self::Newer { .. } => {
                messages::find(&self.to_string()).map_or_else(Remedy::default, unknown_place)
            }
            Self::OtherRecords { .. } => other_records(),
            Self::HiddenRecord => Remedy::note("this tells the policy that shows them:")
                .then(Remedy::command("todoctl doctor --only database.row_security")),
            // It migrates, so it is a session of the same role.
            Self::Locked { pid: Some(pid), .. } => end_session(*pid, true),
            Self::TableLocked { holder, .. } => end_session(holder.pid, holder.may_signal),
            Self::Locked { pid: None, .. } => {
                Remedy::note("wait until the other process has finished; if it hangs, end it; then:")
                    .then(up)
            }
            Self::LockFile { database, .. } => Place::File(database).writable_directory(),
            Self::Dirty { .. } => Remedy::note("records it if its whole effect is in the schema, and forgets it if nothing of it is:")
                .then(Remedy::command(STAMP))
                .then(up),
            Self::Changed { .. } => Remedy::note(
                "if another build of todoctl applied it, deploy that one; in a checkout, restore its file: git checkout -- migrations; otherwise, if its whole effect is in the schema, this records it again:",
            )
            .then(Remedy::command(STAMP)),
            Self::NoSuchVersion { newest, .. } => {
                Remedy::command(format!("todoctl migrate up --to {newest}"))
            }
            Self::OtherSchema(other) => other.remedy(),
            // In a directory of its own: files beside it would be taken for those of a lost one.
            Self::OtherService {
                file: Some(file), ..
            } => {
                let own = file.with_file_name("todoctl").join("todo.db");
                Remedy::set("DATABASE_URL", format!("sqlite://{}", own.display()))
            }
            Self::OtherService { file: None, .. } => own_schema(),
            Self::NameTaken(namesake) => namesake.remedy(),
            Self::Unrecorded { .. } => Remedy::command(STAMP),
            Self::BrokenRecord { .. } => Remedy::note(
                "keeps that table under another name, _sqlx_migrations_old, and records anew what the schema has:",
            )
            .then(Remedy::command(STAMP)),
            Self::InPart { .. } => Remedy::note(
                "restore what is missing, as the migration's file creates it; then:",
            )
            .then(Remedy::command(STAMP)),
            Self::Unknown { .. } => {
                Remedy::note("revert it with the newer todoctl that applied it: todoctl migrate down")
            }
            Self::Irreversible { .. } => Remedy::note("restore a backup from before it"),
            Self::Statement(failed) if failed.is_lock_timeout() => Remedy::note(
                "another session has locked the table; wait until it has finished, then:",
            )
            .then(up),
            Self::Statement(failed) if failed.reason.ends_with("already exists") => Remedy::note(
                "the migration was rolled back: another program made what is in the way; let DATABASE_URL lead to a database or schema of todoctl's own, then:",
            )
            .then(up),
            Self::Statement(_) => {
                Remedy::note("the migration was rolled back; remove the cause, then:").then(up)
            }
            Self::ForeignKey { table, row, .. } => Remedy::note(format!(
                "the migration was rolled back; correct row {row} of {table}, then:"
            ))
            .then(up),
            Self::Query(error) => {
                messages::find(&plain(error)).map_or_else(|| unexplained(error), unknown_place)
            }
        }
    }

    pub(super) fn statement(
        migration: &sqlx::migrate::Migration,
        direction: Direction,
        statement: &str,
        fault: sqlx::Error,
    ) -> Self {
        let postgres = fault
            .as_database_error()
            .and_then(|fault| fault.try_downcast_ref::<PgDatabaseError>());
        let mut reason = plain(&fault);
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
            fault,
        }))
    }
}

/// What to do where it is not known which database the error is about.
fn unknown_place(known: &KnownMessage) -> Remedy {
    (known.remedy)(Place::Unknown)
}

/// What to do about an error that is not known.
fn unexplained(error: &sqlx::Error) -> Remedy {
    let fault = error.as_database_error();
    Remedy::note(
        if fault.is_some_and(|one| one.try_downcast_ref::<SqliteError>().is_some()) {
            "PRAGMA integrity_check of sqlite3 reads the whole file and says what is wrong with it; the kernel's log (dmesg) has errors of the disk"
        } else {
            "read the log of the database's server, which says more"
        },
    )
}

/// Two services with one table of migrations, each of which takes the other's for its own.
pub(crate) fn other_records() -> Remedy {
    Remedy::note(
        "both services record their migrations in one table; let the other one have a schema of its own (search_path) with its rows of _sqlx_migrations; until then this one serves without migrating: todoctl serve --allow-newer",
    )
}

/// A schema of its own, and the search path that leads there for this service alone.
pub(crate) fn own_schema() -> Remedy {
    Remedy::sql("CREATE SCHEMA IF NOT EXISTS todoctl")
        .then(Remedy::set("DATABASE_URL.options", "-csearch_path=todoctl"))
}

/// Ending a session is for a person to decide: its work would be lost.
fn end_session(pid: i32, may_signal: bool) -> Remedy {
    let statement = format!("SELECT pg_terminate_backend({pid})");
    Remedy::note(if may_signal {
        format!(
            "wait until that session has finished; if it hangs, end it: todoctl db psql -c '{statement}'"
        )
    } else {
        format!(
            "wait until that session has finished; if it hangs, its own role or an administrator of the server may end it: {statement}"
        )
    })
}

fn list(versions: &[i64]) -> String {
    let texts: Vec<String> = versions.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Without leading comments, and not too long.
fn shortened(statement: &str) -> Cow<'_, str> {
    let mut statement = statement.trim();
    while let Some((comment, rest)) = statement.split_once('\n')
        && comment.starts_with("--")
    {
        statement = rest.trim_start();
    }
    if statement.len() <= MAX_STATEMENT {
        return Cow::Borrowed(statement);
    }
    let end = statement.floor_char_boundary(MAX_STATEMENT);
    Cow::Owned(format!("{}…", &statement[..end]))
}
