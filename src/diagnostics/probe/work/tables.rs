//! What vacuum, statistics and indexes of the service's tables are like.

use super::is_ours;
use crate::diagnostics::probe::ServerConnection;
use crate::store::migrate::is_named_by_migrations;
use crate::store::{SearchIndex, StoreError};

/// A table of the service.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Table {
    /// Quoted, with its schema.
    pub(crate) name: String,
    pub(crate) live: i64,
    pub(crate) dead: i64,
    /// The number of dead rows beyond which autovacuum works on the table.
    pub(crate) vacuum_at: i64,
    pub(crate) bytes: i64,
    /// What the rows would take without gaps, by the statistics; `None` without statistics.
    pub(crate) needed_bytes: Option<i64>,
    /// Whether `ANALYZE` has never run.
    pub(crate) is_unanalyzed: bool,
    /// Whether autovacuum is off for this table alone.
    pub(crate) is_unattended: bool,
    /// The options of the table, and those of its part for long texts, which begin with `toast.`.
    pub(crate) options: Vec<String>,
    /// The same as `vacuum_at`, by the server's settings alone.
    pub(crate) server_vacuum_at: i64,
    /// How many milliseconds ago VACUUM ended.
    pub(crate) vacuumed: Option<i64>,
}

/// A row's header and pointer take 28 bytes (PostgreSQL, "Database Page Layout"), and each row is
/// padded to 8. Sizes are of the table's main part: a long text is kept elsewhere.
const TABLES: &str = concat!(
    "SELECT format('%I.%I', n.nspname, c.relname) AS name,
            greatest(coalesce(s.n_live_tup, 0), c.reltuples::bigint) AS live,
            coalesce(s.n_dead_tup, 0) AS dead,
            (coalesce(substring(c.reloptions::text FROM 'autovacuum_vacuum_threshold=([0-9]+)'),
                      current_setting('autovacuum_vacuum_threshold'))::float8
             + coalesce(substring(c.reloptions::text FROM 'autovacuum_vacuum_scale_factor=([0-9.]+)'),
                        current_setting('autovacuum_vacuum_scale_factor'))::float8
               * greatest(c.reltuples, 0))::bigint AS vacuum_at,
            pg_relation_size(c.oid) AS bytes,
            (SELECT (c.reltuples * (28 + 4 + sum((1 - t.null_frac) * t.avg_width)))::bigint
             FROM pg_catalog.pg_stats t
             WHERE t.schemaname = n.nspname AND t.tablename = c.relname AND c.reltuples > 0) AS needed_bytes,
            (c.reltuples <= 0 OR NOT row_security_active(c.oid))
                AND s.last_analyze IS NULL AND s.last_autoanalyze IS NULL
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_stats t
                                WHERE t.schemaname = n.nspname AND t.tablename = c.relname) AS is_unanalyzed,
            coalesce(c.reloptions::text ~* 'autovacuum_enabled=(false|off|0|no)', false) AS is_unattended,
            coalesce(c.reloptions, '{}') || ARRAY(
                SELECT 'toast.' || one FROM pg_catalog.pg_class t, unnest(t.reloptions) AS one WHERE t.oid = c.reltoastrelid
            ) AS options,
            (current_setting('autovacuum_vacuum_threshold')::float8
             + current_setting('autovacuum_vacuum_scale_factor')::float8 * greatest(c.reltuples, 0))::bigint AS server_vacuum_at,
            (extract(epoch FROM clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum)) * 1000)::bigint AS vacuumed
     FROM pg_catalog.pg_class c
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_stat_user_tables s ON s.relid = c.oid
     WHERE c.relkind = 'r' AND ",
    is_ours!(),
    " ORDER BY c.relname"
);

/// How far the database nearest to a wraparound is from it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Age {
    pub(crate) database: String,
    /// Transactions since its oldest row was frozen.
    pub(crate) transactions: i64,
    pub(crate) multixacts: i64,
    /// Where autovacuum begins to freeze whatever else it is told.
    pub(crate) freeze_at: i64,
    pub(crate) multixact_freeze_at: i64,
    /// Whether autovacuum runs at all.
    pub(crate) is_autovacuum_on: bool,
}

const AGE: &str = "
    SELECT d.datname::text AS database, age(d.datfrozenxid)::bigint AS transactions,
           mxid_age(d.datminmxid)::bigint AS multixacts,
           current_setting('autovacuum_freeze_max_age')::bigint AS freeze_at,
           current_setting('autovacuum_multixact_freeze_max_age')::bigint AS multixact_freeze_at,
           current_setting('autovacuum')::bool AND current_setting('track_counts')::bool AS is_autovacuum_on
    FROM pg_catalog.pg_database d
    ORDER BY greatest(age(d.datfrozenxid), mxid_age(d.datminmxid)) DESC LIMIT 1";

