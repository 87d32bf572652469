//! Texts of statements.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

/// The text of one statement.
///
/// Values are bound, never written into the text. Both engines accept `$1`, also repeated
/// and out of order.
#[derive(Debug, Clone)]
pub(super) enum Sql {
    /// A text that both engines accept.
    Common(&'static str),
    /// A text for each engine, made by [`per_engine!`].
    PerEngine {
        postgres: &'static str,
        sqlite: &'static str,
    },
    /// A text that was built for the engine in use.
    Built(Arc<str>),
    /// The same, planned anew for its arguments each time: PostgreSQL's plan for any arguments
    /// would be a bad one.
    Unprepared(Arc<str>),
}

impl Sql {
    pub fn for_postgres(&self) -> SqlStr {
        match self {
            Self::Common(text) | Self::PerEngine { postgres: text, .. } => text.into_sql_str(),
            Self::Built(text) | Self::Unprepared(text) => {
                AssertSqlSafe(text.clone()).into_sql_str()
            }
        }
    }

    pub fn for_sqlite(&self) -> SqlStr {
        match self {
            Self::Common(text) | Self::PerEngine { sqlite: text, .. } => text.into_sql_str(),
            Self::Built(text) | Self::Unprepared(text) => {
                AssertSqlSafe(text.clone()).into_sql_str()
            }
        }
    }

    /// Whether its plan may be kept on the connection.
    pub fn is_prepared(&self) -> bool {
        !matches!(self, Self::Unprepared(_))
    }
}

/// Declares a statement for both engines: common text in brackets, then the parts that differ in
/// braces, repeated as needed, and the common end after `=>`.
macro_rules! per_engine {
    ($([$text:expr] { postgres: $postgres:literal, sqlite: $sqlite:literal })+ => $end:expr) => {
        $crate::store::sql::Sql::PerEngine {
            postgres: concat!($($text, $postgres,)+ $end),
            sqlite: concat!($($text, $sqlite,)+ $end),
        }
    };
}
pub(super) use per_engine;

/// How many arguments a text takes: the highest number behind a `$`.
pub(super) fn parameters(text: &str) -> usize {
    let numbers = text.split('$').skip(1).filter_map(|rest| {
        let end = rest.find(|sign: char| !sign.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse().ok()
    });
    numbers.max().unwrap_or_default()
}

/// Begins a transaction that asks PostgreSQL for definitions and names. Settings of the role or of
/// the database may have names quoted, and these statements, of many small tables, planned in ways
/// that take seconds: as if every table were large, or compiled, or by processes of their own.
pub(super) const OWN_SETTINGS: &str = "SET LOCAL quote_all_identifiers = off;
     SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0;
     SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = on;
     SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_bitmapscan = on;
     SET LOCAL enable_tidscan = on; SET LOCAL enable_sort = on;
     SET LOCAL enable_material = on; SET LOCAL enable_hashagg = on;
     SET LOCAL enable_nestloop = on; SET LOCAL enable_hashjoin = on;
     SET LOCAL enable_mergejoin = on; SET LOCAL geqo = on;
     SET LOCAL from_collapse_limit = 8; SET LOCAL join_collapse_limit = 8;
     SET LOCAL seq_page_cost = 1; SET LOCAL random_page_cost = 4;
     SET LOCAL IntervalStyle = 'postgres'";

#[cfg(test)]
mod tests {
    use super::parameters;

    #[test]
    fn the_highest_number_counts() {
        assert_eq!(parameters("SELECT 1"), 0);
        assert_eq!(parameters("SELECT '$', '$.x', $1 + $2, $1::text"), 2);
        assert_eq!(parameters("UPDATE t SET a = $12 WHERE b = $3"), 12);
    }
}
