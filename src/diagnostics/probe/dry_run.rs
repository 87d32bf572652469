//! A transaction that is never committed, in which the statements of remedies are tried.

use std::time::{Duration, Instant};

use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use crate::config::{PostgresTarget, SqliteTarget, sql_literal, sql_name};
use crate::store::migrate::expected_tables;
use crate::store::{SqliteAccess, StoreError, database_code, open_sqlite};

use super::connection::{Connection, FileConnection, ServerConnection};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt {
    Done,
    /// What would happen instead; nothing of a row is in it.
    Fails(String),
    /// A lock was not free in time, it takes too long, or a transaction would not undo it.
    Untried,
}

/// A connection in such a transaction.
pub(crate) trait DryRun: Connection {
    /// What makes the end of a remedy the end of its own session.
    const AFTERWARDS: &str;

    /// Connects, and begins the transaction. It waits for locks for a moment only, and does
    /// nothing after `limit`.
    async fn begin(target: &Self::Target, limit: Duration) -> Result<Self, StoreError>;

    /// Runs statements of this program.
    async fn script(&mut self, text: String) -> Result<(), sqlx::Error>;

    /// How many rows of the service's tables were deleted and updated.
    async fn changes(&mut self) -> Result<Vec<Changes>, StoreError>;

    /// What an error of a remedy means. An error if the transaction has ended.
    fn outcome_of(error: sqlx::Error) -> Result<Attempt, StoreError>;

    /// Whether it is still in the transaction.
    fn is_open(&self) -> bool;

    /// Runs the statements of a remedy. What fails is undone.
    async fn attempt(&mut self, statements: &str) -> Result<Attempt, StoreError> {
        let Some(text) = transactional(statements) else {
            return Ok(Attempt::Untried);
        };
        let before = self.changes().await?;
        let script = format!("SAVEPOINT remedy; {text}\n; {}", Self::AFTERWARDS);
        let outcome = match self.script(script).await {
            Ok(()) => match unannounced(&text, &before, &self.changes().await?) {
                None => return Ok(Attempt::Done),
                Some(text) => Attempt::Fails(text),
            },
            Err(error) => Self::outcome_of(error)?,
        };
        let undo = "ROLLBACK TO SAVEPOINT remedy".to_owned();
        self.script(undo).await?;
        Ok(outcome)
    }

    /// Ends the transaction.
    async fn roll_back(mut self) {
        if let Err(error) = self.script("ROLLBACK".to_owned()).await {
            tracing::debug!(%error, "the connection of the dry run is gone");
        }
        self.close().await;
    }
}

/// What a transaction does not undo, or what ends it or its limits.
const LASTING: [&str; 9] = [
    "COMMIT",
    "ROLLBACK",
    "VACUUM",
    "ALTER SYSTEM",
    "SETVAL(",
    "PG_TERMINATE_BACKEND",
    "PG_CANCEL_BACKEND",
    "PG_RELOAD_CONF",
    "_TIMEOUT",
];

/// The statements as a part of a transaction; `None` if they cannot be one.
fn transactional(statements: &str) -> Option<String> {
    let text = statements
        .replacen("BEGIN IMMEDIATE; ", "", 1)
        .replacen("BEGIN; ", "", 1)
        // An index is the same, and refuses the same rows.
        .replace(" INDEX CONCURRENTLY ", " INDEX ");
    let text = text.strip_suffix("; COMMIT").unwrap_or(&text);
    let upper = text.to_uppercase();
    let is_lasting = LASTING.iter().any(|words| upper.contains(words));
    (!is_lasting).then(|| text.to_owned())
}

/// Changes of a table's rows in a transaction. What counts is how the numbers grow.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Changes {
    table: String,
    deleted: i64,
    updated: i64,
}

/// Rows of the service that statements delete or update without saying so.
fn unannounced(text: &str, before: &[Changes], after: &[Changes]) -> Option<String> {
    let says = |verb: &str, table: &str| text.contains(verb) && text.contains(table);
    let grown = after.iter().filter_map(|after| {
        let before = before.iter().find(|one| one.table == after.table)?;
        let table = &after.table;
        let deleted = after.deleted - before.deleted;
        let updated = after.updated - before.updated;
        if deleted > 0 && !says("DELETE", table) {
            Some(format!("would delete {deleted} rows of {table}"))
        } else if updated > 0 && !says("UPDATE", table) {
            Some(format!("would change {updated} rows of {table}"))
        } else {
            None
        }
    });
    grown.into_iter().next()
}

