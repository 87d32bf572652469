//! Sessions that a pooler lends as an earlier client has left them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Environment, PostgresTarget, Remedy};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{LentSession, PgBouncer, SettingNow, lent_sessions};
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::store::inspect::Override;

use super::behind::{ASKING, RELOAD, reconnect};
use super::schema::{carried_over, in_order};
use super::work::check_session;

pub(super) async fn session(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let target = server.target;
    let sessions = match lent_sessions(target, limit.saturating_sub(ASKING)).await {
        Ok(sessions) => sessions,
        Err(error) => return Verdict::skip(format!("could not be asked: {error}")),
    };
    if sessions.iter().any(|one| !one.temporary.is_empty()) {
        return left_tables(&sessions, target).await;
    }
    let has_other_role = acts_as_other(context, target, &sessions).await;
    let environment = context.audit.environment;
    let found = Found::of(&sessions, has_other_role, environment, target);
    if found.texts.is_empty() {
        return Verdict::pass("as role and database have it");
    }
    let pooler = PgBouncer::ask(target, ASKING).await;
    let texts: Vec<String> = found
        .texts
        .iter()
        .map(|(text, count)| format!("{text}, in {count} of {}", sessions.len()))
        .collect();
    let detail = format!(
        "server connections that the pooler lends are not as role and database have them, but changed by SET: {}",
        texts.join("; ")
    );
    let remedy = found.remedy(pooler.as_ref(), target);
    if found.outcome == Outcome::Fail {
        Verdict::fail(detail, remedy)
    } else {
        Verdict::warn(detail, remedy)
    }
}

/// An earlier client has left temporary tables in sessions, which are found before all others: what
/// is written to them is lost when the session ends.
async fn left_tables(sessions: &[LentSession], target: &PostgresTarget) -> Verdict {
    let mut tables: Vec<String> = sessions
        .iter()
        .flat_map(|one| one.temporary.clone())
        .collect();
    in_order(&mut tables);
    tables.dedup();
    let left = sessions.iter().filter(|one| !one.temporary.is_empty());
    let pids: Vec<String> = left.map(|one| one.pid.to_string()).collect();
    let detail = format!(
        "{} of {} server connections that the pooler lends have a temporary table {} of another program (server processes {}): what requests write there is in no other session, and lost when that connection ends",
        pids.len(),
        sessions.len(),
        tables.join(" and "),
        pids.join(", ")
    );
    let schema = sessions.iter().find_map(|one| one.schema.as_deref());
    let save = schema.map(|schema| {
        let save: Vec<String> = tables
            .iter()
            .map(|table| carried_over(schema, table, &format!("pg_temp.{table}"), Some(SINCE)))
            .collect();
        // Together, so that each gets another server connection.
        let count = vec!["i"; sessions.len()].join(" ");
        let psql = Remedy::command("todoctl db psql --pooler -d")
            .arg(&target.database)
            .joined(" -c")
            .arg(format!("{}; SELECT pg_sleep(2)", save.join("; ")));
        Remedy::note("this copies what was written there since the connection began into the service's tables, and gives the temporary ones another name; it needs psql, and without it those rows are lost:")
            .then(Remedy::command(format!("for i in {count}; do {psql} & done; wait")))
    });
    let pooler = PgBouncer::ask(target, ASKING).await;
    let close = match &pooler {
        None => Remedy::note("let the pooler close its server connections, as by a restart"),
        Some(pooler) => reconnect(pooler, target),
    };
    let program = Remedy::note(
        "it comes back with the program that makes them: let it use ON COMMIT DROP in a transaction, other names, or DATABASE_URL_UNPOOLED; SHOW CLIENTS in the pooler's console names the programs by application_name",
    );
    Verdict::fail(
        detail,
        Remedy::default().then(save).then(close).then(program),
    )
}

/// Rows that are older were another program's own.
const SINCE: &str = "(SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())";

/// Whether `SET ROLE` lets a session act as another role. One that is configured is no fault here.
async fn acts_as_other(
    context: &Context,
    target: &PostgresTarget,
    sessions: &[LentSession],
) -> bool {
    if sessions.iter().all(|one| one.role == one.login) {
        return false;
    }
    let ask = context.server.ask(target, ASKING, async |connection| {
        Override::ask(connection.session()).await
    });
    let is_role = |one: &Override| one.name == "role";
    let is_set = ask.await.is_ok_and(|found| found.iter().any(is_role));
    let options = target.options.as_deref().unwrap_or_default();
    !is_set && !options.contains("role=")
}

/// What is wrong in how many sessions.
struct Found<'a> {
    outcome: Outcome,
    texts: BTreeMap<String, usize>,
    names: Vec<&'a str>,
    /// Whether a new server connection has it too.
    is_in_new: bool,
}

impl<'a> Found<'a> {
    fn of(
        sessions: &'a [LentSession],
        has_other_role: bool,
        environment: Environment,
        target: &PostgresTarget,
    ) -> Self {
        let mut found = Self {
            outcome: Outcome::Pass,
            texts: BTreeMap::new(),
            names: Vec::new(),
            is_in_new: false,
        };
        for session in sessions {
            let mut faults: Vec<(Outcome, &str, String)> = session
                .changed
                .iter()
                .filter_map(|one| failing(one, session))
                .collect();
            if has_other_role && session.role != session.login {
                let text = format!("the role {} acts", session.role);
                faults.push((Outcome::Fail, "role", text));
            }
            faults.extend(
                check_session(&session.changed, environment, target)
                    .into_iter()
                    .map(|(name, text)| (Outcome::Warn, name, text)),
            );
            for (outcome, name, text) in faults {
                if found.outcome != Outcome::Fail {
                    found.outcome = outcome;
                }
                if !found.names.contains(&name) {
                    found.names.push(name);
                }
                *found.texts.entry(text).or_default() += 1;
                found.is_in_new |= session.is_new;
            }
        }
        found
    }

    fn remedy(&self, pooler: Option<&PgBouncer>, target: &PostgresTarget) -> Remedy {
        let names = self.names.join(" and ");
        let database = &target.database;
        let Some(pooler) = pooler else {
            return Remedy::note(format!(
                "let the pooler close its server connections, as by a restart; it was a client of the pooler that has changed {names}: let it use SET LOCAL, or connect to the server directly"
            ));
        };
        if self.is_in_new {
            return Remedy::note(format!(
                "new server connections have it too: in pgbouncer.ini, take {names} out of connect_query of the line {database}, {RELOAD}; then, in its console: RECONNECT {database}"
            ));
        }
        reconnect(pooler, target).then(Remedy::note(format!(
            "it comes back if a client of the pooler runs SET again: let it use SET LOCAL, or set server_reset_query = DISCARD ALL and server_reset_query_always = 1 in pgbouncer.ini, {RELOAD}; if it comes back at once, connect_query of the line {database} has it"
        )))
    }
}

/// A setting with which requests fail.
fn failing<'a>(
    setting: &'a SettingNow,
    session: &LentSession,
) -> Option<(Outcome, &'a str, String)> {
    let text = match (setting.name.as_str(), setting.value.as_str()) {
        ("default_transaction_read_only", "on") => {
            "default_transaction_read_only is on: changes fail".to_owned()
        }
        ("search_path", path) if session.finds_other_tasks => format!(
            "search_path is {}: it does not lead to the service's tables",
            if path.is_empty() { "empty" } else { path }
        ),
        ("session_replication_role", value) if value != "origin" => {
            format!("session_replication_role is {value}: no trigger and no foreign key works")
        }
        _ => return None,
    };
    Some((Outcome::Fail, &setting.name, text))
}
