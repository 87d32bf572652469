//! Who owns todoctl's objects.

use sqlx::PgConnection;

use super::{StoreError, ask, expected_functions_of_owners, functions, literals, tables, types};

/// An object of todoctl's.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Owned {
    /// `TABLE`, `FUNCTION` or `TYPE`, as in `ALTER TABLE`.
    pub(crate) kind: String,
    /// With schema and quotes, as a statement names it.
    pub(crate) name: String,
    pub(crate) owner: String,
    /// Whether the role that has logged in, or the one that acts for it, is a member of the owner,
    /// and so may alter the object.
    pub(crate) is_ours: bool,
    /// Whether the owner may write the table that counts notifications, if it is the function
    /// that runs as its owner.
    pub(crate) may_count: bool,
}

impl Owned {
    pub(crate) async fn ask(
        session: &mut PgConnection,
        schema: &str,
    ) -> Result<Vec<Self>, StoreError> {
        let query = format!(
            "SELECT 'TABLE' AS kind, format('%I.%I', current_schema(), c.relname) AS name,
                    pg_get_userbyid(c.relowner)::text AS owner,
                    pg_has_role(c.relowner, 'USAGE') OR pg_has_role(session_user, c.relowner, 'USAGE') AS is_ours, true AS may_count
             FROM pg_catalog.pg_class c
             WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
               AND c.relkind IN ('r', 'p') AND c.relname IN ({}, '_sqlx_migrations')
             UNION ALL
             SELECT 'FUNCTION', format('%I.%I()', current_schema(), p.proname),
                    pg_get_userbyid(p.proowner)::text,
                    pg_has_role(p.proowner, 'USAGE') OR pg_has_role(session_user, p.proowner, 'USAGE'),
                    NOT p.prosecdef OR p.proname NOT IN ({}) OR coalesce(
                        has_table_privilege(p.proowner, to_regclass('todoctl_unread'), 'INSERT')
                        AND has_table_privilege(p.proowner, to_regclass('todoctl_unread'), 'SELECT')
                        AND has_table_privilege(p.proowner, to_regclass('todoctl_unread'), 'UPDATE')
                        AND has_table_privilege(p.proowner, to_regclass('todoctl_unread'), 'DELETE')
                        AND has_schema_privilege(p.proowner, current_schema(), 'USAGE'), true)
             FROM pg_catalog.pg_proc p
             WHERE p.pronamespace = to_regnamespace(quote_ident(current_schema()))
               AND p.proname IN ({}) AND p.pronargs = 0
             UNION ALL
             SELECT 'TYPE', format('%I.%I', current_schema(), t.typname),
                    pg_get_userbyid(t.typowner)::text,
                    pg_has_role(t.typowner, 'USAGE') OR pg_has_role(session_user, t.typowner, 'USAGE'), true
             FROM pg_catalog.pg_type t
             WHERE t.typnamespace = to_regnamespace(quote_ident(current_schema()))
               AND t.typname IN ({})
             ORDER BY kind, name",
            tables(),
            literals(expected_functions_of_owners()),
            functions(),
            types()
        );
        ask(session, Some(schema), &query).await
    }
}
