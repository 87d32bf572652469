//! Where remedies keep rows that were in the way.

use crate::config::sql_name;

/// What the names of these tables begin with.
pub(super) const PREFIX: &str = "set_aside_";

/// The table that keeps rows of `table`.
pub(super) fn set_aside(table: &str) -> String {
    format!("{PREFIX}{table}")
}

/// Statements that copy rows of a table of a SQLite file there.
pub(super) fn kept_aside(table: &str, condition: &str) -> String {
    let (from, to) = (sql_name(table), sql_name(&set_aside(table)));
    format!(
        "CREATE TABLE IF NOT EXISTS {to} AS SELECT * FROM {from} WHERE FALSE; \
         INSERT INTO {to} SELECT * FROM {from} WHERE {condition}"
    )
}
