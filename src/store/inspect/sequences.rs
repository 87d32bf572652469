//! The sequences that generate ids.

use sqlx::{AssertSqlSafe, PgConnection, SqliteConnection};

use crate::config::sql_name;

use super::{StoreError, ask, tables};

/// A column whose values come from a sequence.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a row of answers, each yes or no"
)]
pub(crate) struct Generated {
    pub(crate) table: String,
    pub(crate) column: String,
    /// The sequence, with schema and quotes, as a statement names it.
    pub(crate) sequence: String,
    /// The highest value that the column's type can hold.
    pub(crate) column_max: i64,
    pub(crate) sequence_max: i64,
    pub(crate) increment: i64,
    pub(crate) cycles: bool,
    pub(crate) sequence_owner: String,
    pub(crate) table_owner: String,
    /// Whether the role may move it.
    pub(crate) is_movable: bool,
    /// Whether the sequence is dropped with its column.
    pub(crate) is_owned: bool,
    /// The sequence that belongs to the column, if it takes its values from another one.
    pub(crate) own: Option<String>,
    /// Columns of other tables that take values from it.
    pub(crate) shared_with: Vec<String>,
    /// Whether the role may read the sequence and the table.
    pub(crate) is_readable: bool,
    /// Whether an index leads to the highest id: a table is not read for it.
    pub(crate) is_indexed: bool,
}

/// What a sequence and its column have reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Ids {
    /// The value that the next row gets.
    pub(crate) next: i64,
    /// The highest id in the table; `None` if it is empty.
    pub(crate) highest: Option<i64>,
}

impl Generated {
    pub(crate) async fn ask(
        session: &mut PgConnection,
        schema: &str,
    ) -> Result<Vec<Self>, StoreError> {
        let query = format!(
            "WITH uses AS (
                 SELECT d.refobjid AS relation, d.refobjsubid AS number, d.objid AS sequence
                 FROM pg_catalog.pg_depend d
                 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                   AND d.deptype = 'i' AND d.refobjsubid > 0
                 UNION ALL
                 SELECT a.adrelid, a.adnum, d.refobjid
                 FROM pg_catalog.pg_attrdef a
                 JOIN pg_catalog.pg_depend d ON d.objid = a.oid
                   AND d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
                 WHERE (d.refobjid, d.refobjsubid) <> (a.adrelid, a.adnum)
             )
             SELECT c.relname::text AS table, a.attname::text AS column,
                    format('%I.%I', sn.nspname, s.relname) AS sequence,
                    CASE a.atttypid WHEN 'int2'::regtype THEN 32767
                                    WHEN 'int4'::regtype THEN 2147483647
                                    ELSE 9223372036854775807 END AS column_max,
                    q.seqmax AS sequence_max, q.seqincrement AS increment, q.seqcycle AS cycles,
                    pg_get_userbyid(s.relowner)::text AS sequence_owner,
                    pg_get_userbyid(c.relowner)::text AS table_owner,
                    pg_has_role(s.relowner, 'USAGE') AS is_movable,
                    EXISTS (SELECT FROM pg_catalog.pg_depend d
                            WHERE d.classid = 'pg_class'::regclass AND d.objid = s.oid
                              AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
                              AND d.deptype IN ('a', 'i')) AS is_owned,
                    (SELECT format('%I.%I', o.relnamespace::regnamespace, o.relname)
                     FROM pg_catalog.pg_depend d
                     JOIN pg_catalog.pg_class o ON o.oid = d.objid AND o.relkind = 'S'
                     WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                       AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
                       AND d.deptype IN ('a', 'i')
                     ORDER BY o.oid = s.oid DESC, o.relname LIMIT 1) AS own,
                    ARRAY(SELECT u2.relation::regclass::text FROM uses u2
                          WHERE u2.sequence = s.oid AND u2.relation <> c.oid
                            AND NOT EXISTS (SELECT FROM pg_catalog.pg_class t
                                            WHERE t.oid = u2.relation
                                              -- Nothing is stored there any more.
                                              AND (t.relpersistence = 't' OR t.relname ^@ 'set_aside_'))
                            -- A child table inherits the default.
                            AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h
                                            WHERE h.inhrelid = u2.relation AND h.inhparent = c.oid)
                          ORDER BY 1) AS shared_with,
                    has_table_privilege(c.oid, 'SELECT') AND has_sequence_privilege(s.oid, 'SELECT')
                        AND has_schema_privilege(sn.oid, 'USAGE') AS is_readable,
                    EXISTS (SELECT FROM pg_catalog.pg_index i
                            WHERE i.indrelid = c.oid AND i.indisvalid AND i.indkey[0] = a.attnum
                              AND i.indpred IS NULL) AS is_indexed
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             JOIN uses u ON u.relation = c.oid AND u.number = a.attnum
             JOIN pg_catalog.pg_class s ON s.oid = u.sequence AND s.relkind = 'S'
             JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
             JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
             WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
               AND c.relkind IN ('r', 'p') AND c.relname IN ({})
             ORDER BY c.relname, a.attname",
            tables()
        );
        ask(session, Some(schema), &query).await
    }

    /// What all of `columns` have reached, in their order; each must be readable.
    pub(crate) async fn ids(
        session: &mut PgConnection,
        schema: &str,
        columns: &[&Self],
    ) -> Result<Vec<Ids>, StoreError> {
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        let questions: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(number, one)| {
                let highest = if one.is_indexed {
                    let (column, table) = (sql_name(&one.column), sql_name(&one.table));
                    format!("(SELECT max({column})::bigint FROM {table})")
                } else {
                    "NULL::bigint".to_owned()
                };
                format!(
                    "SELECT {number} AS number,
                            CASE WHEN is_called AND last_value < 9223372036854775807 - {step}
                                 THEN last_value + {step} ELSE last_value END AS next,
                            {highest} AS highest FROM {sequence}",
                    step = one.increment.max(0),
                    sequence = one.sequence,
                )
            })
            .collect();
        let query = format!("{} ORDER BY number", questions.join(" UNION ALL "));
        ask(session, Some(schema), &query).await
    }
}

