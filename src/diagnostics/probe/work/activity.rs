//! Sessions: who works, who waits, and for whom.

use crate::store::StoreError;
use crate::store::migrate::migration_lock_id;

use super::is_ours;
use crate::diagnostics::probe::ServerConnection;

/// What a session shows of itself. Other roles' states and ages are hidden from roles without
/// `pg_read_all_stats`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "columns of a query, of which each combination occurs"
)]
pub(crate) struct WorkSession {
    pub(crate) pid: i32,
    pub(crate) role: String,
    pub(crate) application: String,
    /// Such as `idle in transaction`; `None` if it is hidden.
    pub(crate) state: Option<String>,
    pub(crate) backend_type: Option<String>,
    /// When the session began: a process id may be used again.
    pub(crate) started: Option<String>,
    /// Seconds since the session entered its state.
    pub(crate) state_age: Option<i64>,
    /// Seconds since its transaction began.
    pub(crate) transaction_age: Option<i64>,
    /// The first word of its statement.
    pub(crate) word: Option<String>,
    /// Whether it is in this database.
    pub(crate) is_here: bool,
    /// Whether this role may end it.
    pub(crate) may_signal: bool,
    /// A superuser that may log in.
    pub(crate) administrator: Option<String>,
    /// Whether only superusers may end it.
    pub(crate) is_superuser: bool,
    /// Seconds that it has waited for a lock; `None` if it does not wait.
    pub(crate) waited: Option<i64>,
    /// What it waits for, such as `table tasks`.
    pub(crate) waits_for: Option<String>,
    pub(crate) blockers: Vec<i32>,
    /// The service's tables, their indexes and sequences that it has locked so that nobody else
    /// may change them.
    pub(crate) locked_tables: Vec<String>,
    /// Those that it has changed or read in its transaction.
    pub(crate) used_tables: Vec<String>,
    /// The service's tables of which it has changed or locked rows, and not committed.
    pub(crate) changed_tables: Vec<String>,
    /// Its transaction, by which two looks at it are compared.
    pub(crate) transaction: Option<String>,
    /// Whether it holds the lock under which migrations run.
    pub(crate) is_migrating: bool,
    /// Seconds that it has been seen to hold its locks, where its times are hidden.
    #[sqlx(skip)]
    pub(crate) seen_holding: Option<i64>,
}

/// All sessions, and whether their details are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activity {
    pub(crate) sessions: Vec<WorkSession>,
    /// Whether some of them hide their state from this role.
    pub(crate) is_partial: bool,
}

