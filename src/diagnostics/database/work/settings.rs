//! Settings that decide what a commit means, and how long a statement may take.

use std::time::Duration;

use crate::config::{Environment, PostgresTarget, Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Origin, ServerConnection, SettingNow};
use crate::diagnostics::verdict::{Outcome, Verdict};

use super::answer::of_answer;

/// The shortest limits, in milliseconds, that ordinary requests keep within: the slowest of them
/// take some hundred.
const SHORTEST: [(&str, u64); 4] = [
    ("statement_timeout", 1_000),
    ("lock_timeout", 100),
    ("idle_in_transaction_session_timeout", 1_000),
    ("transaction_timeout", 1_000),
];

pub(super) async fn durability(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let target = server.target;
    let environment = context.audit.environment;
    of_answer(
        context,
        server,
        limit,
        async |connection| connection.settings_now().await,
        |settings| check_durability(settings, environment, target),
    )
    .await
}

pub(super) async fn timeouts(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let target = server.target;
    of_answer(
        context,
        server,
        limit,
        async |connection| connection.settings_now().await,
        |settings| check_timeouts(settings, target),
    )
    .await
}

/// The limits that end ordinary statements, if there are any.
pub(in crate::diagnostics::database) async fn short_limits(
    context: &Context,
    server: &PostgresTarget,
    limit: Duration,
) -> Option<Verdict> {
    let ask = async |connection: &mut ServerConnection| connection.settings_now().await;
    let settings = context.server.ask(server, limit, ask).await.ok()?;
    Some(check_timeouts(&settings, server)).filter(|verdict| verdict.outcome != Outcome::Pass)
}

/// Lets new sessions have the search path that leads to `schema`: by removing the setting that
/// changed it, or by setting it, where nothing is set any more.
pub(in crate::diagnostics) async fn reset_search_path(
    context: &Context,
    server: &PostgresTarget,
    schema: Option<&str>,
    limit: Duration,
) -> Remedy {
    let ask = async |connection: &mut ServerConnection| connection.settings_now().await;
    let settings = context.server.ask(server, limit, ask).await;
    let settings = settings.unwrap_or_default();
    let path = settings.iter().find(|one| one.name == "search_path");
    match (path.map(|one| (one, one.origin())), schema) {
        (Some((_, Origin::Client)), _) => Remedy::unset("DATABASE_URL.options"),
        (Some((_, Origin::Default | Origin::Server | Origin::Session)), Some(schema)) => {
            Remedy::admin_sql(
                server,
                None,
                format!(
                    "ALTER ROLE {} IN DATABASE {} SET search_path = {}",
                    sql_name(&server.user),
                    sql_name(server.own_name()),
                    sql_name(schema)
                ),
            )
        }
        (
            Some((
                path,
                Origin::Role | Origin::Database | Origin::RoleInDatabase | Origin::AllRoles,
            )),
            _,
        ) => change(path, "", server),
        _ => Remedy::default(),
    }
}

fn check_durability(
    settings: &[SettingNow],
    environment: Environment,
    server: &PostgresTarget,
) -> Verdict {
    let mut collected = Collected::default();
    let mut changes_server = false;
    for setting in settings {
        let (name, value) = (setting.name.as_str(), setting.value.as_str());
        let (loses_all, meaning, right) = match (name, value) {
            ("fsync", "off") => (
                true,
                "a crash of the machine can destroy the database",
                "on",
            ),
            ("full_page_writes", "off") => (true, "a crash of the machine can damage tables", "on"),
            ("synchronous_commit", "off") => {
                (false, "a crash of the server loses confirmed changes", "on")
            }
            ("zero_damaged_pages", "on") => (
                true,
                "rows in damaged pages are lost without an error",
                "off",
            ),
            ("ignore_checksum_failure", "on") => (
                true,
                "damaged pages are served and copied without an error",
                "off",
            ),
            _ => continue,
        };
        let text = format!("{name} is {value}: {meaning}");
        changes_server |= setting.origin() == Origin::Server;
        // Servers for development are often faster than safe, on purpose.
        if environment == Environment::Development {
            collected.note(text);
        } else if loses_all {
            collected.fail(text, change(setting, right, server));
        } else {
            collected.warn(text, change(setting, right, server));
        }
    }
    reload(changes_server, server, &mut collected);
    collected.verdict("confirmed changes survive a crash")
}

