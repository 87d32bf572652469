//! What PostgreSQL's catalogue says about todoctl's tables. Only diagnostics ask.
//!
//! A question is one exchange in the simple protocol, which every pooler forwards as a whole, and
//! a read-only transaction with limits of its own: it waits for no lock, and it ends by itself.

mod access;
mod dependents;
mod expressions;
mod files;
mod future;
mod heirs;
mod mails;
mod missing_rights;
mod overrides;
mod owners;
mod priorities;
mod references;
mod relations;
mod row_security;
mod search;
mod sequences;
mod sessions;
mod settings;
mod shadows;
mod triggers;
mod unread;
mod users;
mod values;
mod violations;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, PgConnection, SqliteConnection};

use crate::config::{sql_literal, sql_name};

use super::error::StoreError;
use super::migrate::drift::Drift;
use super::migrate::{
    Schema, catalog, expected_functions, expected_functions_of_owners, expected_tables,
    expected_types, take_over,
};
use super::sql::OWN_SETTINGS;

pub(crate) use access::Access;
pub(crate) use dependents::Dependent;
pub(crate) use expressions::Expression;
pub(crate) use files::StoredFile;
pub(crate) use future::FutureRows;
pub(crate) use heirs::Heir;
pub(crate) use mails::{waiting_mails, waiting_mails_of_file};
pub(crate) use missing_rights::missing_rights;
pub(crate) use overrides::Override;
pub(crate) use owners::Owned;
pub(crate) use priorities::unknown_priorities;
pub(crate) use references::Unindexed;
pub(crate) use relations::{Created, Relation, Relations, Session, has_rows};
pub(crate) use row_security::Guarded;
pub(crate) use search::{Copies, Searchable};
pub(crate) use sequences::{
    Generated, Ids, Numbered, last_task, last_task_of_file, tasks_among, tasks_among_of_file,
};
pub(crate) use sessions::{valid_sessions, valid_sessions_of_file};
pub(crate) use settings::{Collation, EventTrigger, changed_collations, event_triggers};
pub(crate) use shadows::Shadow;
pub(crate) use triggers::ForeignTrigger;
pub(crate) use unread::Unread;
pub(crate) use users::NoUser;
pub(crate) use values::{OddValues, Oddity, has_blanks_around, is_sensible, trimmed};
pub(crate) use violations::Violation;

/// Asks `query` with `schema` as the search path, or the role's own path.
pub(super) async fn ask<T>(
    session: &mut PgConnection,
    schema: Option<&str>,
    query: &str,
) -> Result<Vec<T>, StoreError>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let path = schema.map_or_else(String::new, |schema| {
        format!("SET LOCAL search_path = {};", sql_name(schema))
    });
    let text = question(
        session,
        "SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '5s'",
        &format!("{path} {query}"),
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(text))
        .fetch_all(session)
        .await?;
    Ok(rows.iter().map(T::from_row).collect::<Result<_, _>>()?)
}

/// A session of either engine, for queries that both know.
pub(crate) enum Asked<'a> {
    /// With the schema that is asked about.
    Server(&'a mut PgConnection, &'a str),
    File(&'a mut SqliteConnection),
}

impl Asked<'_> {
    async fn rows<T>(self, query: &str) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        match self {
            Self::Server(session, schema) => ask(session, Some(schema), query).await,
            Self::File(session) => {
                let query = sqlx::query_as(AssertSqlSafe(query.to_owned()));
                Ok(query.fetch_all(session).await?)
            }
        }
    }
}

/// The text of a question that changes nothing: a transaction with these limits, or a part of the
/// transaction in progress, which has its own.
pub(crate) fn question(session: &PgConnection, limits: &str, query: &str) -> String {
    if session.is_in_transaction() {
        format!("SAVEPOINT question; {OWN_SETTINGS}; {query}; ROLLBACK TO SAVEPOINT question")
    } else {
        // A serializable one may wait for others.
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; {limits}; {OWN_SETTINGS}; {query}; COMMIT"
        )
    }
}

/// How `schema` differs from what all migrations create.
pub(crate) async fn drift(session: &mut PgConnection, schema: &str) -> Result<Drift, StoreError> {
    let rows = ask(session, Some(schema), catalog::POSTGRES).await?;
    Ok(Drift::of_server(catalog::schema_of(rows)))
}

/// The schema of a SQLite file.
pub(crate) async fn schema_of_file(session: &mut SqliteConnection) -> Result<Schema, StoreError> {
    let query = sqlx::query_as(catalog::SQLITE);
    Ok(catalog::schema_of(query.fetch_all(session).await?))
}

/// Why the first migration would refuse the tables of the current schema; `None` if it would
/// not.
pub(crate) async fn refusal(session: &mut PgConnection) -> Result<Option<String>, StoreError> {
    Ok(take_over::refusal(session).await?)
}

/// The newest stored provider keys, encrypted.
const PROVIDER_KEYS: &str =
    "SELECT encrypted_key FROM user_api_keys ORDER BY updated_at DESC LIMIT 100";

pub(crate) async fn provider_keys(session: &mut PgConnection) -> Result<Vec<String>, StoreError> {
    let rows: Vec<(String,)> = ask(session, None, PROVIDER_KEYS).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub(crate) async fn provider_keys_of_file(
    session: &mut SqliteConnection,
) -> Result<Vec<String>, StoreError> {
    let query = sqlx::query_scalar(PROVIDER_KEYS);
    Ok(query.fetch_all(session).await?)
}

/// Names as an SQL list of literals; they are those of the migrations.
fn literals<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(sql_literal).collect();
    quoted.join(", ")
}

/// The functions of the migrations, as an SQL list.
fn functions() -> String {
    literals(expected_functions())
}

/// The types of the migrations, as an SQL list.
fn types() -> String {
    literals(expected_types())
}

/// The tables of the migrations, as an SQL list.
pub(crate) fn tables() -> String {
    literals(expected_tables().map(|(name, _)| name))
}