/// An index that is not the service's own, on one of its tables.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Index {
    /// Quoted, with its schema.
    pub(crate) name: String,
    /// Without quotes and schema.
    pub(crate) plain_name: String,
    pub(crate) table: String,
    pub(crate) bytes: i64,
    pub(crate) scans: i64,
    /// Another index of the same columns, order and condition.
    pub(crate) same_as: Option<String>,
    /// Days since the statistics began, at least; `None` if that is not known.
    pub(crate) counted_days: Option<i64>,
}

/// No index that a constraint needs: dropping it would change what may be stored.
const INDEXES: &str = concat!(
    "SELECT format('%I.%I', n.nspname, i.relname) AS name, i.relname::text AS plain_name,
            c.relname::text AS \"table\", pg_relation_size(i.oid) AS bytes, coalesce(s.idx_scan, 0) AS scans,
            (SELECT o.relname::text
             FROM pg_catalog.pg_index y JOIN pg_catalog.pg_class o ON o.oid = y.indexrelid
             WHERE y.indrelid = x.indrelid AND y.indexrelid <> x.indexrelid AND y.indisvalid
               AND o.relam = i.relam AND y.indkey::text = x.indkey::text AND y.indclass = x.indclass
               AND y.indcollation = x.indcollation AND y.indoption::text = x.indoption::text
               AND coalesce(pg_get_expr(y.indexprs, y.indrelid), '') = coalesce(pg_get_expr(x.indexprs, x.indrelid), '')
               AND coalesce(pg_get_expr(y.indpred, y.indrelid), '') = coalesce(pg_get_expr(x.indpred, x.indrelid), '')
             ORDER BY y.indisunique DESC, o.relname LIMIT 1) AS same_as,
            (extract(epoch FROM clock_timestamp() - coalesce(d.stats_reset, pg_postmaster_start_time())) / 86400)::bigint AS counted_days
     FROM pg_catalog.pg_index x
     JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
     JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
     JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
     LEFT JOIN pg_catalog.pg_stat_user_indexes s ON s.indexrelid = i.oid
     LEFT JOIN pg_catalog.pg_stat_database d ON d.datname = current_database()
     WHERE NOT x.indisunique AND x.indisvalid AND NOT x.indisreplident AND ",
    is_ours!(),
    "  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.oid)
       -- No table of others that hides the service's.
       AND coalesce(c.relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class
                                      WHERE oid = to_regclass('_sqlx_migrations')), true)
     ORDER BY pg_relation_size(i.oid) DESC, i.relname"
);

/// What the server has done for this database since its statistics began.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Load {
    pub(crate) database_bytes: i64,
    /// Blocks of the service's tables and indexes that were asked for, and those in the cache.
    pub(crate) blocks: i64,
    pub(crate) cached_blocks: i64,
    pub(crate) temporary_files: i64,
    pub(crate) temporary_bytes: i64,
    pub(crate) deadlocks: i64,
    /// `data_directory`; `None` if it is hidden from this role.
    pub(crate) data_directory: Option<String>,
}

const LOAD: &str = concat!(
    "SELECT pg_database_size(current_database()) AS database_bytes,
            d.temp_files AS temporary_files, d.temp_bytes AS temporary_bytes, d.deadlocks,
            (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory') AS data_directory,
            coalesce(io.hit + io.read, 0)::bigint AS blocks, coalesce(io.hit, 0)::bigint AS cached_blocks
     FROM pg_catalog.pg_stat_database d,
          (SELECT sum(coalesce(t.heap_blks_hit, 0) + coalesce(t.idx_blks_hit, 0)) AS hit,
                  sum(coalesce(t.heap_blks_read, 0) + coalesce(t.idx_blks_read, 0)) AS read
           FROM pg_catalog.pg_statio_user_tables t
           JOIN pg_catalog.pg_class c ON c.oid = t.relid WHERE ",
    is_ours!(),
    "     ) io
     WHERE d.datname = current_database()"
);

impl ServerConnection {
    /// The service's tables by name.
    pub(crate) async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        self.rows(TABLES).await
    }

    pub(crate) async fn age(&mut self) -> Result<Age, StoreError> {
        self.row(AGE).await
    }

    /// The indexes that neither a migration nor a constraint needs, the largest first.
    pub(crate) async fn foreign_indexes(&mut self) -> Result<Vec<Index>, StoreError> {
        let mut indexes: Vec<Index> = self.rows(INDEXES).await?;
        indexes.retain(|index| {
            let name = index.plain_name.as_str();
            !is_named_by_migrations(name) && name != SearchIndex::Trigrams.name()
        });
        Ok(indexes)
    }

    pub(crate) async fn load(&mut self) -> Result<Load, StoreError> {
        self.row(LOAD).await
    }
}

#[cfg(test)]
impl Index {
    pub(crate) fn fixture(scans: i64, counted_days: Option<i64>) -> Self {
        Self {
            name: "public.added".to_owned(),
            plain_name: "added".to_owned(),
            table: "tasks".to_owned(),
            bytes: 8 << 20,
            scans,
            same_as: None,
            counted_days,
        }
    }
}