fn check_timeouts(settings: &[SettingNow], server: &PostgresTarget) -> Verdict {
    let mut collected = Collected::default();
    let mut shown = Vec::new();
    let mut changes_server = false;
    for (name, shortest) in SHORTEST {
        let Some(setting) = settings.iter().find(|one| one.name == name) else {
            continue;
        };
        let millis: u64 = setting.value.parse().unwrap_or_default();
        if millis == 0 {
            continue;
        }
        let text = format!("{name} is {} ({})", setting.shown, origin(setting));
        if millis < shortest {
            changes_server |= setting.origin() == Origin::Server;
            collected.warn(
                format!("{text}: {}", consequence(name)),
                change(setting, "0", server),
            );
        } else {
            shown.push(text);
        }
    }
    reload(changes_server, server, &mut collected);
    collected.verdict(if shown.is_empty() {
        "the daemon's own".to_owned()
    } else {
        shown.join(", ")
    })
}

/// Settings of a role, a database or the server that make requests slow or fail.
pub(in crate::diagnostics::database) fn check_execution(
    settings: &[SettingNow],
    server: &PostgresTarget,
) -> (Vec<String>, Remedy) {
    let is = |name: &str, value: &str| {
        let mut settings = settings.iter();
        settings.any(|one| one.name == name && one.value == value)
    };
    let costs = |name: &str| {
        let setting = settings.iter().find(|one| one.name == name);
        setting.and_then(SettingNow::number)
    };
    // -1 is never.
    let compiles = is("jit", "on")
        && costs("jit_above_cost").is_some_and(|cost| (0.0..COMPILED).contains(&cost));
    judged(settings, server, |setting| {
        let number = setting.number();
        Some(match (setting.name.as_str(), setting.value.as_str()) {
            ("enable_indexscan" | "enable_indexonlyscan" | "enable_bitmapscan", "off") => {
                ("requests read whole tables", "on")
            }
            (name, "off") if name.starts_with("enable_") => (
                "statements are planned in slower ways, and take long to compile (jit)",
                "on",
            ),
            ("random_page_cost", _) if number? >= 100.0 => ("requests read whole tables", "4"),
            ("default_transaction_isolation", value) if value != "read committed" => (
                "requests that change the same rows fail",
                "'read committed'",
            ),
            ("jit_above_cost", _) if compiles => (
                "statements are compiled, which takes longer than they do",
                "100000",
            ),
            ("jit_inline_above_cost" | "jit_optimize_above_cost", _)
                if compiles && (0.0..COMPILED).contains(&number?) =>
            {
                ("they are optimized at length", "500000")
            }
            ("force_parallel_mode" | "debug_parallel_query", "on" | "regress") => {
                ("statements start processes of their own", "off")
            }
            // In microseconds.
            ("commit_delay", _) if number? >= 10_000.0 => {
                ("changes wait before they are confirmed", "0")
            }
            // In milliseconds.
            ("deadlock_timeout", _) if number? >= 20_000.0 => (
                "requests that wait for each other time out before the server ends one of them",
                "'1s'",
            ),
            ("default_tablespace", _) => (
                "the role may not create anything there, so the next migration fails",
                "''",
            ),
            _ => return None,
        })
    })
}

/// What is wrong with settings that `SET` has given to a session: each with its name.
pub(in crate::diagnostics::database) fn check_session<'a>(
    settings: &'a [SettingNow],
    environment: Environment,
    server: &PostgresTarget,
) -> Vec<(&'a str, String)> {
    settings
        .iter()
        .filter_map(|setting| {
            let one = std::slice::from_ref(setting);
            let limits = check_timeouts(one, server);
            let durability = check_durability(one, environment, server);
            let (texts, _) = check_execution(one, server);
            let wrong = [limits, durability].into_iter();
            let wrong = wrong.filter(|one| one.outcome != Outcome::Pass);
            let text = wrong.map(|one| one.detail).chain(texts).next()?;
            Some((setting.name.as_str(), text))
        })
        .collect()
}