/// `waitstart` is there since PostgreSQL 14.
const SESSIONS: &str = concat!(
    "WITH here AS (
         SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()
     ), locks AS MATERIALIZED (
         SELECT l.*, o.relkind, l.database = here.oid AS is_here, (to_jsonb(l) ->> 'waitstart')::timestamptz AS since,
                CASE WHEN ",
    is_ours!(),
    "        THEN o.relname::text END AS ours
         FROM here, pg_catalog.pg_locks l
         -- Databases that were copied from one template share the numbers of their tables.
         LEFT JOIN pg_catalog.pg_class o
           ON o.oid = l.relation AND l.database = (SELECT oid FROM here)
         -- The table of an index or of a sequence.
         LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = o.oid
         LEFT JOIN pg_catalog.pg_depend d
           ON d.objid = o.oid AND d.classid = 'pg_catalog.pg_class'::regclass
          AND d.refclassid = 'pg_catalog.pg_class'::regclass
          AND d.deptype IN ('a', 'i') AND o.relkind = 'S'
         LEFT JOIN pg_catalog.pg_class c ON c.oid = coalesce(i.indrelid, d.refobjid, o.oid)
     ), waits AS (
         SELECT DISTINCT ON (pid) * FROM locks WHERE NOT granted ORDER BY pid
     )
     SELECT a.pid, coalesce(a.usename::text, '') AS role, coalesce(a.application_name, '') AS application,
            a.state, a.backend_type, a.backend_start::text AS started,
            extract(epoch FROM clock_timestamp() - a.state_change)::bigint AS state_age,
            extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS transaction_age,
            CASE WHEN a.query NOT LIKE '<%' THEN substring(a.query FROM E'^[\\\\s(]*([A-Za-z]{2,20})\\\\M') END AS word,
            a.datname IS NOT DISTINCT FROM current_database() AS is_here,
            coalesce((SELECT me.rolsuper FROM pg_catalog.pg_roles me WHERE me.rolname = current_user)
                OR NOT r.rolsuper AND (pg_has_role(r.oid, 'MEMBER') OR pg_has_role('pg_signal_backend', 'MEMBER')),
                false) AS may_signal,
            (SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolsuper AND rolcanlogin
             ORDER BY rolname <> 'postgres', rolname LIMIT 1) AS administrator,
            coalesce(r.rolsuper, true) AS is_superuser,
            CASE WHEN w.pid IS NOT NULL THEN
                coalesce(extract(epoch FROM clock_timestamp() - coalesce(w.since, a.state_change)), 0)::bigint
            END AS waited,
            CASE
                WHEN w.locktype IN ('relation', 'tuple', 'extend', 'page') THEN
                    CASE WHEN w.is_here THEN 'table ' || w.relation::regclass::text ELSE 'a table of another database' END
                WHEN w.locktype IN ('transactionid', 'virtualxid') THEN 'a row or transaction'
                WHEN w.pid IS NOT NULL THEN w.locktype || ' lock'
            END AS waits_for,
            CASE WHEN w.pid IS NOT NULL THEN pg_blocking_pids(a.pid) ELSE '{}' END AS blockers,
            ARRAY(SELECT DISTINCT ours FROM locks
                  -- Who waits for a row holds a lock on it, not on the table.
                  WHERE pid = a.pid AND granted AND ours IS NOT NULL AND locktype = 'relation'
                    AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                  ORDER BY ours) AS locked_tables,
            ARRAY(SELECT DISTINCT ours FROM locks
                  WHERE pid = a.pid AND granted AND ours IS NOT NULL ORDER BY ours) AS used_tables,
            -- A transaction has a number of its own once it has changed or locked a row.
            ARRAY(SELECT DISTINCT ours FROM locks
                  WHERE pid = a.pid AND granted AND ours IS NOT NULL AND locktype = 'relation'
                    AND relkind IN ('r', 'p') AND mode IN ('RowShareLock', 'RowExclusiveLock')
                    AND EXISTS (SELECT FROM locks x WHERE x.pid = a.pid AND x.granted
                                  AND x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock')
                  ORDER BY ours) AS changed_tables,
            (SELECT min(virtualtransaction) FROM locks WHERE pid = a.pid) AS transaction,
            EXISTS (SELECT FROM locks WHERE pid = a.pid AND granted AND is_here AND locktype = 'advisory' AND objsubid = 1
                    AND classid = (({id} >> 32) & 4294967295)::oid AND objid = ({id} & 4294967295)::oid
            ) AS is_migrating
     FROM pg_catalog.pg_stat_activity a
     LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
     LEFT JOIN waits w ON w.pid = a.pid
     WHERE a.pid <> pg_backend_pid()
     ORDER BY a.pid"
);

/// A transaction that waits for the second phase of its commit.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) role: String,
    /// In seconds.
    pub(crate) age: i64,
    pub(crate) is_here: bool,
    /// The service's tables that it has locked so that nobody else may change them.
    pub(crate) locked_tables: Vec<String>,
}

