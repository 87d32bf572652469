//! What depends on columns of todoctl's tables, so that PostgreSQL refuses to change their types.

use sqlx::PgConnection;

use super::{StoreError, ask, tables};

/// Something that uses a column: a view, a rule, a policy, a trigger, a generated column, a
/// function, a publication.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Dependent {
    pub(crate) table: String,
    pub(crate) column: String,
    /// Such as `the view public.report`.
    pub(crate) name: String,
    /// The statements that drop it and create it again as it is. `None` where more than its
    /// definition would be lost.
    pub(crate) drop: Option<String>,
    pub(crate) create: Option<String>,
    /// Whether the role may do both.
    pub(crate) is_owned: bool,
}

/// In the order in which they can be dropped. A view that another view uses comes after that one.
const DEPENDENTS: &str = r"
    WITH RECURSIVE direct AS (
        SELECT DISTINCT c.oid AS relation, c.relname::text AS table, c.relowner, a.attname::text AS column, d.classid, d.objid, d.objsubid
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid > 0
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
        WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relname IN ({tables})
    ), view AS (
        SELECT d.table, d.column, r.ev_class AS oid, 1 AS depth
        FROM direct d
        JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename = '_RETURN'
        UNION
        SELECT v.table, v.column, r.ev_class, v.depth + 1
        FROM view v
        JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.ev_class <> v.oid
    ), used AS (
        SELECT v.table, v.column, max(v.depth) AS depth, c.oid, c.relkind, c.relowner, c.relacl, c.reloptions,
               format('%I.%I', n.nspname, c.relname) AS name,
               -- Whatever its definition does not have.
               c.relkind = 'v'
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_description x WHERE x.objoid = c.oid AND x.classoid = 'pg_class'::regclass)
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute x WHERE x.attrelid = c.oid AND x.attacl IS NOT NULL)
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite x WHERE x.ev_class = c.oid AND x.rulename <> '_RETURN')
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.refobjid = c.oid AND x.refclassid = 'pg_class'::regclass
                                   AND x.classid NOT IN ('pg_rewrite'::regclass, 'pg_type'::regclass))
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.objid = c.oid AND x.classid = 'pg_class'::regclass AND x.deptype = 'e')
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x
                                   JOIN pg_catalog.pg_type t ON x.refclassid = 'pg_type'::regclass AND x.refobjid = t.oid
                                   WHERE (t.oid = c.reltype OR t.typelem = c.reltype) AND x.classid <> 'pg_type'::regclass)
                   AS is_whole
        FROM view v
        JOIN pg_catalog.pg_class c ON c.oid = v.oid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        GROUP BY v.table, v.column, c.oid, n.nspname
    )
    SELECT u.table, u.column, u.depth,
           format('the %s %s', CASE u.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, u.name) AS name,
           CASE WHEN is_whole THEN format('DROP VIEW IF EXISTS %s', u.name) END AS drop,
           CASE WHEN is_whole THEN
               format('CREATE VIEW %s%s AS %s; ALTER VIEW %1$s OWNER TO %4$I', u.name,
                      ' WITH (' || array_to_string(u.reloptions, ', ') || ')',
                      rtrim(pg_get_viewdef(u.oid), ';'), pg_get_userbyid(u.relowner))
               || coalesce((SELECT string_agg(format('; GRANT %s ON %s TO %s%s', g.privilege_type, u.name,
                                   CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                                   CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END), '')
                            FROM aclexplode(u.relacl) AS g WHERE g.grantee <> u.relowner), '')
           END AS create,
           pg_has_role(u.relowner, 'USAGE') AS is_owned
    FROM used u
    UNION ALL
    SELECT d.table, d.column, 0, format('the rule %s of %s', r.rulename, r.ev_class::regclass),
           CASE WHEN r.ev_enabled = 'O' THEN format('DROP RULE IF EXISTS %I ON %s', r.rulename, r.ev_class::regclass) END,
           CASE WHEN r.ev_enabled = 'O' THEN rtrim(pg_get_ruledef(r.oid), ';') END,
           pg_has_role(c.relowner, 'USAGE')
    FROM direct d
    JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename <> '_RETURN'
    JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
    UNION ALL
    SELECT d.table, d.column, 0, format('the policy %s of %s', p.polname, p.polrelid::regclass),
           format('DROP POLICY IF EXISTS %I ON %s', p.polname, p.polrelid::regclass),
           format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', p.polname, p.polrelid::regclass,
                  CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                  CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                  (SELECT string_agg(CASE one WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(one)) END, ', ') FROM unnest(p.polroles) AS one),
                  ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
                  ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'),
           pg_has_role(c.relowner, 'USAGE')
    FROM direct d
    JOIN pg_catalog.pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
    JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
    UNION ALL
    SELECT d.table, d.column, 0, format('the trigger %s', t.tgname),
           CASE WHEN t.tgenabled = 'O' THEN format('DROP TRIGGER IF EXISTS %I ON %s', t.tgname, t.tgrelid::regclass) END,
           CASE WHEN t.tgenabled = 'O' THEN pg_get_triggerdef(t.oid) END,
           pg_has_role(d.relowner, 'USAGE')
    FROM direct d
    JOIN pg_catalog.pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid AND NOT t.tgisinternal
    UNION ALL
    SELECT d.table, d.column, 0, format('the generated column %s', a.attname), NULL, NULL, true
    FROM direct d
    LEFT JOIN pg_catalog.pg_attrdef e ON d.classid = 'pg_attrdef'::regclass AND e.oid = d.objid
    JOIN pg_catalog.pg_attribute a ON a.attgenerated <> '' AND a.attname <> d.column
        AND (d.classid = 'pg_class'::regclass AND d.objid = d.relation AND a.attrelid = d.relation AND a.attnum = d.objsubid
             OR a.attrelid = e.adrelid AND a.attnum = e.adnum)
    UNION ALL
    SELECT d.table, d.column, 0, format('the function %s', d.objid::regprocedure), NULL, NULL, true
    FROM direct d WHERE d.classid = 'pg_proc'::regclass
    UNION ALL
    SELECT d.table, d.column, 0, format('the publication %s', b.pubname), NULL, NULL, true
    FROM direct d
    JOIN pg_catalog.pg_publication_rel p ON d.classid = 'pg_publication_rel'::regclass AND p.oid = d.objid
    JOIN pg_catalog.pg_publication b ON b.oid = p.prpubid
    ORDER BY depth DESC, name";

impl Dependent {
    pub(crate) async fn ask(
        session: &mut PgConnection,
        schema: &str,
    ) -> Result<Vec<Self>, StoreError> {
        let query = DEPENDENTS.replace("{tables}", &tables());
        ask(session, Some(schema), &query).await
    }
}