/// Settings that keep VACUUM away.
pub(super) fn check_autovacuum(
    settings: &[SettingNow],
    server: &PostgresTarget,
) -> (Vec<String>, Remedy) {
    judged(settings, server, |setting| {
        let number = setting.number()?;
        Some(match setting.name.as_str() {
            "autovacuum_vacuum_scale_factor" if number > 1.0 => {
                ("tables get mostly dead rows", "0.2")
            }
            "autovacuum_vacuum_threshold" if number > 1e6 => ("tables get mostly dead rows", "50"),
            "autovacuum_analyze_scale_factor" if number > 1.0 => {
                ("queries are planned by old statistics", "0.1")
            }
            "autovacuum_analyze_threshold" if number > 1e6 => {
                ("queries are planned by old statistics", "50")
            }
            // In seconds.
            "autovacuum_naptime" if number > 3_600.0 => ("dead rows stay for so long", "'1min'"),
            "vacuum_defer_cleanup_age" if number > 0.0 => {
                ("dead rows are kept for so many transactions", "0")
            }
            _ => return None,
        })
    })
}

/// Statements that cost less take some milliseconds, and compiling them some hundred.
const COMPILED: f64 = 10_000.0;

/// What the settings mean that `judge` does not accept, each with the value that is right on a
/// server.
fn judged(
    settings: &[SettingNow],
    server: &PostgresTarget,
    judge: impl Fn(&SettingNow) -> Option<(&'static str, &'static str)>,
) -> (Vec<String>, Remedy) {
    let (mut texts, mut changes_server) = (Vec::new(), false);
    let mut remedy = Remedy::default();
    for setting in settings {
        let Some((meaning, right)) = judge(setting) else {
            continue;
        };
        texts.push(format!(
            "{} is {} ({}): {meaning}",
            setting.name,
            setting.shown,
            origin(setting)
        ));
        changes_server |= setting.origin() == Origin::Server;
        remedy = remedy.then(change(setting, right, server));
    }
    if changes_server {
        remedy = remedy.then(reloaded(server));
    }
    (texts, remedy)
}

/// What a limit that is too short does.
fn consequence(name: &str) -> &'static str {
    match name {
        "statement_timeout" => {
            "every statement that takes longer is cancelled, and its request fails"
        }
        "lock_timeout" => "every statement that waits longer for a row or a table fails",
        _ => "the session of every transaction that takes longer is ended, and its request fails",
    }
}

/// The last step, where settings of the server itself were changed.
fn reload(is_needed: bool, server: &PostgresTarget, collected: &mut Collected) {
    if is_needed {
        collected.finish_with(reloaded(server));
    }
}

fn reloaded(server: &PostgresTarget) -> Remedy {
    Remedy::admin_sql(server, None, "SELECT pg_reload_conf()")
}

fn origin(setting: &SettingNow) -> &'static str {
    match setting.origin() {
        Origin::Role => "set for the role",
        Origin::Database => "set for the database",
        Origin::RoleInDatabase => "set for the role in this database",
        Origin::AllRoles => "set for all roles",
        Origin::Client => "set by options in DATABASE_URL",
        Origin::Session => "set by SET",
        Origin::Server => "set on the server",
        Origin::Default => "PostgreSQL's default",
    }
}

/// Changes a setting where it comes from: there it is removed, and on the server it becomes
/// `value`. New sessions have it.
fn change(setting: &SettingNow, value: &str, server: &PostgresTarget) -> Remedy {
    let name = &setting.name;
    let (role, database) = (sql_name(&server.user), sql_name(server.own_name()));
    let statement = match setting.origin() {
        // A role may change its own settings.
        Origin::Role => {
            // It applies to the session that resets it.
            let unlimited = if name == "statement_timeout" {
                "SET statement_timeout = 0; "
            } else {
                ""
            };
            return Remedy::sql(format!("{unlimited}ALTER ROLE {role} RESET {name}"));
        }
        Origin::Client => {
            return Remedy::note(format!("remove {name} from options in DATABASE_URL"));
        }
        Origin::RoleInDatabase => {
            format!("ALTER ROLE {role} IN DATABASE {database} RESET {name}")
        }
        Origin::Database => format!("ALTER DATABASE {database} RESET {name}"),
        Origin::AllRoles => format!("ALTER ROLE ALL RESET {name}"),
        // Below what SET has changed, it may be any of these.
        Origin::Session => format!(
            "ALTER ROLE {role} RESET {name}; ALTER ROLE {role} IN DATABASE {database} RESET {name}; ALTER DATABASE {database} RESET {name}"
        ),
        Origin::Server | Origin::Default => {
            return Remedy::admin_sql(server, None, format!("ALTER SYSTEM SET {name} = {value}"));
        }
    };
    Remedy::admin_settings(server, &statement)
}

#[cfg(test)]
mod tests;
