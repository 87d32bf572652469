//! What PostgreSQL's catalogue says about todoctl's tables. Only diagnostics ask.
//!
//! A question is one exchange in the simple protocol, which every pooler forwards as a whole, and
//! a read-only transaction with limits of its own: it waits for no lock, and it ends by itself.

mod owners;
mod relations;
mod row_security;
mod sequences;
mod settings;
mod triggers;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::error::StoreError;
use super::migrate::drift::{self, Difference};
use super::migrate::{catalog, embedded};
use super::sql::quoted_name;

pub(crate) use owners::Owned;
pub(crate) use relations::{Relation, Relations, Session};
pub(crate) use row_security::Guarded;
pub(crate) use sequences::{Generated, Ids};
pub(crate) use settings::{Collation, EventTrigger, ServerSettings};
pub(crate) use triggers::ForeignTrigger;

/// Asks `query` with `schema` as the search path, or the role's own path.
async fn ask<T>(
    session: &mut PgConnection,
    schema: Option<&str>,
    query: &str,
) -> Result<Vec<T>, StoreError>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let path = schema.map_or_else(String::new, |schema| {
        format!("SET LOCAL search_path = {};", quoted_name(schema))
    });
    let text = format!(
        "BEGIN READ ONLY; SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '5s'; {path}
         {query}; COMMIT"
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(text))
        .fetch_all(session)
        .await?;
    Ok(rows.iter().map(T::from_row).collect::<Result<_, _>>()?)
}

/// The differences between `schema` and all migrations.
pub(crate) async fn differences(
    session: &mut PgConnection,
    schema: &str,
) -> Result<Vec<Difference>, StoreError> {
    let rows = ask(session, Some(schema), catalog::POSTGRES).await?;
    Ok(drift::from_all_migrations(&catalog::schema_of(rows)))
}

/// Why the first migration would refuse to take over the tables of the current schema; `None`
/// if it would not.
pub(crate) async fn refusal(session: &mut PgConnection) -> Result<Option<String>, StoreError> {
    let Some(check) = embedded::take_over_check() else {
        return Ok(None);
    };
    match ask::<()>(session, None, check.trim_end_matches(';')).await {
        Ok(_) => Ok(None),
        // PostgreSQL, appendix A: P0001 `raise_exception`.
        Err(error) => match error.raised_message() {
            Some(message) => Ok(Some(message)),
            None => Err(error),
        },
    }
}

/// Names as an SQL list of literals; they are those of the migrations.
fn literals<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names
        .map(|name| format!("'{}'", name.replace('\'', "''")))
        .collect();
    quoted.join(", ")
}

/// The tables of the migrations, as an SQL list.
fn tables() -> String {
    literals(drift::expected_tables().map(|(name, _)| name))
}
