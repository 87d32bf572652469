//! What PgBouncer's console tells of a database that gets no server connection.

use crate::config::{PostgresTarget, Remedy, sql_name};
use crate::diagnostics::database::work::Held;
use crate::diagnostics::probe::PgBouncer;

use super::control::{Configuration, in_console};
use super::target::{Behind, LOGIN};

/// A command that ended it, or a limit that is reached.
pub(super) async fn told(pooler: &PgBouncer, server: &PostgresTarget) -> Option<(String, Remedy)> {
    let console = pooler.console.as_ref()?;
    let name = &server.database;
    let database = console.database.as_ref()?;
    let configuration = Configuration::of(pooler, server);
    let command = |word: &str| {
        let text = format!("{word} {}", sql_name(name));
        in_console(pooler, server, &[&text])
    };
    if database.disabled {
        return Some((
            format!("the pooler's database {name} is disabled (DISABLE)"),
            command("ENABLE"),
        ));
    }
    if database.paused {
        return Some((
            format!("the pooler's database {name} is paused (PAUSE)"),
            command("RESUME"),
        ));
    }
    let max = database.max_connections;
    if max > 0 && database.connections >= max {
        return Some((
            format!(
                "all {max} server connections that max_db_connections allows are open, and {} clients wait",
                console.waiting
            ),
            configuration.set_of_line("max_db_connections", "max_db_connections", raised(max)),
        ));
    }
    let max = console.max_of_user;
    if max > 0 && console.of_user >= max {
        return Some((
            format!(
                "all {max} server connections that max_user_connections allows {} are open, and {} clients wait",
                server.user, console.waiting
            ),
            configuration.set("max_user_connections", raised(max)),
        ));
    }
    if console.busy == 0 || console.busy < database.pool_size {
        return None;
    }
    if database.pool_mode == "session" {
        return Some(lent_for_sessions(&configuration, database.pool_size));
    }
    let used = format!(
        "all {} server connections of the pooler are in use, and {} clients wait",
        console.busy, console.waiting
    );
    let held = match Behind::of(pooler, server) {
        Some(behind) => Held::ask(server, &behind.target, LOGIN).await,
        None => None,
    };
    if let Some((idle, ends)) = held.and_then(|held| held.own.idle) {
        return Some((
            format!("{used}; transactions are left open: {idle}"),
            ends.then(leave_no_transaction(&configuration)),
        ));
    }
    Some((used, more_connections(&configuration, database.pool_size)))
}

/// In session mode a client keeps its server connection as long as it is connected.
fn lent_for_sessions(configuration: &Configuration<'_>, size: u32) -> (String, Remedy) {
    let kept = size.saturating_sub(1).max(1);
    (
        format!(
            "all {size} server connections of the pooler are lent: in session mode each client keeps one as long as it is connected, a daemon up to SQLALCHEMY_POOL_SIZE and SQLALCHEMY_POOL_OVERFLOW together"
        ),
        Remedy::note(format!(
            "set pool_mode = transaction in {} (and DB_POOLER=transaction here), or raise default_pool_size (pool_size of {}, where it has one), {}; until then, a smaller pool, and then restart the daemon:",
            configuration.file(),
            configuration.line(),
            configuration.reload()
        ))
        .then(Remedy::set("SQLALCHEMY_POOL_SIZE", kept))
        .then(Remedy::set("SQLALCHEMY_POOL_OVERFLOW", 0)),
    )
}

/// A limit that is reached, as the sessions of the server tell where the console is closed.
pub(super) fn reached(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    held: Held,
) -> Option<(String, Remedy)> {
    let configuration = Configuration::of(pooler, server);
    let database = pooler.database(&server.database);
    let size = database.as_ref().map(|one| one.pool_size);
    let Held { own, all } = held;
    if size.is_none_or(|size| own.count >= size)
        && let Some((idle, ends)) = own.idle
    {
        return Some((
            format!(
                "PgBouncer lends no server connection; transactions of {} are left open: {idle}",
                server.user
            ),
            ends.then(leave_no_transaction(&configuration)),
        ));
    }
    let database = database?;
    let size = database.pool_size;
    if own.count >= size {
        return Some(match database.pool_mode.as_str() {
            "session" => lent_for_sessions(&configuration, size),
            _ => (
                format!("all {size} server connections of the pooler are in use"),
                more_connections(&configuration, size),
            ),
        });
    }
    let max = database.max_connections;
    if max == 0 || all.count < max {
        return None;
    }
    let used = format!("all {max} server connections that max_db_connections allows are open");
    let raise = configuration.set_of_line("max_db_connections", "max_db_connections", raised(max));
    Some(match all.idle {
        Some((idle, ends)) => (
            format!("{used}; transactions are left open: {idle}"),
            ends.then(Remedy::note("so that they do not hold them all again:"))
                .then(raise),
        ),
        None => (used, raise),
    })
}

/// A limit with room for others.
fn raised(limit: u32) -> u32 {
    (limit * 2).max(20)
}

/// In statement mode there are no transactions.
pub(super) fn in_statement_mode(
    pooler: &PgBouncer,
    server: &PostgresTarget,
) -> Option<(String, Remedy)> {
    let files = pooler.files.as_ref()?;
    let configuration = Configuration::of(pooler, server);
    Some((
        format!("{} sets pool_mode = statement", files.ini.display()),
        configuration.set_of_line("pool_mode", "pool_mode", "transaction"),
    ))
}

/// Takes back time limits, of which the texts are as in `query_timeout = 1`.
pub(in crate::diagnostics::database) fn longer_limits(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    limits: &[String],
) -> Remedy {
    let configuration = Configuration::of(pooler, server);
    limits
        .iter()
        .filter_map(|limit| limit.split_once(" = "))
        .fold(
            Remedy::note(
                "todoctl and PostgreSQL have time limits of their own, so PgBouncer needs none:",
            ),
            |remedy, (name, _)| remedy.then(configuration.set(name, 0)),
        )
}

/// What keeps the transactions of other clients from holding all server connections again.
fn leave_no_transaction(configuration: &Configuration<'_>) -> Remedy {
    Remedy::note(format!(
        "it comes back if that client leaves transactions open again: correct it, or raise default_pool_size in {} (or pool_size of the line of the database), {}",
        configuration.file(),
        configuration.reload()
    ))
}

/// For clients that do work in their transactions.
fn more_connections(configuration: &Configuration<'_>, now: u32) -> Remedy {
    Remedy::note("end the transactions that hold them (the check database.sessions names them), or allow more:")
        .then(configuration.set_of_line("pool_size", "default_pool_size", (now * 2).max(10)))
}
