//! Rows of a SQLite file that were written later than now.

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::config::sql_name;

use super::StoreError;

/// The tables with rows that users see, and the columns with the times at which they were written.
const WRITTEN: [(&str, &[&str]); 2] = [
    ("tasks", &["created_at", "updated_at"]),
    ("notifications", &["created_at"]),
];

/// Rows of one table that are from the future.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FutureRows {
    pub(crate) table: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) rows: i64,
    /// The latest of their times, in microseconds since 1970.
    pub(crate) latest: i64,
}

impl FutureRows {
    /// Those after `now`, in microseconds since 1970.
    pub(crate) async fn of_file(
        session: &mut SqliteConnection,
        now: i64,
    ) -> Result<Vec<Self>, StoreError> {
        let mut all = Vec::new();
        for (table, columns) in WRITTEN {
            let name = sql_name(table);
            // A text is later than every number.
            let latest = columns.iter().map(|column| {
                let column = sql_name(column);
                format!("iif(typeof({column}) = 'integer', {column}, 0)")
            });
            let latest: Vec<String> = latest.chain(["0".to_owned()]).collect();
            let query = format!(
                "SELECT count(*), max(at) FROM (SELECT max({}) AS at FROM {name}) WHERE at > $1",
                latest.join(", ")
            );
            let (rows, latest): (i64, Option<i64>) = sqlx::query_as(AssertSqlSafe(query))
                .bind(now)
                .fetch_one(&mut *session)
                .await?;
            if let Some(latest) = latest {
                all.push(Self {
                    table,
                    columns,
                    rows,
                    latest,
                });
            }
        }
        Ok(all)
    }
}
