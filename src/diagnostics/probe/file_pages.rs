//! Which table or index of a SQLite file a page belongs to, and whether the tables can be read.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _};

use crate::config::sql_name;
use crate::store::messages::KnownMessage;
use crate::store::{StoreError, known_message};

use super::connection::FileConnection;

/// Enough lines to tell whether only one object is damaged.
const INTEGRITY: &str = "PRAGMA integrity_check(100)";

/// What has pages of its own. The index of searches is a table, whose name four others begin with.
const TREES: &str = "SELECT rootpage, type = 'index' AS is_index, name, tbl_name AS \"table\"
    FROM sqlite_schema WHERE rootpage > 0 ORDER BY name";

/// A table or an index.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Tree {
    rootpage: i64,
    pub(crate) is_index: bool,
    pub(crate) name: String,
    /// Of an index, or its own name.
    pub(crate) table: String,
}

impl Tree {
    /// Whether a line of `PRAGMA integrity_check` is about it, as in: Tree 9 page 12 cell 3: …
    pub(crate) fn is_in(&self, line: &str) -> bool {
        let of_tree = line
            .strip_prefix("Tree ")
            .and_then(|rest| rest.split(' ').next())
            .and_then(|root| root.parse().ok());
        of_tree == Some(self.rootpage)
            || self.is_index && line.ends_with(&format!(" index {}", self.name))
    }
}

impl FileConnection {
    /// Reads every page and index. What is wrong with the file, a line each, or `ok`. A damaged page
    /// is named before it ends the reading.
    pub(crate) async fn integrity(&mut self) -> Result<Vec<String>, StoreError> {
        let mut lines = Vec::new();
        let mut rows = sqlx::query_scalar::<_, String>(INTEGRITY).fetch(&mut self.0);
        loop {
            match rows.try_next().await.map_err(StoreError::from) {
                Ok(Some(row)) => lines.extend(row.lines().map(str::to_owned)),
                Ok(None) => return Ok(lines),
                Err(error) if is_damage(&error) && !lines.is_empty() => return Ok(lines),
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) async fn trees(&mut self) -> Result<Vec<Tree>, StoreError> {
        Ok(sqlx::query_as(TREES).fetch_all(&mut self.0).await?)
    }

    /// Reads all values of a table, without its indexes: how many rows it has; `None` if some cannot
    /// be read.
    pub(crate) async fn rows_read(&mut self, table: &str) -> Result<Option<i64>, StoreError> {
        let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
            .bind(table)
            .fetch_all(&mut self.0)
            .await?;
        // SQLite reads a value as a whole only where its text is needed.
        let values: Vec<String> = columns
            .iter()
            .map(|column| format!("count(({} || '') <> '')", sql_name(column)))
            .collect();
        let query = format!(
            "SELECT count(*), {} FROM {} NOT INDEXED",
            values.join(", "),
            sql_name(table)
        );
        let counted = sqlx::query(AssertSqlSafe(query))
            .fetch_one(&mut self.0)
            .await;
        match counted.map_err(StoreError::from) {
            Ok(row) => Ok(Some(row.try_get(0)?)),
            Err(error) if is_damage(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_damage(error: &StoreError) -> bool {
    known_message(error).is_some_and(KnownMessage::is_of_pages)
}