/// Its locks have no process, and the virtual number of the lock on its own transaction.
const PREPARED: &str = concat!(
    "SELECT gid AS name, owner::text AS role, extract(epoch FROM clock_timestamp() - prepared)::bigint AS age,
            database = current_database() AS is_here,
            ARRAY(SELECT DISTINCT c.relname::text FROM pg_catalog.pg_locks l
                  JOIN pg_catalog.pg_class c ON c.oid = l.relation
                  WHERE l.pid IS NULL AND l.virtualtransaction IN (
                        SELECT x.virtualtransaction FROM pg_catalog.pg_locks x
                        WHERE x.pid IS NULL AND x.locktype = 'transactionid' AND x.transactionid = p.transaction)
                    AND p.database = current_database()
                    AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                    AND ",
    is_ours!(),
    "             ORDER BY 1) AS locked_tables
     FROM pg_catalog.pg_prepared_xacts p ORDER BY prepared"
);

/// The client connections of one application and role, to this database or to the others.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Users {
    pub(crate) application: String,
    pub(crate) role: String,
    /// Whether they are to this database.
    pub(crate) is_here: bool,
    pub(crate) connections: i64,
    /// The ones that have done nothing for [`IDLE_SECONDS`]; `None` if that is hidden.
    pub(crate) idle: Option<i64>,
}

/// A pool that works uses its connections more often.
pub(crate) const IDLE_SECONDS: i64 = 10;

const USERS: &str = "
    SELECT coalesce(application_name, '') AS application, coalesce(usename::text, '') AS role,
           coalesce(datname = current_database(), FALSE) AS is_here, count(*) AS connections,
           CASE WHEN bool_and(state IS NOT NULL) THEN
               count(*) FILTER (WHERE state = 'idle' AND state_change < clock_timestamp() - interval '10 s')
           END AS idle
    FROM pg_catalog.pg_stat_activity
    WHERE (backend_type IS NULL OR backend_type = 'client backend') AND pid <> pg_backend_pid()
      AND usename IS NOT NULL
    GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3";

impl ServerConnection {
    pub(crate) async fn activity(&mut self, database: &str) -> Result<Activity, StoreError> {
        let id = format!("({}::bigint)", migration_lock_id(database));
        let mut sessions: Vec<WorkSession> = self.rows(&SESSIONS.replace("{id}", &id)).await?;
        for session in &mut sessions {
            session.application = printable(&session.application);
        }
        let is_client = |one: &&WorkSession| !one.role.is_empty();
        let is_partial = sessions
            .iter()
            .filter(is_client)
            .any(|one| one.started.is_none());
        Ok(Activity {
            sessions,
            is_partial,
        })
    }

    /// Transactions that are prepared, the oldest first.
    pub(crate) async fn prepared(&mut self) -> Result<Vec<Prepared>, StoreError> {
        self.rows(PREPARED).await
    }

    /// The other client connections, those of the busiest application first.
    pub(crate) async fn users(&mut self) -> Result<Vec<Users>, StoreError> {
        let mut users: Vec<Users> = self.rows(USERS).await?;
        for one in &mut users {
            one.application = printable(&one.application);
        }
        Ok(users)
    }
}

/// Clients choose their names. PostgreSQL replaces control characters and shortens names to 63
/// bytes; poolers that pretend to be it may not.
fn printable(name: &str) -> String {
    let plain = name.chars().filter(|one| !one.is_control());
    plain.take(63).collect()
}

/// The kind of a statement by its first word; `None` if that is not one of SQL's, because it may
/// then be anything.
pub(crate) fn statement_kind(word: &str) -> Option<&'static str> {
    const KINDS: [&str; 30] = [
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE",
        "WITH",
        "COPY",
        "CALL",
        "DO",
        "EXECUTE",
        "FETCH",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "LOCK",
        "ALTER",
        "CREATE",
        "DROP",
        "TRUNCATE",
        "VACUUM",
        "ANALYZE",
        "REINDEX",
        "CLUSTER",
        "REFRESH",
        "GRANT",
        "REVOKE",
        "SET",
        "SHOW",
        "LISTEN",
    ];
    let mut known = KINDS.into_iter();
    known.find(|kind| kind.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_sql_are_kinds() {
        assert_eq!(statement_kind("update"), Some("UPDATE"));
        assert_eq!(statement_kind("hunter"), None);
    }

    #[test]
    fn names_of_clients_are_printable() {
        assert_eq!(printable("a\u{1b}[31m\nb"), "a[31mb");
        assert_eq!(printable(&"x".repeat(100)).len(), 63);
    }
}
