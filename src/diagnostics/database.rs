//! Checks of the database, step by step.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, Section};

use super::check::{Check, Run, run};
use super::context::Context;
use super::verdict::Verdict;

mod fault;
mod file;
mod migrations;
mod network;
mod pooler;
mod questions;
mod search;
mod server;
mod settings;
mod tls;

/// A suspended database needs 10 to 15 s to wake up.
const LOGIN_SECONDS: u64 = 20;

pub(super) static CHECKS: &[Check] = &[
    Check::new("database.url", "URL", Run::Now(url)).needs(&["config.env_file"]),
    Check::new("database.dns", "Host name", run!(Server, network::name)).needs(&["database.url"]),
    Check::new(
        "database.connection",
        "Connection",
        run!(Database, connection),
    )
    .needs(&["database.url", "database.dns"]),
    Check::new("database.tls", "TLS", run!(Server, tls::tls)).needs(&["database.connection"]),
    Check::new("database.startup", "Startup", run!(Server, server::startup))
        .needs(&["database.tls"])
        .within(LOGIN_SECONDS),
    Check::new(
        "database.directory",
        "Directory",
        run!(File, file::directory),
    )
    .needs(&["database.url"]),
    Check::new(
        "database.file_system",
        "File system",
        run!(File, file::file_system),
    )
    .needs(FILE),
    Check::new("database.modes", "File modes", run!(File, file::modes)).needs(FILE),
    Check::new("database.disk", "Free disk", run!(File, file::disk)).needs(FILE),
    Check::new("database.login", "Login", run!(Database, login))
        .needs(&["database.connection", "database.tls"])
        .within(LOGIN_SECONDS),
    Check::new("database.query", "Query", run!(Database, questions::query))
        .needs(LOGIN)
        .taking_turns(),
    Check::new(
        "database.latency",
        "Latency",
        run!(Database, questions::latency),
    )
    .needs(QUERY)
    .taking_turns()
    .within(10),
    Check::new(
        "database.version",
        "Version",
        run!(Database, questions::version),
    )
    .needs(QUERY)
    .taking_turns(),
    Check::new("database.role", "Role", run!(Server, server::role))
        .needs(QUERY)
        .taking_turns(),
    Check::new("database.pooler", "Pooler", run!(Server, pooler::pooler))
        .needs(LOGIN)
        .within(10),
    Check::new(
        "database.connections",
        "Capacity",
        run!(Server, server::capacity),
    )
    .needs(QUERY)
    .taking_turns(),
    Check::new("database.clock", "Clock", run!(Server, server::clock))
        .needs(QUERY)
        .taking_turns(),
    Check::new(
        "database.settings",
        "Settings",
        run!(Server, settings::settings),
    )
    .needs(QUERY)
    .taking_turns(),
    Check::new("database.search", "Search", run!(Server, search::search))
        .needs(QUERY)
        .taking_turns(),
    Check::new("database.journal", "Journal", run!(File, file::journal)).needs(LOGIN),
    Check::new("database.wal", "Write-ahead log", run!(File, file::wal)).needs(FILE),
    // A large file takes long to read.
    Check::new(
        "database.integrity",
        "Integrity",
        run!(File, file::integrity),
    )
    .needs(QUERY)
    .taking_turns()
    .within(10),
    Check::new(
        "database.migrations",
        "Migrations",
        run!(Database, migrations::migrations),
    )
    .needs(LOGIN)
    .within(20),
];

const FILE: &[&str] = &["database.connection"];
const LOGIN: &[&str] = &["database.login"];
const QUERY: &[&str] = &["database.query"];

fn url(context: &Context) -> Verdict {
    let mut problems = context.audit.problems_of(Section::Database).peekable();
    let Some(config) = &context.audit.database else {
        return Verdict::of_problems(problems);
    };
    if problems.peek().is_some() {
        return Verdict::of_problems(problems);
    }
    let url = config.target.redacted();
    let (warnings, remedy) = context.audit.warned_of(Section::Database);
    if warnings.is_empty() {
        return Verdict::pass(url);
    }
    Verdict::warn(format!("{url}; {}", warnings.join("; ")), remedy)
}

/// Whether the server accepts connections, or the file can be read.
async fn connection(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(server) => network::connection(context, server, limit).await,
        DatabaseTarget::Sqlite(file) => file::connection(context, config, file).await,
    }
}

async fn login(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(server) => server::login(context, server, limit).await,
        DatabaseTarget::Sqlite(file) => file::login(context, file, limit).await,
    }
}

#[cfg(test)]
mod tests;
