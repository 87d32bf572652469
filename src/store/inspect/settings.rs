//! What applies to the whole database: collation versions, event triggers.

use sqlx::PgConnection;

use super::{StoreError, ask, tables};

/// A collation whose rules changed since its indexes were built.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Collation {
    /// With schema and quotes; `None` is the database's own.
    pub(crate) name: Option<String>,
    pub(crate) recorded: String,
    pub(crate) actual: String,
}

/// An event trigger whose function raises exceptions.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct EventTrigger {
    pub(crate) name: String,
    /// Such as `ddl_command_start`.
    pub(crate) event: String,
    /// Its function, with schema and quotes.
    pub(crate) function: String,
    pub(crate) owner: String,
}

/// The first version that records the version of a database's collation.
const RECORDS_DATABASE_COLLATION: i32 = 150_000;

const VERSION: &str = "SELECT current_setting('server_version_num')::int";

/// The collations of todoctl's indexes whose version is another than when they were built.
pub(crate) async fn changed_collations(
    session: &mut PgConnection,
    schema: &str,
) -> Result<Vec<Collation>, StoreError> {
    let version: Vec<(i32,)> = ask(session, None, VERSION).await?;
    let version = version.first().map_or(0, |row| row.0);
    let of_database = if version >= RECORDS_DATABASE_COLLATION {
        "UNION ALL
             SELECT NULL, d.datcollversion, pg_database_collation_actual_version(d.oid)
             FROM pg_catalog.pg_database d
             WHERE d.datname = current_database()
               AND d.datcollversion <> pg_database_collation_actual_version(d.oid)"
    } else {
        ""
    };
    let query = format!(
        "SELECT format('%I.%I', n.nspname, k.collname) AS name, k.collversion AS recorded,
                    pg_collation_actual_version(k.oid) AS actual
             FROM pg_catalog.pg_collation k
             JOIN pg_catalog.pg_namespace n ON n.oid = k.collnamespace
             WHERE k.collversion <> pg_collation_actual_version(k.oid)
               AND EXISTS (SELECT FROM pg_catalog.pg_index i
                           JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
                           WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
                             AND c.relname IN ({}) AND k.oid = ANY (i.indcollation::oid[]))
             {of_database}",
        tables()
    );
    ask(session, Some(schema), &query).await
}

/// The enabled event triggers that may refuse a change of the schema.
pub(crate) async fn event_triggers(
    session: &mut PgConnection,
) -> Result<Vec<EventTrigger>, StoreError> {
    let query = r"
            SELECT e.evtname::text AS name, e.evtevent::text AS event,
                   format('%I.%I', n.nspname, p.proname) AS function,
                   pg_get_userbyid(e.evtowner)::text AS owner
            FROM pg_catalog.pg_event_trigger e
            JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid
            JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
            WHERE e.evtenabled IN ('O', 'A') AND e.evtevent <> 'login'
              AND p.prosrc ~* E'\\mraise\\s+(exception|sqlstate|''|[a-z_]+\\s*;)'
            ORDER BY e.evtname";
    ask(session, None, query).await
}
