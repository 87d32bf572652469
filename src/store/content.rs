//! How much a database has in it, and which one it is.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tokio::time::timeout;

use crate::config::{DatabaseTarget, SqliteTarget};
use crate::domain::Timestamp;

use super::arg::args;
use super::connect::{SqliteAccess, open_postgres, open_postgres_within, open_sqlite};
use super::connect_error::ConnectError;
use super::database::Store;
use super::error::StoreError;
use super::inspect;
use super::server::{close_quietly, optional};
use super::sql::Sql;

static CONTENT: Sql = Sql::Common(Content::QUERY);

/// Whether something was stored by a service that has run: a new one needs no old secrets.
const IN_USE: &str = "
    SELECT EXISTS (SELECT 1 FROM tasks) OR EXISTS (SELECT 1 FROM todoctl_sessions)
        OR EXISTS (SELECT 1 FROM user_api_keys)";

#[derive(Debug, Clone, PartialEq, Eq, Default, sqlx::FromRow)]
pub(crate) struct Content {
    /// The row of `todoctl_identity`.
    pub(crate) id: Option<String>,
    /// How many tasks there are, up to 1,000.
    pub(crate) tasks: i64,
}

/// Whether a server's database has been used: it has tasks, sessions or provider keys.
pub(crate) async fn is_server_in_use(session: &mut PgConnection) -> Result<bool, StoreError> {
    let rows: Vec<(bool,)> = inspect::ask(session, None, IN_USE).await?;
    Ok(rows.first().is_some_and(|row| row.0))
}

/// The same of a SQLite file.
pub(crate) async fn is_file_in_use(session: &mut SqliteConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(IN_USE).fetch_one(session).await?)
}

/// The same of a database that is asked nothing else; false if it cannot be asked in time.
pub(crate) async fn is_in_use(target: &DatabaseTarget, limit: Duration) -> bool {
    let used = match target {
        DatabaseTarget::Postgres(server) => {
            let Ok(mut session) = open_postgres_within(server, limit).await else {
                return false;
            };
            timeout(limit, is_server_in_use(&mut session)).await
        }
        DatabaseTarget::Sqlite(file) => {
            let Ok(mut session) = open_sqlite(file, SqliteAccess::Read).await else {
                return false;
            };
            let used = timeout(limit, is_file_in_use(&mut session)).await;
            // It was only read.
            let _ = session.close().await;
            used
        }
    };
    matches!(used, Ok(Ok(true)))
}

/// Whether a server's database has neither tasks nor a record of migrations, in any schema.
pub(crate) async fn has_no_tables(target: &DatabaseTarget) -> Result<bool, ConnectError> {
    let DatabaseTarget::Postgres(server) = target else {
        return Ok(false);
    };
    let mut session = open_postgres(server).await?;
    let has_none = optional(&mut session, HAS_NO_TABLES).await;
    close_quietly(session).await;
    let has_none = has_none.map_err(|error| ConnectError::from_sqlx(target, &error))?;
    Ok(has_none.as_deref() == Some("true"))
}

/// The simple protocol returns text.
const HAS_NO_TABLES: &str = "
    SELECT (NOT EXISTS (SELECT FROM pg_catalog.pg_class
                        WHERE relname IN ('tasks', '_sqlx_migrations')
                          AND relkind IN ('r', 'p', 'v', 'f')))::text";

impl Content {
    /// Both engines know it. A large table is not counted as a whole.
    pub(crate) const QUERY: &str = "
        SELECT (SELECT id FROM todoctl_identity) AS id,
               (SELECT count(*) FROM (SELECT 1 FROM tasks LIMIT 1000) AS counted) AS tasks";

    /// For a database that lacks its identity, and for one that lacks the tasks.
    pub(crate) const INCOMPLETE: [&str; 2] = [
        "SELECT CAST(NULL AS text) AS id,
                (SELECT count(*) FROM (SELECT 1 FROM tasks LIMIT 1000) AS counted) AS tasks",
        "SELECT (SELECT id FROM todoctl_identity) AS id, CAST(0 AS bigint) AS tasks",
    ];

    pub(crate) async fn of_store(store: &Store) -> Result<Self, StoreError> {
        let row = store.read(&CONTENT, &args![]).await?;
        Ok(Self {
            id: row.value("id")?,
            tasks: row.value("tasks")?,
        })
    }

    pub(crate) async fn of_server(
        session: &mut PgConnection,
        query: &str,
    ) -> Result<Self, StoreError> {
        let rows = inspect::ask(session, None, query).await?;
        Ok(rows.into_iter().next().ok_or(sqlx::Error::RowNotFound)?)
    }

    pub(crate) async fn of_file(
        session: &mut SqliteConnection,
        query: &'static str,
    ) -> Result<Self, StoreError> {
        Ok(sqlx::query_as(query).fetch_one(session).await?)
    }

    /// Of a file that will be served, and how many session tokens of it are valid. `None` if it
    /// cannot be read, as before its first migration.
    pub(crate) async fn with_sessions(file: &SqliteTarget, now: Timestamp) -> Option<(Self, i64)> {
        let mut session = open_sqlite(file, SqliteAccess::Read).await.ok()?;
        let content = Self::of_file(&mut session, Self::QUERY).await;
        let valid = inspect::valid_sessions_of_file(&mut session, now).await;
        session.close().await.ok()?;
        Some((content.ok()?, valid.ok()?))
    }

    /// Of a file that nothing else is asked of, without its write-ahead log. `None` if it cannot be
    /// read.
    pub(crate) async fn found_in(file: &SqliteTarget) -> Option<Self> {
        let mut session = open_sqlite(file, SqliteAccess::ReadWithoutLog).await.ok()?;
        let content = Self::of_file(&mut session, Self::QUERY).await;
        session.close().await.ok()?;
        content.ok()
    }
}