/// The tables whose rows matter, as an SQL list. The counts of unread notifications follow from
/// the notifications.
fn tables() -> String {
    let names = expected_tables().map(|(name, _)| name);
    let names = names.filter(|name| *name != "todoctl_unread");
    names.map(sql_literal).collect::<Vec<_>>().join(", ")
}

/// Longer than a near server needs. A suspended one is not waited for.
const CONNECTING: Duration = Duration::from_secs(2);

/// Requests that wait for a table wait behind one that waits for its lock. The search path is kept
/// for the end of each remedy.
const LIMITS: &str = "
    SET LOCAL lock_timeout = 100;
    SET LOCAL statement_timeout = 500;
    SELECT set_config('todoctl.search_path', current_setting('search_path'), true)";

impl DryRun for ServerConnection {
    const AFTERWARDS: &str = "SET CONSTRAINTS ALL IMMEDIATE; \
         SELECT set_config('search_path', current_setting('todoctl.search_path'), true)";

    async fn begin(target: &PostgresTarget, limit: Duration) -> Result<Self, StoreError> {
        let mut connection = Self::open(target, CONNECTING).await?;
        // It lasts as long as the connection.
        std::mem::forget(connection.0.begin().await?);
        let idle = limit.as_millis();
        let limits = format!("SET LOCAL idle_in_transaction_session_timeout = {idle}; {LIMITS}");
        connection.script(limits).await?;
        Ok(connection)
    }

    async fn script(&mut self, text: String) -> Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(AssertSqlSafe(text));
        script.execute(&mut self.0).await.map(drop)
    }

    async fn changes(&mut self) -> Result<Vec<Changes>, StoreError> {
        let query = format!(
            "SELECT relname::text AS table, n_tup_del AS deleted, n_tup_upd AS updated
             FROM pg_catalog.pg_stat_xact_user_tables WHERE relname IN ({})",
            tables()
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(query))
            .fetch_all(&mut self.0)
            .await?;
        let rows: Result<Vec<Changes>, sqlx::Error> =
            rows.iter().map(sqlx::FromRow::from_row).collect();
        Ok(rows?)
    }

    fn outcome_of(error: sqlx::Error) -> Result<Attempt, StoreError> {
        let fault = error.as_database_error();
        let Some(fault) = fault.and_then(|one| one.try_downcast_ref::<PgDatabaseError>()) else {
            return Err(error.into());
        };
        Ok(words(fault).map_or(Attempt::Untried, |words| {
            Attempt::Fails(format!("would fail: {words}"))
        }))
    }

    fn is_open(&self) -> bool {
        self.0.is_in_transaction()
    }
}

/// Why PostgreSQL refuses a statement, without values of rows; `None` if it may do it at another
/// time, or outside of this transaction (PostgreSQL, appendix A).
fn words(fault: &PgDatabaseError) -> Option<String> {
    let code = fault.code();
    let class = code.get(..2).unwrap_or_default();
    if matches!(class, "08" | "25" | "40" | "53" | "57" | "58" | "XX")
        || matches!(code, "55P03" | "55P04" | "55006")
    {
        return None;
    }
    let message = fault.message();
    // What a trigger raises may have values of rows, in any language.
    if fault.routine() == Some("exec_stmt_raise") {
        let place = fault.r#where().and_then(|text| text.lines().next());
        return Some(format!("{} refuses it", place.unwrap_or("a trigger")));
    }
    Some(match class {
        // As in: invalid input syntax for type integer: "a title".
        "22" => message.split(": ").next().unwrap_or_default().to_owned(),
        // The detail has the names of what depends on it.
        "0A" | "2B" => match fault.detail() {
            Some(detail) => format!("{message}: {}", detail.replace('\n', "; ")),
            None => message.to_owned(),
        },
        _ => message.to_owned(),
    })
}

/// How long a SQLite file may be locked by others, in milliseconds.
const BUSY_TIMEOUT: u32 = 100;

