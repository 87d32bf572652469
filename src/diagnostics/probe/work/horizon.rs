//! What keeps VACUUM from removing dead rows and from freezing old ones.

use crate::diagnostics::probe::ServerConnection;
use crate::store::StoreError;

/// Something that may still read old rows.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Reader {
    /// `session`, `prepared`, `replica`, `slot` or `catalog`, which is a slot that holds back the
    /// system's tables alone.
    pub(crate) kind: String,
    /// Of the transaction, the replica or the slot.
    pub(crate) name: String,
    /// Its server process, if it has one.
    pub(crate) pid: Option<i32>,
    /// How many transactions began after the oldest that it may read.
    pub(crate) age: i64,
    /// Since it began, in milliseconds; `None` if that is hidden, or it has no beginning.
    pub(crate) began: Option<i64>,
}

const READERS: &str = "
    SELECT kind, name, pid, age, began FROM (
        SELECT 'session' AS kind, '' AS name, a.pid,
               greatest(age(a.backend_xmin), age(a.backend_xid))::bigint AS age,
               (extract(epoch FROM clock_timestamp() - a.xact_start) * 1000)::bigint AS began
        FROM pg_catalog.pg_stat_activity a
        WHERE a.pid <> pg_backend_pid() AND a.datname = current_database()
          AND coalesce(a.backend_type, 'client backend') NOT IN ('walsender', 'autovacuum worker')
          AND a.pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_replication)
        UNION ALL
        SELECT 'prepared', gid, NULL, age(transaction)::bigint,
               (extract(epoch FROM clock_timestamp() - prepared) * 1000)::bigint
        FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()
        UNION ALL
        SELECT 'replica', coalesce(application_name, ''), pid, age(backend_xmin)::bigint, NULL
        FROM pg_catalog.pg_stat_replication
        UNION ALL
        SELECT 'slot', slot_name, active_pid, age(xmin)::bigint, NULL FROM pg_catalog.pg_replication_slots
        UNION ALL
        SELECT 'catalog', slot_name, active_pid, age(catalog_xmin)::bigint, NULL FROM pg_catalog.pg_replication_slots
    ) AS reader
    WHERE age IS NOT NULL ORDER BY age DESC, began DESC NULLS LAST";

impl ServerConnection {
    /// Those of this database, the one that reads the oldest rows first.
    pub(crate) async fn readers(&mut self) -> Result<Vec<Reader>, StoreError> {
        self.rows(READERS).await
    }
}
