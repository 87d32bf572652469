//! The database of a world, as its administrator sees it: no fault of a daemon or of the network
//! concerns these questions.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};

use crate::ledger::{Seen, View};
use crate::postgres::Server;

#[derive(Debug, Clone)]
pub enum Database {
    Postgres { server: Arc<Server>, name: String },
    Sqlite(PathBuf),
}

/// A row of `tasks`.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub user: String,
    pub seen: Seen,
}

type TaskRow = (
    i64,
    String,
    String,
    Option<String>,
    bool,
    String,
    Option<i64>,
    i64,
    i64,
);

impl From<TaskRow> for Row {
    fn from(row: TaskRow) -> Self {
        let (id, user, title, description, completed, priority, due, created, updated) = row;
        let description = description.unwrap_or_default();
        let (birth, note) = description.split_once(' ').unwrap_or((&description, ""));
        Self {
            user,
            seen: Seen {
                id,
                birth: birth.to_owned(),
                created,
                view: View {
                    title,
                    completed,
                    note: note.to_owned(),
                    priority,
                    due,
                    updated,
                },
            },
        }
    }
}

/// A user's unread notifications: rows, and the count that is kept beside them.
#[derive(Debug)]
pub struct Unread {
    pub user: String,
    pub rows: i64,
    pub counted: i64,
}

impl Database {
    /// Runs statements, each by itself.
    pub async fn execute(&self, statement: &str) -> anyhow::Result<()> {
        match self {
            Self::Postgres { server, name } => server.execute(name, statement).await,
            Self::Sqlite(_) => {
                let mut connection = self.connect_file().await?;
                sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
                    .execute(&mut connection)
                    .await
                    .with_context(|| statement.to_owned())?;
                Ok(connection.close().await?)
            }
        }
    }

    /// A connection to the file, which waits for its locks.
    pub async fn connect_file(&self) -> anyhow::Result<SqliteConnection> {
        let Self::Sqlite(path) = self else {
            anyhow::bail!("not a file");
        };
        let options = SqliteConnectOptions::from_str("sqlite://")?
            .filename(path)
            .busy_timeout(Duration::from_secs(10))
            .foreign_keys(true);
        Ok(options.connect().await?)
    }

    /// The tasks of all users whose names begin with `prefix`.
    pub async fn tasks(&self, prefix: &str) -> anyhow::Result<Vec<Row>> {
        let query = format!(
            "SELECT id, user_id, title, description, completed, CAST(priority AS text), {}, {}, {}
             FROM tasks WHERE user_id LIKE '{prefix}%' ORDER BY id",
            self.micros("due_date"),
            self.micros("created_at"),
            self.micros("updated_at"),
        );
        let rows: Vec<TaskRow> = self.rows(&query).await?;
        Ok(rows.into_iter().map(Row::from).collect())
    }

    /// A column's time in microseconds since 1970.
    pub fn micros(&self, column: &str) -> String {
        match self {
            Self::Postgres { .. } => {
                format!("CAST(round(extract(epoch FROM {column}) * 1000000) AS bigint)")
            }
            Self::Sqlite(_) => column.to_owned(),
        }
    }

    pub async fn unread(&self, prefix: &str) -> anyhow::Result<Vec<Unread>> {
        let query = format!(
            "SELECT users.user_id,
                (SELECT count(*) FROM notifications n WHERE n.user_id = users.user_id AND NOT n.is_read),
                COALESCE((SELECT unread FROM todoctl_unread u WHERE u.user_id = users.user_id), 0)
             FROM (SELECT user_id FROM notifications UNION SELECT user_id FROM todoctl_unread) AS users
             WHERE users.user_id LIKE '{prefix}%'"
        );
        let rows: Vec<(String, i64, i64)> = self.rows(&query).await?;
        Ok(rows
            .into_iter()
            .map(|(user, rows, counted)| Unread {
                user,
                rows,
                counted,
            })
            .collect())
    }

    /// Deletes the tasks and notifications of the users whose names begin with `prefix`.
    pub async fn purge(&self, prefix: &str) -> anyhow::Result<()> {
        for table in ["tasks", "notifications", "todoctl_idempotency_keys"] {
            self.execute(&format!(
                "DELETE FROM {table} WHERE user_id LIKE '{prefix}%'"
            ))
            .await?;
        }
        Ok(())
    }

    /// Sessions of daemons on the server: all, and those that are working. None on a file.
    pub async fn sessions(&self) -> anyhow::Result<(i64, i64)> {
        let Self::Postgres { name, .. } = self else {
            return Ok((0, 0));
        };
        let query = format!(
            "SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity
             WHERE datname = '{name}' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        );
        let rows: Vec<(i64, i64)> = self.rows(&query).await?;
        rows.first().copied().context("no answer")
    }

    pub(crate) async fn rows<T>(&self, query: &str) -> anyhow::Result<Vec<T>>
    where
        T: Send + Unpin,
        T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
        T: for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>,
    {
        let query = sqlx::AssertSqlSafe(query.to_owned());
        Ok(match self {
            Self::Postgres { server, name } => {
                let mut connection = server.connect(name).await?;
                let rows = sqlx::query_as(query).fetch_all(&mut connection).await?;
                connection.close().await?;
                rows
            }
            Self::Sqlite(_) => {
                let mut connection = self.connect_file().await?;
                let rows = sqlx::query_as(query).fetch_all(&mut connection).await?;
                connection.close().await?;
                rows
            }
        })
    }
}
