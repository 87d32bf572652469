//! Child tables of todoctl's tables, whose rows are read as those of the parent.

use sqlx::PgConnection;

use crate::config::{sql_literal, sql_name};

use super::{StoreError, ask, tables};

/// A table that inherits from one of todoctl's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heir {
    pub(crate) table: String,
    /// With schema and quotes.
    pub(crate) child: String,
    /// Whether the role may alter both.
    pub(crate) is_owned: bool,
    pub(crate) has_rows: bool,
    /// Whether an id is in both tables.
    pub(crate) has_copies: bool,
}

#[derive(sqlx::FromRow)]
struct Pair {
    table: String,
    child: String,
    is_owned: bool,
    has_id: bool,
}

impl Heir {
    pub(crate) async fn ask(
        session: &mut PgConnection,
        schema: &str,
    ) -> Result<Vec<Self>, StoreError> {
        let query = format!(
            "SELECT p.relname::text AS table, format('%I.%I', n.nspname, c.relname) AS child,
                    pg_has_role(c.relowner, 'USAGE') AND pg_has_role(p.relowner, 'USAGE') AS is_owned,
                    EXISTS (SELECT FROM pg_catalog.pg_attribute a
                            WHERE a.attrelid = p.oid AND a.attname = 'id') AS has_id
             FROM pg_catalog.pg_inherits i
             JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
             JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE p.relnamespace = to_regnamespace(quote_ident(current_schema()))
               AND p.relname IN ({}) AND NOT c.relispartition
             ORDER BY 1, 2",
            tables()
        );
        let pairs: Vec<Pair> = ask(session, Some(schema), &query).await?;
        let mut heirs = Vec::new();
        for pair in pairs {
            let table = sql_name(&pair.table);
            // The role may read the child as a part of the parent.
            let child = format!("{}::regclass", sql_literal(&pair.child));
            let copies = if pair.has_id {
                format!(
                    "EXISTS (SELECT FROM {table} c JOIN ONLY {table} p USING (id) WHERE c.tableoid = {child})"
                )
            } else {
                "false".to_owned()
            };
            let query = format!(
                "SELECT EXISTS (SELECT FROM {table} WHERE tableoid = {child}) AS has_rows, {copies} AS has_copies"
            );
            let answer: Vec<(bool, bool)> = ask(session, Some(schema), &query).await?;
            let (has_rows, has_copies) = answer.first().copied().unwrap_or_default();
            heirs.push(Self {
                table: pair.table,
                child: pair.child,
                is_owned: pair.is_owned,
                has_rows,
                has_copies,
            });
        }
        Ok(heirs)
    }
}
