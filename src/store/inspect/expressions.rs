//! Expressions of others that are evaluated for each row of todoctl's tables.

use sqlx::PgConnection;

use super::{StoreError, ask, expected_tables, literals, tables};

/// An expression that no migration creates, and that may fail.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Expression {
    pub(crate) table: String,
    /// `index`, `default` or `generated`.
    pub(crate) kind: String,
    /// The index or the column.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Whether the column requires a value.
    pub(crate) is_required: bool,
}

/// What fails for some values: a division, a conversion of text, a parameter that is not set.
/// Constants are converted when the expression is stored.
const MAY_FAIL: &str = r" [/%] |\\)::(?!text|character|bpchar|name|citext)|current_setting\\([^,()]*\\)|to_(date|timestamp|number)\\(|chr\\(|sqrt\\(|ln\\(|log\\(";

impl Expression {
    pub(crate) async fn ask(
        session: &mut PgConnection,
        schema: &str,
    ) -> Result<Vec<Self>, StoreError> {
        let own = |kind: &'static str| {
            literals(
                expected_tables()
                    .flat_map(|(_, parts)| parts.keys())
                    .filter_map(move |part| part.strip_prefix(kind)),
            )
        };
        // Built-in functions have no dependencies; those of extensions are as good as built in.
        let query = format!(
            "WITH expression AS (
                 SELECT x.indrelid AS relation, 'index' AS kind, i.relname AS name,
                        concat_ws(' ', pg_get_expr(x.indexprs, x.indrelid), pg_get_expr(x.indpred, x.indrelid)) AS text,
                        false AS is_required, 'pg_class'::regclass AS class, i.oid AS object
                 FROM pg_catalog.pg_index x
                 JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
                 WHERE (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL) AND x.indislive
                   AND i.relname NOT IN ({})
                 UNION ALL
                 SELECT d.adrelid, CASE a.attgenerated WHEN '' THEN 'default' ELSE 'generated' END, a.attname,
                        pg_get_expr(d.adbin, d.adrelid), a.attnotnull, 'pg_attrdef'::regclass, d.oid
                 FROM pg_catalog.pg_attrdef d
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                 WHERE a.attname NOT IN ({})
             )
             SELECT c.relname::text AS table, e.kind, e.name::text AS name, e.text, e.is_required
             FROM expression e
             JOIN pg_catalog.pg_class c ON c.oid = e.relation
             WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
               AND c.relname IN ({}) AND c.relkind IN ('r', 'p')
               AND (e.text ~ E'{MAY_FAIL}'
                    OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                               WHERE d.classid = e.class AND d.objid = e.object
                                 AND d.refclassid = 'pg_proc'::regclass
                                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend m
                                                 WHERE m.classid = 'pg_proc'::regclass AND m.objid = d.refobjid
                                                   AND m.deptype = 'e')))
             ORDER BY 1, 3",
            own("index "),
            own("column "),
            tables()
        );
        ask(session, Some(schema), &query).await
    }
}