/// How many steps of its virtual machine SQLite makes before it looks at the clock.
const STEPS: i32 = 10_000;

impl DryRun for FileConnection {
    const AFTERWARDS: &str = "PRAGMA legacy_alter_table = OFF";

    async fn begin(target: &SqliteTarget, limit: Duration) -> Result<Self, StoreError> {
        let mut session = open_sqlite(target, SqliteAccess::Trial).await?;
        let until = Instant::now() + limit;
        session
            .lock_handle()
            .await?
            .set_progress_handler(STEPS, move || Instant::now() < until);
        // As in SQLite's own shell.
        let limits = format!("PRAGMA busy_timeout = {BUSY_TIMEOUT}; PRAGMA foreign_keys = OFF");
        let mut connection = Self(session);
        connection.script(limits).await?;
        std::mem::forget(connection.0.begin_with("BEGIN IMMEDIATE").await?);
        Ok(connection)
    }

    async fn script(&mut self, text: String) -> Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(AssertSqlSafe(text));
        script.execute(&mut self.0).await.map(drop)
    }

    async fn changes(&mut self) -> Result<Vec<Changes>, StoreError> {
        let query = format!(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ({})",
            tables()
        );
        let tables: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_all(&mut self.0)
            .await?;
        let mut changes = Vec::with_capacity(tables.len());
        for table in tables {
            changes.push(Changes {
                deleted: -rows(&mut self.0, &table).await?,
                updated: 0,
                table,
            });
        }
        Ok(changes)
    }

    fn outcome_of(error: sqlx::Error) -> Result<Attempt, StoreError> {
        let code = database_code(&error).and_then(|code| code.parse().ok());
        let code: i32 = code.unwrap_or_default();
        // https://www.sqlite.org/rescode.html: an error in the statement, a constraint, a value of
        // another type, and an error of a trigger. Others have ended the transaction.
        let words = match (code, code & 0xFF) {
            (1811, _) => "a trigger refuses it".to_owned(),
            (_, 1 | 19 | 20) => error
                .as_database_error()
                .map_or_else(String::new, |fault| fault.message().to_owned()),
            _ => return Err(error.into()),
        };
        Ok(Attempt::Fails(format!("would fail: {words}")))
    }

    fn is_open(&self) -> bool {
        self.0.is_in_transaction()
    }
}

async fn rows(session: &mut SqliteConnection, table: &str) -> Result<i64, StoreError> {
    let query = format!("SELECT count(*) FROM {}", sql_name(table));
    let query = sqlx::query_scalar(AssertSqlSafe(query));
    Ok(query.fetch_one(session).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_transaction_can_undo() {
        for (statements, tried) in [
            ("BEGIN; LOCK TABLE t; COMMIT", Some("LOCK TABLE t")),
            (
                "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)",
                Some("CREATE UNIQUE INDEX IF NOT EXISTS i ON t (a)"),
            ),
            ("VACUUM (ANALYZE) t", None),
            ("SELECT setval($$s$$, 1)", None),
            ("DROP TABLE a; COMMIT; DROP TABLE b", None),
            ("SELECT pg_terminate_backend(1)", None),
            ("SET statement_timeout = 0; LOCK TABLE t", None),
        ] {
            assert_eq!(transactional(statements).as_deref(), tried);
        }
    }

    #[test]
    fn rows_that_statements_do_not_name() {
        let changes = |deleted, updated| {
            vec![Changes {
                table: "tasks".to_owned(),
                deleted,
                updated,
            }]
        };
        let said = |text, deleted: i64, updated: i64| {
            unannounced(text, &changes(1, 1), &changes(1 + deleted, 1 + updated))
        };
        assert_eq!(said("ALTER TABLE tasks SET LOGGED", 0, 0), None);
        assert_eq!(said("UPDATE tasks SET id = 1", 0, 5), None);
        assert_eq!(said("DELETE FROM tasks", 5, 0), None);
        assert_eq!(
            said("UPDATE tasks SET id = 1", 2, 5).unwrap(),
            "would delete 2 rows of tasks"
        );
        assert_eq!(
            said("DELETE FROM notifications", 0, 3).unwrap(),
            "would change 3 rows of tasks"
        );
    }
}
