//! Which tables the first migration may take over: those of the previous service, and empty ones;
//! and whether the tables are in another schema than the one that migrations would change.

use std::fmt;

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::config::Remedy;

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

/// The schemas that have this program's tables and that the role may use, the one that the names
/// lead to first. The current schema is where new tables are created.
pub(super) const HOMES: &str = "
    SELECT n.nspname::text,
           COALESCE(to_regclass('_sqlx_migrations') = history.oid, FALSE),
           COALESCE(n.nspname = current_schema(), FALSE),
           current_schema()::text,
           current_setting('search_path')
    FROM pg_catalog.pg_namespace n
    JOIN pg_catalog.pg_class history
        ON history.relnamespace = n.oid AND history.relname = '_sqlx_migrations'
    WHERE has_schema_privilege(n.oid, 'USAGE')
      AND (SELECT count(*) FROM pg_catalog.pg_class c
           WHERE c.relnamespace = n.oid AND c.relname IN ('tasks', 'todoctl_sessions')
             AND c.relkind IN ('r', 'p')) = 2
    ORDER BY 2 DESC, 1";

/// Where the tables are, if migrations would create others in the current schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherSchema {
    schema: String,
    /// `None` if the search path leads to no schema.
    current: Option<String>,
    search_path: String,
}

impl fmt::Display for OtherSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (schema, path) = (&self.schema, &self.search_path);
        match &self.current {
            Some(current) => write!(
                f,
                "the tables are in the schema {schema}, and migrations would create others in {current}: the search path is {path}"
            ),
            None => write!(
                f,
                "the tables are in the schema {schema}, and the search path leads to none: {path}"
            ),
        }
    }
}

impl OtherSchema {
    /// What to do about it.
    pub(super) fn remedy(&self) -> Remedy {
        let wanted = self.current.as_ref().map(|current| {
            Remedy::note(format!(
                "if other tables are wanted in {current}, name it in the URL: todoctl config set DATABASE_URL.options=-csearch_path={current}"
            ))
        });
        Remedy::note("this tells how the search path leads to the tables again:")
            .then(Remedy::command("todoctl doctor --only database.tables"))
            .then(wanted)
    }
}

/// A row of [`HOMES`].
pub(super) type Home = (String, bool, bool, Option<String>, String);

/// The schema that `homes` tell of, unless a new one is wanted (`is_deliberate`).
pub(super) fn other_schema(homes: Vec<Home>, is_deliberate: bool) -> Option<OtherSchema> {
    let (schema, is_visible, is_current, current, search_path) = homes.into_iter().next()?;
    // Where the names lead to the tables of another schema, half of the tables would be there.
    (!is_current && (is_visible || !is_deliberate)).then_some(OtherSchema {
        schema,
        current,
        search_path,
    })
}

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
