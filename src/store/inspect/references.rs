//! Tables of others that refer to todoctl's, and are searched at each deletion.

use sqlx::PgConnection;

use super::{StoreError, ask, tables};

/// A foreign key of a large table whose column no index has.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Unindexed {
    /// The table that it refers to.
    pub(crate) table: String,
    /// With schema and quotes.
    pub(crate) other: String,
    pub(crate) column: String,
    /// As far as the statistics know.
    pub(crate) rows: i64,
    pub(crate) owner: String,
    /// Whether the role may create an index.
    pub(crate) is_owned: bool,
    /// A name for an index of the column.
    pub(crate) index: String,
}

/// A smaller table is read in a few milliseconds.
const LARGE: u32 = 20_000;

impl Unindexed {
    pub(crate) async fn ask(
        session: &mut PgConnection,
        schema: &str,
    ) -> Result<Vec<Self>, StoreError> {
        let query = format!(
            "SELECT c.relname::text AS table, format('%I.%I', n.nspname, o.relname) AS other, a.attname::text AS column,
                    o.reltuples::bigint AS rows, pg_get_userbyid(o.relowner)::text AS owner,
                    pg_has_role(o.relowner, 'USAGE') AS is_owned,
                    left(o.relname || '_' || a.attname, 59) || '_idx' AS index
             FROM pg_catalog.pg_constraint k
             JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
             JOIN pg_catalog.pg_class o ON o.oid = k.conrelid AND o.relkind = 'r'
             JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
             JOIN pg_catalog.pg_attribute a ON a.attrelid = o.oid AND a.attnum = k.conkey[1]
             WHERE k.contype = 'f' AND array_length(k.conkey, 1) = 1 AND o.reltuples >= {LARGE}
               AND c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relname IN ({0})
               AND NOT (o.relnamespace = c.relnamespace AND o.relname IN ({0}))
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                               WHERE i.indrelid = o.oid AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = a.attnum)
             ORDER BY other, a.attname",
            tables()
        );
        ask(session, Some(schema), &query).await
    }
}
