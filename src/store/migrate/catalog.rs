//! Reads a schema as text that can be compared and printed.

use super::connection::MigrationConnection;
use super::expected::Schema;
use crate::store::sql::OWN_SETTINGS;

/// The part with a SQLite table's statement. It has what the other parts lack, such as checks,
/// but also differs in blanks and in the order of the columns.
pub(crate) const DEFINITION: &str = "definition";

/// Tables, views, types and functions of the current schema, without those of extensions.
/// `pg_get_…(…, true)` omits the names of schemas in the search path; of bodies they are removed.
///
/// The last parts exist only where something is unusual: an unlogged table, a rule, a foreign key
/// of another table that refuses deletes. Functions are volatile and have no settings of others.
pub(in crate::store) const POSTGRES: &str = r"
WITH here AS (
    SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema()
), relation AS (
    SELECT c.oid, c.relname, CASE WHEN c.relkind IN ('v', 'm') THEN 'view ' ELSE 'table ' END || c.relname AS object
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = (SELECT oid FROM here) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
)
SELECT r.object, 'column ' || a.attname,
    concat_ws(' ', pg_catalog.format_type(a.atttypid, a.atttypmod),
        (SELECT 'collate ' || quote_ident(k.collname) FROM pg_catalog.pg_collation k
         WHERE k.oid = a.attcollation AND k.collname <> 'default'),
        CASE WHEN a.attnotnull THEN 'not null' END,
        CASE WHEN a.attidentity <> '' THEN 'identity' END,
        CASE WHEN a.attgenerated <> '' THEN 'generated' END,
        'default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid, true))
FROM relation r
JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
UNION ALL
SELECT r.object, 'constraint ' || c.conname,
    pg_catalog.pg_get_constraintdef(c.oid, true)
        || coalesce((SELECT ' (invalid)' FROM pg_catalog.pg_index x
                     WHERE x.indexrelid = c.conindid AND x.indrelid = r.oid AND NOT x.indisvalid), '')
FROM relation r
JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid AND c.contype IN ('c', 'f', 'p', 'u', 'x')
UNION ALL
SELECT r.object, 'index ' || i.relname,
    pg_catalog.pg_get_indexdef(x.indexrelid, 0, true) || CASE WHEN x.indisvalid THEN '' ELSE ' (invalid)' END
FROM relation r
JOIN pg_catalog.pg_index x ON x.indrelid = r.oid
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conindid = x.indexrelid AND c.conrelid = r.oid)
UNION ALL
SELECT r.object, 'sequence ' || c.relname, pg_catalog.format_type(s.seqtypid, NULL)
FROM relation r
JOIN pg_catalog.pg_depend p ON p.refobjid = r.oid AND p.deptype IN ('a', 'i') AND p.classid = 'pg_catalog.pg_class'::regclass
JOIN pg_catalog.pg_sequence s ON s.seqrelid = p.objid
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
UNION ALL
SELECT r.object, 'trigger ' || t.tgname,
    pg_catalog.pg_get_triggerdef(t.oid, true) || CASE WHEN t.tgenabled IN ('O', 'A') THEN '' ELSE ' (disabled)' END
FROM relation r
JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT r.object, 'query', pg_catalog.pg_get_viewdef(r.oid, true)
FROM relation r
WHERE r.object LIKE 'view %'
UNION ALL
SELECT 'type ' || t.typname, 'labels', string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder)
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_enum e ON e.enumtypid = t.oid
WHERE t.typnamespace = (SELECT oid FROM here)
GROUP BY t.typname
UNION ALL
SELECT 'function ' || p.proname, '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
    concat_ws(', ',
        'md5 of its body ' || md5(btrim(regexp_replace(replace(p.prosrc, quote_ident(current_schema()) || '.', ''), E'\\s+', ' ', 'g'))),
        CASE WHEN p.prosecdef THEN 'security definer' END,
        CASE WHEN 'search_path=pg_catalog, pg_temp' = ANY (p.proconfig) THEN 'fixed search path' END,
        CASE p.provolatile WHEN 's' THEN 'stable' WHEN 'i' THEN 'immutable' END,
        (SELECT string_agg('with ' || one, ', ' ORDER BY one) FROM unnest(p.proconfig) AS one
         WHERE one NOT LIKE 'search_path=%'))
FROM pg_catalog.pg_proc p
WHERE p.pronamespace = (SELECT oid FROM here)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.objid = p.oid AND d.deptype = 'e' AND d.classid = 'pg_catalog.pg_proc'::regclass)
UNION ALL
SELECT r.object, 'storage', concat_ws(', ',
    CASE c.relkind WHEN 'p' THEN 'partitioned' WHEN 'f' THEN 'foreign' END,
    CASE c.relpersistence WHEN 'u' THEN 'unlogged' END,
    CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) THEN 'has child tables' END,
    CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid) THEN 'is a child table' END)
