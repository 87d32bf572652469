//! How much a database has in it, and which one it is.

use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::config::SqliteTarget;
use crate::domain::Timestamp;

use super::arg::args;
use super::connect::{SqliteAccess, open_sqlite};
use super::database::Store;
use super::error::StoreError;
use super::inspect;
use super::sql::Sql;

static CONTENT: Sql = Sql::Common(Content::QUERY);

#[derive(Debug, Clone, PartialEq, Eq, Default, sqlx::FromRow)]
pub(crate) struct Content {
    /// The row of `todoctl_identity`.
    pub(crate) id: Option<String>,
    /// How many tasks there are, up to 1,000.
    pub(crate) tasks: i64,
}

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
