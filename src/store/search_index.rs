//! The indexes for searches that PostgreSQL builds while the daemon works.
//!
//! A migration would lock the table for as long as the build takes. They are built on a direct
//! connection without time limits, under an advisory lock, so that no two processes build the
//! same one, and an invalid index is known to be left over from a build that was interrupted.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::config::{DatabaseTarget, PostgresTarget};

use super::arg::args;
use super::connect::open_postgres;
use super::database::Store;
use super::error::StoreError;
use super::server::{close_quietly, optional, share_a_process};
use super::sql::Sql;

/// An index for searches, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchIndex {
    /// Leads to the tasks without folded texts. The migration makes it for a small table.
    Unfolded,
    /// Leads to the tasks that contain a text. Needs the extension `pg_trgm`.
    Trigrams,
}

/// What became of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexBuild {
    /// It is there.
    Done,
    /// Another process builds it.
    Busy,
    /// A pooler in transaction mode keeps no lock, and `DATABASE_URL_UNPOOLED` is not set.
    ThroughPooler,
    /// The server does not have `pg_trgm`, or the role may not create it.
    NoExtension,
}

/// Any number that no other program locks. Advisory locks belong to one database.
const LOCK: &str = "SELECT pg_try_advisory_lock(7468111033)::text";

/// The build takes as long as it takes. It waits for no lock that a request waits behind.
const NO_LIMITS: &str = "SET statement_timeout = 0; SET lock_timeout = 0";

/// Whether the index `$1` is there and valid.
static IS_BUILT: Sql = Sql::Common(
    "SELECT EXISTS (
        SELECT FROM pg_catalog.pg_index AS one JOIN pg_catalog.pg_class AS named ON named.oid = one.indexrelid
        WHERE one.indrelid = to_regclass('tasks') AND named.relname = $1 AND one.indisvalid) AS built",
);

/// The name of the schema with the extension, which need not be in the search path.
const EXTENSION: &str = "SELECT quote_ident(nspname) FROM pg_catalog.pg_extension
     JOIN pg_catalog.pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'pg_trgm'";

const AVAILABLE: &str =
    "SELECT name::text FROM pg_catalog.pg_available_extensions WHERE name = 'pg_trgm'";

/// Trusted since PostgreSQL 13: a role that may create schemas may create it.
const CREATE_EXTENSION: &str = "CREATE EXTENSION IF NOT EXISTS pg_trgm";

impl SearchIndex {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unfolded => "tasks_unfolded_idx",
            Self::Trigrams => "tasks_search_idx",
        }
    }
}

impl Store {
    /// Whether the index is there. SQLite's are made by the migration.
    pub async fn has_search_index(&self, index: SearchIndex) -> Result<bool, StoreError> {
        match self.direct() {
            DatabaseTarget::Postgres(_) => {
                let result = self.read(&IS_BUILT, &args![index.name()]).await?;
                Ok(result.value("built")?)
            }
            DatabaseTarget::Sqlite(_) => Ok(true),
        }
    }

    /// Builds the index, which takes long for a large table. Requests go on meanwhile.
    pub async fn build_search_index(&self, index: SearchIndex) -> Result<IndexBuild, StoreError> {
        let DatabaseTarget::Postgres(server) = self.direct() else {
            return Ok(IndexBuild::Done);
        };
        let mut session = open_postgres(server).await.map_err(StoreError::Connect)?;
        let outcome = build(&mut session, server, index).await;
        close_quietly(session).await;
        outcome
    }
}

/// The statement that builds the index on `table` with the extension in `schema`.
///
/// Each search reads the list of what is not yet in the index, so it has to be short.
pub(crate) fn create_trigram_index(table: &str, schema: &str) -> String {
    format!(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_search_idx ON {table} USING gin (search_title {schema}.gin_trgm_ops, search_description {schema}.gin_trgm_ops) WITH (gin_pending_list_limit = 256)"
    )
}

async fn build(
    session: &mut PgConnection,
    server: &PostgresTarget,
    index: SearchIndex,
) -> Result<IndexBuild, StoreError> {
    if is_pooled(session, server).await? {
        return Ok(IndexBuild::ThroughPooler);
    }
    if optional(session, LOCK).await?.as_deref() != Some("true") {
        return Ok(IndexBuild::Busy);
    }
    run(session, NO_LIMITS.to_owned()).await?;
    let create = match index {
        SearchIndex::Unfolded => "CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_unfolded_idx
             ON tasks (user_id, id) WHERE search_title IS NULL"
            .to_owned(),
        SearchIndex::Trigrams => match extension(session).await? {
            Some(schema) => create_trigram_index("tasks", &schema),
            None => return Ok(IndexBuild::NoExtension),
        },
    };
    let name = index.name();
    if is_left_over(session, name).await? {
        run(session, format!("DROP INDEX CONCURRENTLY IF EXISTS {name}")).await?;
    }
    run(session, create).await?;
    Ok(IndexBuild::Done)
}

/// Whether a build was interrupted: PostgreSQL keeps its index, which is never used.
async fn is_left_over(session: &mut PgConnection, name: &str) -> Result<bool, StoreError> {
    let question = "SELECT EXISTS (
        SELECT FROM pg_catalog.pg_index AS one JOIN pg_catalog.pg_class AS named ON named.oid = one.indexrelid
        WHERE one.indrelid = to_regclass('tasks') AND named.relname = $1 AND NOT one.indisvalid)";
    let asked = sqlx::query_scalar(question).bind(name).fetch_one(session);
    Ok(asked.await?)
}

async fn is_pooled(
    session: &mut PgConnection,
    server: &PostgresTarget,
) -> Result<bool, StoreError> {
    if server.pooled {
        return Ok(true);
    }
    let mut other = open_postgres(server).await.map_err(StoreError::Connect)?;
    let shared = share_a_process(session, &mut other).await;
    close_quietly(other).await;
    Ok(shared?)
}

/// The schema of `pg_trgm`, which is created if the server has it and the role may.
async fn extension(session: &mut PgConnection) -> Result<Option<String>, StoreError> {
    if let Some(schema) = optional(session, EXTENSION).await? {
        return Ok(Some(schema));
    }
    if optional(session, AVAILABLE).await?.is_none() {
        return Ok(None);
    }
    match run(session, CREATE_EXTENSION.to_owned()).await {
        Ok(()) => Ok(optional(session, EXTENSION).await?),
        Err(sqlx::Error::Database(error)) => {
            tracing::debug!(error = error.message(), "pg_trgm cannot be created");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Runs statements of this program.
async fn run(session: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(session)
        .await
        .map(drop)
}
