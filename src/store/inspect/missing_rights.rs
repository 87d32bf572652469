//! Rights that the role needs for what others have attached to todoctl's tables.

use sqlx::PgConnection;

use super::{StoreError, ask, literals, tables};

/// By the texts of the functions of triggers, which run with the role's rights: statements on
/// tables, and the sequences that number the rows of these.
const MISSING: &str = r"
    WITH function AS (
        SELECT DISTINCT p.oid, lower(p.prosrc) AS source
        FROM pg_catalog.pg_trigger t
        JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
        JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
        WHERE c.relnamespace = to_regnamespace(quote_ident({schema})) AND c.relname IN ({tables})
          AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND NOT p.prosecdef
    ), relation AS (
        SELECT c.oid, n.oid AS schema, n.nspname, format('%I.%I', n.nspname, c.relname) AS name, f.source,
               CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN '(' || n.nspname || E'\\.)?' ELSE n.nspname || E'\\.' END
                   || c.relname || E'\\M' AS pattern
        FROM function f, pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'f', 'm') AND n.nspname !~ '^(pg_|information_schema)'
          AND c.relname ~ '^[a-z0-9_]+$' AND n.nspname ~ '^[a-z0-9_]+$' AND position(c.relname IN f.source) > 0
    ), needed AS (
        SELECT r.oid, r.schema, r.nspname, r.name, k.privilege
        FROM relation r
        CROSS JOIN (VALUES ('INSERT', E'insert\\s+into\\s+'), ('UPDATE', E'update\\s+(only\\s+)?'),
                           ('DELETE', E'delete\\s+from\\s+(only\\s+)?'), ('SELECT', E'(from|join|update)\\s+(only\\s+)?')) AS k (privilege, words)
        WHERE r.source ~ (E'\\m' || k.words || r.pattern)
    )
    SELECT format('GRANT %s TO %I', what, current_user) FROM (
        SELECT 1 AS number, format('USAGE ON SCHEMA %I', nspname) AS what FROM needed
        WHERE NOT has_schema_privilege(schema, 'USAGE')
        UNION
        SELECT 2, string_agg(DISTINCT privilege, ', ') || ' ON TABLE ' || name FROM needed
        WHERE NOT has_table_privilege(oid, privilege) GROUP BY name
        UNION
        SELECT 3, format('USAGE ON SEQUENCE %I.%I', n.nspname, s.relname)
        FROM needed
        JOIN pg_catalog.pg_attrdef e ON e.adrelid = needed.oid
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid AND d.refclassid = 'pg_class'::regclass
        JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
        JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
        WHERE privilege = 'INSERT' AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') END
    ) AS missing ORDER BY number, what";

/// The statements that grant the rights.
pub(crate) async fn missing_rights(
    session: &mut PgConnection,
    schema: &str,
) -> Result<Vec<String>, StoreError> {
    let query = MISSING
        .replace("{schema}", &literals([schema].into_iter()))
        .replace("{tables}", &tables());
    let rows: Vec<(String,)> = ask(session, None, &query).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}
