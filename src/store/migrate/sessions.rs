//! Which session of PostgreSQL holds a lock.

use std::fmt;
use std::time::Duration;

use sqlx::PgConnection;

/// A session of PostgreSQL, as `pg_stat_activity` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub pid: i32,
    /// The client's `application_name`.
    pub name: Option<String>,
    /// What it does, and since when: `idle in transaction for 12 min`.
    pub state: String,
    /// The locked table; empty for an advisory lock.
    pub table: String,
    /// Whether this role may end it.
    pub may_signal: bool,
}

impl fmt::Display for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid, name, state, ..
        } = self;
        let name = name.as_deref().unwrap_or("unnamed");
        write!(f, "pid {pid} ({name}, {state})")
    }
}

/// Whether this role may end the session `a` of `pg_stat_activity`.
macro_rules! may_signal {
    () => {
        "coalesce((SELECT (SELECT me.rolsuper FROM pg_catalog.pg_roles me WHERE me.rolname = current_user)
             OR NOT r.rolsuper AND (pg_has_role(r.oid, 'MEMBER') OR pg_has_role('pg_signal_backend', 'MEMBER'))
             FROM pg_catalog.pg_roles r WHERE r.oid = a.usesysid), false)"
    };
}

/// Who holds the advisory lock `$1`: `pg_locks` has its key in two halves.
const ADVISORY_HOLDER: &str = concat!(
    "SELECT l.pid, CAST(a.application_name AS text), CAST(a.state AS text),
         CAST(EXTRACT(EPOCH FROM clock_timestamp() - a.state_change) AS bigint), '', ",
    may_signal!(),
    " FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
       AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
       AND l.classid = CAST((CAST($1 AS bigint) >> 32) & 4294967295 AS oid)
       AND l.objid = CAST(CAST($1 AS bigint) & 4294967295 AS oid)"
);

/// Other sessions that hold locks on tables: first those whose locks keep everybody away, then
/// the oldest transaction. That of another role may be hidden; those of this one are short.
const TABLE_HOLDERS: &str = concat!(
    "SELECT l.pid, CAST(a.application_name AS text), CAST(a.state AS text),
         CAST(EXTRACT(EPOCH FROM clock_timestamp() - a.state_change) AS bigint), CAST(c.relname AS text), ",
    may_signal!(),
    " FROM pg_catalog.pg_locks l
     JOIN pg_catalog.pg_class c ON c.oid = l.relation
     JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
       -- Databases that were copied from one template share the numbers of their tables.
       AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
       AND c.relkind IN ('r', 'p') AND c.relnamespace = to_regnamespace(current_schema()::text)
     ORDER BY l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') DESC,
         a.xact_start NULLS FIRST"
);

type SessionRow = (
    i32,
    Option<String>,
    Option<String>,
    Option<i64>,
    String,
    bool,
);

fn session_info((pid, name, state, seconds, table, may_signal): SessionRow) -> SessionInfo {
    let state = state.unwrap_or_else(|| "state unknown".to_owned());
    SessionInfo {
        pid,
        name: name.filter(|name| !name.is_empty()),
        state: match seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
            Some(seconds) => {
                let age = humantime::format_duration(Duration::from_secs(seconds));
                format!("{state} for {age}")
            }
            None => state,
        },
        table,
        may_signal,
    }
}

/// The session that holds a lock on a table that `statement` names. `None` if there is none
/// any more, or if the server does not say.
pub(super) async fn table_holder(
    connection: &mut PgConnection,
    statement: &str,
) -> Option<SessionInfo> {
    let rows: Vec<SessionRow> = sqlx::query_as(TABLE_HOLDERS)
        .fetch_all(connection)
        .await
        .ok()?;
    let words: Vec<&str> = statement
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let mut sessions = rows.into_iter().map(session_info);
    sessions.find(|session| words.contains(&session.table.as_str()))
}

/// The session that holds the advisory lock `id`.
pub(super) async fn advisory_holder(
    connection: &mut PgConnection,
    id: i64,
) -> Result<Option<SessionInfo>, sqlx::Error> {
    let row: Option<SessionRow> = sqlx::query_as(ADVISORY_HOLDER)
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(session_info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_described() {
        let text = |name: &str, state: &str, seconds| {
            let row = (
                7,
                Some(name.into()),
                Some(state.into()),
                seconds,
                String::new(),
                true,
            );
            session_info(row).to_string()
        };
        assert_eq!(
            text("psql", "idle in transaction", Some(720)),
            "pid 7 (psql, idle in transaction for 12m)"
        );
        assert_eq!(text("", "active", None), "pid 7 (unnamed, active)");
    }
}
