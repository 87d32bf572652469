//! The files of todoctl's tables and indexes.

use sqlx::PgConnection;

use super::{StoreError, ask, tables};

/// A table, one of its indexes, or the place of its long texts.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct StoredFile {
    /// With schema and quotes.
    pub(crate) name: String,
    pub(crate) plain_name: String,
    /// The table that it belongs to, with schema and quotes.
    pub(crate) table: String,
    /// In the server's data directory.
    pub(crate) path: String,
    pub(crate) is_index: bool,
    /// Whether the role is a member of the owner, and so may build it again.
    pub(crate) is_owned: bool,
}

impl StoredFile {
    /// Those of the tables that the names lead to.
    pub(crate) async fn ask(session: &mut PgConnection) -> Result<Vec<Self>, StoreError> {
        let query = format!(
            "WITH ours AS (
                 SELECT c.oid, c.reltoastrelid AS texts, format('%I.%I', n.nspname, c.relname) AS name,
                        pg_has_role(c.relowner, 'USAGE') AS is_owned
                 FROM pg_catalog.pg_class c
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.relkind = 'r' AND pg_catalog.pg_table_is_visible(c.oid)
                   AND c.relname IN ({}, '_sqlx_migrations')
             )
             SELECT format('%I.%I', n.nspname, f.relname) AS name, f.relname::text AS plain_name,
                    o.name AS \"table\", pg_relation_filepath(f.oid) AS path,
                    f.relkind = 'i' AS is_index, o.is_owned
             FROM ours o
             JOIN pg_catalog.pg_class f ON f.oid IN (o.oid, o.texts)
                 OR f.oid IN (SELECT i.indexrelid FROM pg_catalog.pg_index i
                              WHERE i.indrelid IN (o.oid, o.texts))
             JOIN pg_catalog.pg_namespace n ON n.oid = f.relnamespace
             ORDER BY f.oid",
            tables()
        );
        ask(session, None, &query).await
    }

    /// The table, whose name ends with `suffix` more.
    pub(crate) fn table_with(&self, suffix: &str) -> String {
        match self.table.strip_suffix('"') {
            Some(quoted) => format!("{quoted}{suffix}\""),
            None => format!("{}{suffix}", self.table),
        }
    }
}
