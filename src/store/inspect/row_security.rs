//! Row-level security of todoctl's tables, as it applies to the session's role.

use sqlx::PgConnection;

use super::{StoreError, ask, tables};

/// A table whose row-level security applies to the role.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Guarded {
    pub(crate) name: String,
    /// Whether the role owns it: then security applies because it is forced.
    pub(crate) is_owned: bool,
    /// Commands that no policy allows the role.
    pub(crate) closed: Vec<String>,
    /// Commands that policies allow for some rows only.
    pub(crate) limited: Vec<String>,
    /// Policies that narrow what all others allow.
    pub(crate) restrictive: Vec<String>,
    /// All policies of the table.
    pub(crate) policies: Vec<String>,
}

impl Guarded {
    /// The tables of `schema`, or of the first one in the role's search path.
    pub(crate) async fn ask(
        session: &mut PgConnection,
        schema: Option<&str>,
    ) -> Result<Vec<Self>, StoreError> {
        // Permissive policies are alternatives, restrictive ones apply all. A policy for PUBLIC
        // has the role 0.
        let query = format!(
            "WITH policy AS (
                 SELECT p.polrelid, p.polname, p.polpermissive, p.polcmd::text AS command,
                        coalesce(pg_get_expr(p.polqual, p.polrelid), 'true') = 'true'
                            AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true'
                            AS is_open
                 FROM pg_catalog.pg_policy p
                 WHERE EXISTS (SELECT FROM unnest(p.polroles) AS role
                               WHERE CASE WHEN role = 0 THEN true ELSE pg_has_role(role, 'USAGE') END)
             ), command (letter, name) AS (
                 VALUES ('r', 'SELECT'), ('a', 'INSERT'), ('w', 'UPDATE'), ('d', 'DELETE')
             )
             SELECT c.relname::text AS name, pg_has_role(c.relowner, 'USAGE') AS is_owned,
                    ARRAY(SELECT k.name FROM command k
                          WHERE NOT EXISTS (
                              SELECT FROM policy p
                              WHERE p.polrelid = c.oid AND p.polpermissive AND p.command IN ('*', k.letter))
                    ) AS closed,
                    ARRAY(SELECT k.name FROM command k
                          WHERE EXISTS (
                              SELECT FROM policy p
                              WHERE p.polrelid = c.oid AND p.polpermissive AND p.command IN ('*', k.letter))
                            AND (NOT EXISTS (
                                     SELECT FROM policy p
                                     WHERE p.polrelid = c.oid AND p.polpermissive AND p.is_open
                                       AND p.command IN ('*', k.letter))
                                 OR EXISTS (
                                     SELECT FROM policy p
                                     WHERE p.polrelid = c.oid AND NOT p.polpermissive AND NOT p.is_open
                                       AND p.command IN ('*', k.letter)))
                    ) AS limited,
                    ARRAY(SELECT p.polname::text FROM policy p
                          WHERE p.polrelid = c.oid AND NOT p.polpermissive AND NOT p.is_open
                          ORDER BY p.polname) AS restrictive,
                    ARRAY(SELECT p.polname::text FROM pg_catalog.pg_policy p
                          WHERE p.polrelid = c.oid ORDER BY p.polname) AS policies
             FROM pg_catalog.pg_class c
             WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
               AND c.relkind IN ('r', 'p') AND c.relname IN ({}, '_sqlx_migrations')
               AND row_security_active(c.oid)
             ORDER BY c.relname",
            tables()
        );
        ask(session, schema, &query).await
    }
}