FROM relation r
JOIN pg_catalog.pg_class c ON c.oid = r.oid
WHERE c.relkind IN ('p', 'f') OR c.relpersistence = 'u'
   OR EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid))
UNION ALL
SELECT r.object, 'rule ' || w.rulename, pg_catalog.pg_get_ruledef(w.oid, true)
FROM relation r
JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN' AND w.ev_enabled <> 'D'
UNION ALL
SELECT r.object, 'triggers of foreign keys', 'disabled'
FROM relation r
WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = r.oid AND t.tgisinternal AND t.tgenabled = 'D')
UNION ALL
SELECT r.object, 'reference ' || c.conname,
    c.conrelid::regclass::text || ' ' || pg_catalog.pg_get_constraintdef(c.oid, true)
        || CASE WHEN pg_has_role(o.relowner, 'USAGE') THEN '' ELSE ' (of another owner)' END
FROM relation r
JOIN pg_catalog.pg_constraint c ON c.confrelid = r.oid AND c.contype = 'f' AND c.confdeltype IN ('a', 'r')
JOIN pg_catalog.pg_class o ON o.oid = c.conrelid
WHERE c.conparentid = 0";

pub(in crate::store) const SQLITE: &str = r#"
WITH relation AS (
    SELECT s.name, s.sql, CASE WHEN t.type = 'virtual' THEN 'virtual table ' ELSE 'table ' END || s.name AS object
    FROM sqlite_schema s
    JOIN pragma_table_list t ON t.schema = 'main' AND t.name = s.name
    WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND t.type <> 'shadow'
)
SELECT r.object, 'column ' || c.name,
    c.type || CASE WHEN c."notnull" THEN ' not null' ELSE '' END
        || COALESCE(' default ' || c.dflt_value, '') || CASE WHEN c.pk > 0 THEN ' primary key' ELSE '' END
        || CASE WHEN c.hidden IN (2, 3) THEN ' generated' ELSE '' END
FROM relation r, pragma_table_xinfo(r.name) c
UNION ALL
SELECT r.object, 'foreign key ' || f."from",
    f."table" || COALESCE(' (' || f."to" || ')', '') || ' on delete ' || lower(f.on_delete)
FROM relation r, pragma_foreign_key_list(r.name) f
UNION ALL
SELECT r.object,
    'unique ' || (SELECT group_concat(c.name, ', ') FROM pragma_index_info(i.name) c), 'yes'
FROM relation r, pragma_index_list(r.name) i
WHERE i.origin = 'u'
UNION ALL
SELECT r.object, 'definition', r.sql
FROM relation r
UNION ALL
SELECT CASE WHEN s.type = 'view' THEN 'view ' || s.name ELSE 'table ' || s.tbl_name END, s.type || ' ' || s.name, s.sql
FROM sqlite_schema s
WHERE s.type IN ('index', 'trigger', 'view') AND s.sql IS NOT NULL"#;

/// The schema of the migrations, which the search path may have behind others.
const HOME: &str = "
    SELECT quote_ident(coalesce(
        (SELECT n.nspname FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = to_regclass('_sqlx_migrations')),
        current_schema()))";

const HIDES_RECORDS: &str =
    "SELECT coalesce(row_security_active(to_regclass('_sqlx_migrations')), false)";

impl MigrationConnection {
    /// Whether row-level security applies to the record of migrations.
    pub async fn hides_records(&mut self) -> Result<bool, sqlx::Error> {
        if !self.is_postgres() {
            return Ok(false);
        }
        let rows: Vec<(bool,)> = self.fetch_all(HIDES_RECORDS).await?;
        Ok(rows.first().is_some_and(|row| row.0))
    }

    /// Reads the schema that has `_sqlx_migrations`.
    pub async fn own_schema(&mut self) -> Result<Schema, sqlx::Error> {
        if !self.is_postgres() {
            return self.schema().await;
        }
        self.begin().await?;
        self.execute(OWN_SETTINGS).await?;
        let home: Vec<(Option<String>,)> = self.fetch_all(HOME).await?;
        if let Some((Some(home),)) = home.first() {
            self.execute(&format!("SET LOCAL search_path = {home}"))
                .await?;
        }
        let schema = self.schema().await?;
        self.rollback().await?;
        Ok(schema)
    }

    /// Reads the current schema, without `_sqlx_migrations`.
    pub async fn schema(&mut self) -> Result<Schema, sqlx::Error> {
        let query = if self.is_postgres() { POSTGRES } else { SQLITE };
        Ok(schema_of(self.fetch_all(query).await?))
    }
}

/// A schema from the rows of one of the queries above.
pub(in crate::store) fn schema_of(rows: Vec<(String, String, String)>) -> Schema {
    let mut schema = Schema::new();
    for (object, part, definition) in rows {
        if object != "table _sqlx_migrations" {
            let parts = schema.entry(object).or_default();
            parts.insert(part, one_line(&definition));
        }
    }
    schema
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