/// Not those that were only reserved: a sequence with a cache gives them later.
const LAST_TASK: &str = "SELECT greatest(max(id)::bigint,
        pg_sequence_last_value(pg_get_serial_sequence('tasks', 'id')::regclass)) FROM tasks";

const LAST_TASK_OF_FILE: &str = "SELECT max(last) FROM (SELECT max(id) AS last FROM tasks
     UNION ALL SELECT max(CAST(seq AS INTEGER)) FROM sqlite_sequence WHERE name = 'tasks')";

/// The highest id that a task was ever given; `None` before the first one.
pub(crate) async fn last_task(session: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    let rows: Vec<(Option<i64>,)> = ask(session, None, LAST_TASK).await?;
    Ok(rows.first().and_then(|row| row.0))
}

pub(crate) async fn last_task_of_file(
    session: &mut SqliteConnection,
) -> Result<Option<i64>, StoreError> {
    let query = sqlx::query_scalar(LAST_TASK_OF_FILE);
    Ok(query.fetch_one(session).await?)
}

/// Those of the ids that tasks have, of any user.
pub(crate) async fn tasks_among(
    session: &mut PgConnection,
    ids: &[i64],
) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<(i64,)> = ask(session, None, &among(ids)).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub(crate) async fn tasks_among_of_file(
    session: &mut SqliteConnection,
    ids: &[i64],
) -> Result<Vec<i64>, StoreError> {
    let query = sqlx::query_scalar(AssertSqlSafe(among(ids)));
    Ok(query.fetch_all(session).await?)
}

fn among(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let ids = ids.join(", ");
    format!("SELECT CAST(id AS bigint) FROM tasks WHERE id IN ({ids})")
}

/// A table of a SQLite file whose ids are never used twice (AUTOINCREMENT).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) table: String,
    /// The highest id that was ever given; `None` if that is not recorded, as before the first row.
    pub(crate) last: Option<i64>,
    pub(crate) highest: Option<i64>,
}

impl Numbered {
    pub(crate) async fn of_file(session: &mut SqliteConnection) -> Result<Vec<Self>, StoreError> {
        let query = format!(
            "SELECT name, (SELECT max(CAST(seq AS INTEGER)) FROM sqlite_sequence
                           WHERE sqlite_sequence.name = sqlite_schema.name)
             FROM sqlite_schema
             WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%' AND name IN ({}) ORDER BY name",
            tables()
        );
        let lasts: Vec<(String, Option<i64>)> = sqlx::query_as(AssertSqlSafe(query))
            .fetch_all(&mut *session)
            .await?;
        let mut all = Vec::new();
        for (table, last) in lasts {
            let query = format!("SELECT max(id) FROM {}", sql_name(&table));
            let highest = sqlx::query_scalar(AssertSqlSafe(query))
                .fetch_one(&mut *session)
                .await?;
            all.push(Self {
                table,
                last,
                highest,
            });
        }
        Ok(all)
    }
}
