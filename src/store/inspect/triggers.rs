//! Triggers of others on todoctl's tables.

use sqlx::PgConnection;

use super::{StoreError, ask, expected_tables, literals, tables};

/// A trigger that no migration creates.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a row of answers, each yes or no"
)]
pub(crate) struct ForeignTrigger {
    pub(crate) table: String,
    pub(crate) name: String,
    /// Its function, with schema and quotes.
    pub(crate) function: String,
    /// Who owns the function.
    pub(crate) owner: String,
    /// Whether it runs for each row before the change, and so can suppress it.
    pub(crate) is_before_row: bool,
    /// Whether the function's text raises an exception.
    pub(crate) raises: bool,
    /// Whether the function's text returns NULL.
    pub(crate) returns_null: bool,
    /// Whether the function's text can be read: it is not compiled code.
    pub(crate) is_readable: bool,
    /// Whether `pg_repack` is at work, whose triggers collect what changes meanwhile.
    pub(crate) is_repacking: bool,
}

impl ForeignTrigger {
    pub(crate) async fn ask(
        session: &mut PgConnection,
        schema: &str,
    ) -> Result<Vec<Self>, StoreError> {
        let own = expected_tables()
            .flat_map(|(_, parts)| parts.keys())
            .filter_map(|part| part.strip_prefix("trigger "));
        // tgtype: 1 is FOR EACH ROW, 2 is BEFORE; 4, 8 and 16 are INSERT, DELETE and UPDATE. The
        // daemon never truncates a table.
        let query = format!(
            r"SELECT c.relname::text AS table, t.tgname::text AS name,
                     format('%I.%I', n.nspname, p.proname) AS function,
                     pg_get_userbyid(p.proowner)::text AS owner,
                     t.tgtype & 3 = 3 AS is_before_row,
                     p.prosrc ~* E'\\mraise\\s+(exception|sqlstate|''|[a-z_]+\\s*;)' AS raises,
                     p.prosrc ~* E'\\mreturn\\s+null\\M' AS returns_null,
                     l.lanname NOT IN ('c', 'internal') AS is_readable,
                     EXISTS (SELECT FROM pg_catalog.pg_stat_activity
                             WHERE application_name = 'pg_repack') AS is_repacking
              FROM pg_catalog.pg_trigger t
              JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
              JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
              JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
              JOIN pg_catalog.pg_language l ON l.oid = p.prolang
              WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
                AND c.relname IN ({}) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
                AND t.tgtype & 28 <> 0
                AND t.tgname NOT IN ({})
              ORDER BY c.relname, t.tgname",
            tables(),
            literals(own)
        );
        ask(session, Some(schema), &query).await
    }
}
