//! How sessions are named, and how one is ended.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, sql_literal, sql_name};
use crate::diagnostics::probe::{Prepared, WorkSession, statement_kind};

/// A session in words, such as `pid 7 (psql, role app, idle in transaction for 12m)`.
pub(super) fn described(session: &WorkSession) -> String {
    let mut parts = Vec::new();
    match &session.backend_type {
        Some(kind) if kind != "client backend" => parts.push(kind.clone()),
        _ if session.application.is_empty() => parts.push("unnamed".to_owned()),
        _ => parts.push(session.application.clone()),
    }
    if !session.role.is_empty() {
        parts.push(format!("role {}", session.role));
    }
    if let Some(state) = &session.state {
        parts.push(format!("{state} for {}", in_time(session.state_age)));
    }
    if let Some(kind) = session.word.as_deref().and_then(statement_kind) {
        let last = if is_active(session) {
            ""
        } else {
            "last statement "
        };
        parts.push(format!("{last}{kind}"));
    }
    format!("pid {} ({})", session.pid, parts.join(", "))
}

/// Seconds in words.
pub(super) fn in_time(seconds: Option<i64>) -> String {
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let whole = Duration::from_secs(seconds.unwrap_or_default());
    humantime::format_duration(whole).to_string()
}

pub(super) fn is_active(session: &WorkSession) -> bool {
    session.state.as_deref() == Some("active")
}

/// How many seconds a session has been idle in a transaction.
pub(super) fn idle_in_transaction(session: &WorkSession) -> Option<i64> {
    let is_idle = session.state.as_deref()?.starts_with("idle in transaction");
    session.state_age.filter(|_| is_idle)
}

/// What ends the statement of a session that runs one, or else the session, in words and as a
/// statement. What it has not committed is rolled back.
fn ending(session: &WorkSession) -> (String, String) {
    let (function, what) = if is_active(session) {
        ("pg_cancel_backend", "statement")
    } else {
        ("pg_terminate_backend", "session")
    };
    // The process id alone may belong to another session when the line is pasted.
    let mut guard = format!("pid = {}", session.pid);
    if let Some(started) = &session.started {
        guard += &format!(" AND backend_start = {}", sql_literal(started));
    } else {
        guard += &format!(" AND usename = {}", sql_literal(&session.role));
    }
    let statement = format!("SELECT {function}(pid) FROM pg_stat_activity WHERE {guard}");
    let note = format!(
        "ends the {what} of pid {}; its uncommitted changes are rolled back",
        session.pid
    );
    (note, statement)
}

/// Ends it as a role that may.
pub(super) fn end(session: &WorkSession, server: &PostgresTarget) -> Remedy {
    let (mut note, statement) = ending(session);
    if session.may_signal {
        return Remedy::note(note).then(Remedy::sql(statement));
    }
    note += &format!("; {} may not do that, but ", server.user);
    note += &if session.is_superuser {
        "only a superuser".to_owned()
    } else {
        format!("a superuser and {}", session.role)
    };
    let administrator = session.administrator.as_deref();
    Remedy::note(note).then(Remedy::admin_sql(server, administrator, statement))
}

/// Ends it at a server that the configuration does not lead to.
pub(super) fn end_at(session: &WorkSession, server: &PostgresTarget) -> Remedy {
    let (note, statement) = ending(session);
    let administrator = session.administrator.as_deref();
    Remedy::note(note).then(Remedy::admin_sql(server, administrator, statement))
}

/// How a prepared transaction is ended: only its coordinator knows whether it has to be committed.
pub(super) fn end_prepared(prepared: &Prepared, server: &PostgresTarget) -> Remedy {
    let name = sql_literal(&prepared.name);
    Remedy::note(format!(
        "if its coordinator decided to commit it, COMMIT PREPARED {name} instead; this discards its changes"
    ))
    .then(if prepared.role == server.user {
        Remedy::sql(format!("ROLLBACK PREPARED {name}"))
    } else {
        Remedy::admin_sql(server, None, format!("ROLLBACK PREPARED {name}"))
    })
}

/// Where details of other roles' sessions are hidden: what is missing, and how to see it.
pub(super) fn hidden(server: &PostgresTarget) -> String {
    let role = sql_name(&server.user);
    format!(
        "states and ages of other roles' sessions are hidden; an administrator can show them: GRANT pg_read_all_stats TO {role}"
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::diagnostics::database::work) fn session(pid: i32, state: &str) -> WorkSession {
        WorkSession {
            pid,
            role: "app".to_owned(),
            application: "psql".to_owned(),
            state: Some(state.to_owned()),
            backend_type: Some("client backend".to_owned()),
            started: Some("2031-01-01 00:00:00.123456+00".to_owned()),
            state_age: Some(720),
            transaction_age: Some(720),
            word: Some("update".to_owned()),
            is_here: true,
            may_signal: true,
            administrator: Some("admin".to_owned()),
            is_superuser: false,
            waited: None,
            waits_for: None,
            blockers: Vec::new(),
            locked_tables: Vec::new(),
            used_tables: Vec::new(),
            changed_tables: Vec::new(),
            transaction: Some("3/7".to_owned()),
            is_migrating: false,
            seen_holding: None,
        }
    }

    pub(in crate::diagnostics::database::work) fn server() -> PostgresTarget {
        PostgresTarget::fixture("db.example.com", 5432)
    }

    #[test]
    fn sessions_are_described() {
        assert_eq!(
            described(&session(7, "idle in transaction")),
            "pid 7 (psql, role app, idle in transaction for 12m, last statement UPDATE)"
        );
        let mut hidden = session(8, "");
        (hidden.state, hidden.word, hidden.application) = (None, None, String::new());
        assert_eq!(described(&hidden), "pid 8 (unnamed, role app)");
    }

    #[test]
    fn a_process_id_that_is_used_again_is_not_hit() {
        let remedy = end(&session(7, "active"), &server()).to_string();
        assert!(remedy.contains("pg_cancel_backend(pid)"), "{remedy}");
        assert!(
            remedy.contains("backend_start = '2031-01-01 00:00:00.123456+00'"),
            "{remedy}"
        );
        let mut foreign = session(7, "idle in transaction");
        (foreign.may_signal, foreign.started) = (false, None);
        let remedy = end(&foreign, &server()).to_string();
        assert!(remedy.contains("pg_terminate_backend(pid)"), "{remedy}");
        assert!(remedy.contains("usename = 'app'"), "{remedy}");
        assert!(remedy.contains("psql -h db.example.com"), "{remedy}");
    }
}
