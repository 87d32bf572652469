//! Sessions that a pooler lends as an earlier client has left them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Environment, PostgresTarget, Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{LentSession, PgBouncer, SettingNow, lent_sessions};
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::store::inspect::Override;

use super::behind::{ASKING, RELOAD, in_console};
use super::work::check_session;

pub(super) async fn session(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let target = server.target;
    let sessions = match lent_sessions(target, limit.saturating_sub(ASKING)).await {
        Ok(sessions) => sessions,
        Err(error) => return Verdict::skip(format!("could not be asked: {error}")),
    };
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
    let remedy = found.remedy(&pooler, target);
    if found.outcome == Outcome::Fail {
        Verdict::fail(detail, remedy)
    } else {
        Verdict::warn(detail, remedy)
    }
}

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

    fn remedy(&self, pooler: &PgBouncer, target: &PostgresTarget) -> Remedy {
        let names = self.names.join(" and ");
        let database = &target.database;
        if matches!(pooler, PgBouncer::None) {
            return Remedy::note(format!(
                "let the pooler close its server connections, as by a restart; it was a client of the pooler that has changed {names}: let it use SET LOCAL, or connect to the server directly"
            ));
        }
        if self.is_in_new {
            return Remedy::note(format!(
                "new server connections have it too: in pgbouncer.ini, take {names} out of connect_query of the line {database}, {RELOAD}; then, in its console: RECONNECT {database}"
            ));
        }
        let is_admin = matches!(pooler, PgBouncer::Open(console) if console.is_admin);
        let reconnect = in_console(is_admin, &format!("RECONNECT {}", sql_name(database)));
        reconnect.then(Remedy::note(format!(
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
