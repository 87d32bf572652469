//! Why a pooler gives no answer, as its own console tells it.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{PostgresTarget, Remedy, sql_name};
use crate::diagnostics::halted::with_halted;
use crate::diagnostics::probe::{Console, PgBouncer};
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::store::messages::KnownMessage;

/// What is left of a check's time for the console.
pub(super) const ASKING: Duration = Duration::from_secs(2);

/// Whether PostgreSQL accepts connections where the pooler looks for it.
const CONNECTING: Duration = Duration::from_millis(500);

/// What follows a change of pgbouncer.ini.
const RELOAD: &str = "then RELOAD in its console, or reload its service";

/// A verdict on a database that did not answer as it should, with the cause if PgBouncer is in
/// front of it; `known` is the message.
pub(super) async fn explained(
    verdict: Verdict,
    known: Option<&KnownMessage>,
    server: &PostgresTarget,
) -> Verdict {
    let id = known.map_or("", |known| known.id);
    if TOLD_BY_THE_POOLER.contains(&id) {
        return verdict;
    }
    let pooler = PgBouncer::ask(server, ASKING).await;
    if matches!(pooler, PgBouncer::None) {
        return with_halted(verdict, &server.host, server.port).await;
    }
    let cause = match (&pooler, id) {
        (
            _,
            "postgres.login"
            | "postgres.no-role"
            | "postgres.no-login"
            | "postgres.hba"
            | "postgres.system-user",
        ) => Some(refused_behind(server)),
        (_, "postgres.no-database") => Some(other_database(server)),
        (PgBouncer::Open(console), _) => cause(console, server).await,
        (_, "" | "network.timeout" | "pgbouncer.query-wait" | "pgbouncer.server-login") => {
            Some(lends_nothing(server))
        }
        _ => None,
    };
    match cause {
        Some((why, remedy)) => Verdict::fail(format!("{}; {why}", verdict.detail), remedy),
        None => verdict,
    }
}

/// Messages that PgBouncer writes itself, and that say it all.
const TOLD_BY_THE_POOLER: [&str; 4] = [
    "pgbouncer.login",
    "pgbouncer.no-database",
    "pgbouncer.max-clients",
    "pgbouncer.startup-parameter",
];

/// The pooler accepts user and password of `DATABASE_URL`, so they are right there.
fn refused_behind(server: &PostgresTarget) -> (String, Remedy) {
    (
        format!(
            "the pooler at {} accepts DATABASE_URL, and PostgreSQL behind it refuses the pooler",
            server.host_port()
        ),
        Remedy::note(format!(
            "correct user= and password= of the line {} in pgbouncer.ini, or the password of {} in its auth_file, {RELOAD}",
            server.database, server.user
        )),
    )
}

fn other_database(server: &PostgresTarget) -> (String, Remedy) {
    (
        format!("the pooler at {} looks for it", server.host_port()),
        Remedy::note(format!(
            "correct dbname= of the line {} in pgbouncer.ini, {RELOAD}; or create the database on the server behind the pooler",
            server.database
        )),
    )
}

fn lends_nothing(server: &PostgresTarget) -> (String, Remedy) {
    (
        "PgBouncer answers there, and lends no server connection: it is paused, cannot log in at PostgreSQL, or all are in use".to_owned(),
        Remedy::note(format!(
            "its console tells which (SHOW DATABASES, SHOW POOLS), to a role of admin_users or stats_users of pgbouncer.ini: psql -h {} -p {} pgbouncer",
            server.host, server.port
        )),
    )
}

/// The pooler logs in with a role of its own, which has not the rights of the one in
/// `DATABASE_URL`.
pub(super) async fn of_forced_role(
    verdict: Verdict,
    login: &str,
    server: &PostgresTarget,
) -> Verdict {
    let pooler = PgBouncer::ask(server, ASKING).await;
    if verdict.outcome != Outcome::Fail || matches!(pooler, PgBouncer::None) {
        return verdict;
    }
    let PostgresTarget { user, database, .. } = server;
    Verdict::fail(
        format!(
            "{}; the pooler logs in as {login}, not as {user} of DATABASE_URL",
            verdict.detail
        ),
        Remedy::note(format!(
            "take user={login} and its password= out of the line {database} in pgbouncer.ini, {RELOAD}; if {login} is meant to serve todoctl, it needs the rights of {user}"
        )),
    )
}

async fn cause(console: &Console, server: &PostgresTarget) -> Option<(String, Remedy)> {
    let name = &server.database;
    let database = console.database.as_ref()?;
    let command = |word: &str| {
        let remedy = Remedy::pooler_console(format!("{word} {}", sql_name(name)));
        if console.is_admin {
            remedy
        } else {
            by_administrator(&remedy)
        }
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
            Remedy::note(format!(
                "raise max_db_connections in pgbouncer.ini (or of the line {name}), {RELOAD}"
            )),
        ));
    }
    if console.busy > 0 && console.busy >= database.pool_size && database.pool_mode == "session" {
        let wanted = usize::try_from(database.pool_size).unwrap_or_default();
        return Some((
            format!(
                "all {} server connections of the pooler are lent: in session mode each client keeps one as long as it is connected, a daemon up to SQLALCHEMY_POOL_SIZE and SQLALCHEMY_POOL_OVERFLOW together, and {} clients wait",
                console.busy, console.waiting
            ),
            Remedy::note(format!(
                "set pool_mode = transaction in pgbouncer.ini (and DB_POOLER=transaction here), or raise default_pool_size (pool_size of the line {name}, where it has one), {RELOAD}; until then, a smaller pool, and then restart the daemon:"
            ))
            .then(Remedy::set("SQLALCHEMY_POOL_SIZE", wanted.saturating_sub(1).max(1)))
            .then(Remedy::set("SQLALCHEMY_POOL_OVERFLOW", 0)),
        ));
    }
    if console.busy > 0 && console.busy >= database.pool_size {
        return Some((
            format!(
                "all {} server connections of the pooler are in use, and {} clients wait",
                console.busy, console.waiting
            ),
            Remedy::note(format!(
                "end the transactions that hold them (the check database.sessions names them), or raise default_pool_size in pgbouncer.ini (pool_size of the line {name}, where it has one), {RELOAD}"
            )),
        ));
    }
    if console.servers > 0 {
        return None;
    }
    let host = database.host.as_deref()?;
    let place = format!("{host}:{}", database.port);
    let connected = timeout(CONNECTING, TcpStream::connect((host, database.port))).await;
    if matches!(connected, Ok(Ok(_))) {
        return Some((
            format!(
                "the pooler has no server connection to {place}, which accepts connections: all of the pooler is paused (PAUSE), or it cannot log in there"
            ),
            Remedy::note(format!(
                "if it was paused: todoctl db psql --pooler -c RESUME; otherwise its log says why PostgreSQL refuses it: correct the line {name} or the auth_file, {RELOAD}"
            )),
        ));
    }
    Some((
        format!(
            "the pooler has no server connection, and nothing answers from here at {place}, where it looks for PostgreSQL"
        ),
        Remedy::note(format!(
            "start PostgreSQL at {place}, or correct host and port of the line {name} in pgbouncer.ini, {RELOAD}"
        )),
    ))
}

/// A command that only a role of `admin_users` may give.
fn by_administrator(command: &Remedy) -> Remedy {
    Remedy::note(format!(
        "as a role of admin_users of the pooler, with its URL in DATABASE_URL: {command}"
    ))
}
