//! Questions about a PostgreSQL server at work. Each has a time limit of its own on the server,
//! reads catalogues and statistics only, and never the text of a statement.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow};

use crate::store::{StoreError, inspect};

use super::connection::ServerConnection;

mod activity;
mod horizon;
mod replication;
mod settings;
mod tables;

pub(crate) use activity::{Activity, IDLE_SECONDS, Prepared, Users, WorkSession, statement_kind};
pub(crate) use horizon::Reader;
pub(crate) use replication::{Archiver, Replica, Replication, Slot};
pub(crate) use settings::{Origin, SettingNow};
pub(crate) use tables::{Age, Index, Load, Table};

/// In milliseconds. These questions take a few of them; under a load that makes them take longer,
/// they must not add to it.
const STATEMENT_TIMEOUT: u32 = 3_000;
const LOCK_TIMEOUT: u32 = 500;

/// The service's tables, `c` of `pg_class`, as the role's search path finds them.
macro_rules! is_ours {
    () => {
        "(c.relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(c.oid)
          AND (c.relname IN ('tasks', 'notifications', 'user_api_keys', '_sqlx_migrations')
               OR left(c.relname, 8) = 'todoctl_'))"
    };
}
use is_ours;

impl ServerConnection {
    /// The rows that the query `question` selects, in one exchange: a pooler may run the next one
    /// on another server connection.
    async fn rows<T>(&mut self, question: &str) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let limits = format!(
            "SET LOCAL statement_timeout = {STATEMENT_TIMEOUT}; SET LOCAL lock_timeout = {LOCK_TIMEOUT}"
        );
        let script = inspect::question(&self.0, &limits, question);
        let rows = sqlx::raw_sql(AssertSqlSafe(script))
            .fetch_all(&mut self.0)
            .await?;
        let rows: Result<Vec<T>, sqlx::Error> = rows.iter().map(T::from_row).collect();
        Ok(rows?)
    }

    /// The same, for a query that selects one row.
    pub(super) async fn row<T>(&mut self, question: &str) -> Result<T, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let first = self.rows(question).await?.into_iter().next();
        Ok(first.ok_or(sqlx::Error::RowNotFound)?)
    }
}
