//! Which tables the first migration may take over: those of the previous service, and empty ones.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::embedded::take_over_check;
use super::expected::expected_tables;

/// Columns of the tables that the first migration would take over. A database with
/// `alembic_version` is the previous service's, which may have more columns.
const COLUMNS: &str = "
    SELECT c.relname::text, ARRAY(
        SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
      AND c.relkind IN ('r', 'p') AND pg_relation_size(c.oid) > 0
      AND to_regclass(quote_ident(current_schema()) || '.alembic_version') IS NULL
    ORDER BY c.relname";

/// Why the tables in the current schema are not to be taken over; `None` if they may be.
pub(in crate::store) async fn refusal(
    session: &mut PgConnection,
) -> Result<Option<String>, sqlx::Error> {
    if let Some(check) = take_over_check() {
        match sqlx::raw_sql(check).execute(&mut *session).await {
            Ok(_) => {}
            // PostgreSQL, appendix A: P0001 `raise_exception`.
            Err(sqlx::Error::Database(fault)) if fault.code().as_deref() == Some("P0001") => {
                return Ok(Some(fault.message().to_owned()));
            }
            Err(error) => return Err(error),
        }
    }
    let rows = sqlx::raw_sql(AssertSqlSafe(COLUMNS))
        .fetch_all(session)
        .await?;
    let mut unknown = Vec::new();
    for row in rows {
        let (table, columns): (String, Vec<String>) = (row.try_get(0)?, row.try_get(1)?);
        let Some((_, parts)) = expected_tables().find(|(name, _)| *name == table) else {
            continue;
        };
        let is_known = |column: &String| parts.contains_key(&format!("column {column}"));
        unknown.extend(
            columns
                .iter()
                .filter(|column| !is_known(column))
                .map(|column| format!("{table}.{column}")),
        );
    }
    Ok((!unknown.is_empty()).then(|| {
        format!(
            "a wanted table exists, has rows, and has columns that todoctl does not know: {}",
            unknown.join(", ")
        )
    }))
}
