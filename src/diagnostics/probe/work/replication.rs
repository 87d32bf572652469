//! Replicas, replication slots and the archive.

use crate::diagnostics::probe::ServerConnection;
use crate::store::StoreError;

/// A connected replica.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Replica {
    pub(crate) application: String,
    /// `None` if it is hidden from this role.
    pub(crate) state: Option<String>,
    /// Whether commits wait for it; `None` if that is hidden.
    pub(crate) is_synchronous: Option<bool>,
    /// Seconds until it has replayed what was written; `None` if unknown or idle.
    pub(crate) lag_seconds: Option<i64>,
    /// What it has not replayed yet.
    pub(crate) lag_bytes: Option<i64>,
}

const REPLICAS: &str = "
    SELECT coalesce(application_name, '') AS application, state,
           sync_state IN ('sync', 'quorum') AS is_synchronous,
           extract(epoch FROM replay_lag)::bigint AS lag_seconds,
           CASE WHEN NOT pg_is_in_recovery() THEN
               pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint END AS lag_bytes
    FROM pg_catalog.pg_stat_replication ORDER BY 1";

/// A replication slot that nobody reads.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Slot {
    pub(crate) name: String,
    /// What the server keeps for it.
    pub(crate) held_bytes: Option<i64>,
}

const SLOTS: &str = "
    SELECT slot_name::text AS name,
           CASE WHEN NOT pg_is_in_recovery() THEN
               pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint END AS held_bytes
    FROM pg_catalog.pg_replication_slots WHERE NOT active ORDER BY 2 DESC NULLS LAST";

/// The archive of the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Archiver {
    pub(crate) is_on: bool,
    /// Whether the newest attempt failed.
    pub(crate) fails: bool,
    pub(crate) failed_count: i64,
    /// Seconds since the newest success; `None` before the first.
    pub(crate) last_success: Option<i64>,
    /// `synchronous_standby_names`.
    pub(crate) synchronous: String,
    /// `synchronous_commit`.
    pub(crate) commit: String,
    pub(crate) is_standby: bool,
    /// How many commits have waited for a replica for more than a second, as far as this role sees
    /// them.
    pub(crate) waiting: i64,
    /// `data_directory`; `None` if it is hidden from this role.
    pub(crate) data_directory: Option<String>,
}

const ARCHIVER: &str = "
    SELECT current_setting('archive_mode') <> 'off' AS is_on,
           coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS fails,
           failed_count, extract(epoch FROM clock_timestamp() - last_archived_time)::bigint AS last_success,
           current_setting('synchronous_standby_names') AS synchronous,
           current_setting('synchronous_commit') AS commit,
           pg_is_in_recovery() AS is_standby,
           (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory') AS data_directory,
           (SELECT count(*) FROM pg_catalog.pg_stat_activity
            WHERE wait_event = 'SyncRep'
              AND query_start < clock_timestamp() - interval '1 second') AS waiting
    FROM pg_catalog.pg_stat_archiver";

/// What copies of the server there are, and what waits for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replication {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) unread_slots: Vec<Slot>,
    pub(crate) archiver: Archiver,
}

impl ServerConnection {
    pub(crate) async fn replication(&mut self) -> Result<Replication, StoreError> {
        Ok(Replication {
            replicas: self.rows(REPLICAS).await?,
            unread_slots: self.rows(SLOTS).await?,
            archiver: self.row(ARCHIVER).await?,
        })
    }
}
