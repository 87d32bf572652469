//! Why a pooler gives no answer, as its console, its files and the server behind it tell it.

mod auth_user;
mod control;
mod limits;
mod line;
mod refused;
mod server;
mod target;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::halted::with_halted;
use crate::diagnostics::probe::{Connection as _, PgBouncer, PoolerFiles, ServerConnection};
use crate::diagnostics::verdict::Verdict;
use crate::store::messages::{KnownMessage, quoted_name};

pub(super) use control::{RELOAD, reconnect};
pub(super) use limits::longer_limits;
pub(super) use line::{
    ASKING, lacks_right, leads_elsewhere, of_forced_role, of_standby, other_line,
};

use control::{Configuration, in_console};
use line::{other_database, refused_behind, system_user_behind};
use target::LOGIN;

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
    let Some(pooler) = PgBouncer::ask(server, ASKING).await else {
        return with_halted(verdict, &server.host, server.port).await;
    };
    // A message about pg_hba.conf names the host first.
    if REFUSALS.contains(&id)
        && !["postgres.hba", "postgres.system-user"].contains(&id)
        && let Some(role) = other_role(&verdict.detail, &server.user)
    {
        let configuration = Configuration::of(&pooler, server);
        return Verdict::fail(
            format!(
                "{}; {role} is not the role of DATABASE_URL, but one with which the pooler at {} logs in",
                verdict.detail,
                server.host_port()
            ),
            Remedy::note(format!(
                "correct user= and password= of {}, or the password of {role} in its auth_file, {}",
                configuration.line(),
                configuration.reload()
            )),
        );
    }
    let cause = match id {
        "pgbouncer.server-password" => refused::with_hash(&pooler, server),
        "pgbouncer.login" => refused::by_pooler(&pooler, server).await,
        "pgbouncer.no-database" => refused::without_line(&pooler, server).await,
        "postgres.system-user" => Some(system_user_behind(&pooler, server)),
        "postgres.login" => Some(
            refused::with_old_secret(&pooler, server)
                .unwrap_or_else(|| refused_behind(&pooler, server)),
        ),
        id if REFUSALS.contains(&id) => Some(refused_behind(&pooler, server)),
        "postgres.no-database" => other_database(&pooler, server, &verdict.detail).await,
        "" | "network.timeout" | "network.silent" | "pgbouncer.query-wait" => {
            // A login waits as long as auth_query fails.
            match auth_user::cannot_look_up(&pooler, server).await {
                None => without_server(&pooler, server, true).await,
                told => told,
            }
        }
        "pgbouncer.server-login" => match auth_user::cannot_look_up(&pooler, server).await {
            None => without_server(&pooler, server, false).await,
            told => told,
        },
        "pgbouncer.disabled" => Some(refused::disabled(&pooler, server)),
        "pgbouncer.hba" => refused::by_hba(&pooler, server),
        "pgbouncer.configuration" => auth_user::cannot_look_up(&pooler, server).await,
        "pgbouncer.max-clients" => refused::too_many_clients(&pooler, server, &verdict.detail),
        "pgbouncer.statement-mode" => limits::in_statement_mode(&pooler, server),
        _ => limits::told(&pooler, server).await,
    };
    match cause {
        Some((why, remedy)) => Verdict::fail(format!("{}; {why}", verdict.detail), remedy),
        None => verdict,
    }
}

/// Why a pooler that answers has no server connection for a client.
async fn without_server(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    may_be_paused: bool,
) -> Option<(String, Remedy)> {
    if let Some(told) = limits::told(pooler, server).await {
        return Some(told);
    }
    if pooler
        .console
        .as_ref()
        .is_some_and(|console| console.servers > 0)
    {
        return None;
    }
    match server::without_connection(pooler, server, may_be_paused).await {
        Some(told) => Some(told),
        None => Some(lends_nothing(pooler, server, may_be_paused)),
    }
}

/// The same for a check whose statement failed for it.
pub(super) async fn lends_none(server: &PostgresTarget) -> Option<Verdict> {
    let pooler = PgBouncer::ask(server, ASKING).await?;
    let (why, remedy) = without_server(&pooler, server, false).await?;
    Some(Verdict::fail(why, remedy))
}

/// PostgreSQL refuses the role.
const REFUSALS: [&str; 5] = [
    "postgres.login",
    "postgres.no-role",
    "postgres.no-login",
    "postgres.hba",
    "postgres.system-user",
];

/// The role that a message names, if it is not `user`, whose name for some poolers ends with a project,
/// as in `postgres.project`.
fn other_role<'a>(message: &'a str, user: &str) -> Option<&'a str> {
    let name = quoted_name(message)?;
    let rest = user.strip_prefix(name);
    let is_same = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    (!is_same).then_some(name)
}

/// Messages that PgBouncer writes itself, and that say it all.
const TOLD_BY_THE_POOLER: [&str; 3] = [
    "pgbouncer.time-limit",
    "pgbouncer.tls",
    "pgbouncer.startup-parameter",
];

/// A program in front of the server does not listen, and the server itself answers.
pub(super) async fn not_running(verdict: Verdict, server: &PostgresTarget) -> Verdict {
    if let Some(other) = moved(server).await {
        let host =
            (other.host != server.host).then(|| Remedy::set("DATABASE_URL.host", &other.host));
        let port =
            (other.port != server.port).then(|| Remedy::set("DATABASE_URL.port", other.port));
        return Verdict::fail(
            format!(
                "{}; PgBouncer listens on this machine at {}, and accepts DATABASE_URL there",
                verdict.detail,
                other.host_port()
            ),
            Remedy::default().then(host).then(port),
        );
    }
    let place = server.host_port();
    let files = PoolerFiles::at(server).await;
    let file = files.map_or(String::new(), |files| {
        format!(" ({} has this port)", files.ini.display())
    });
    let Some(direct) = &server.direct else {
        return Verdict::fail(
            format!("{}; it is the pooler that does not run", verdict.detail),
            start(&place, &file),
        );
    };
    let Ok(session) = ServerConnection::open(direct, ASKING).await else {
        return verdict;
    };
    session.close().await;
    Verdict::fail(
        format!(
            "{}; the server itself answers at {}, so it is the pooler that does not run",
            verdict.detail,
            direct.host_port()
        ),
        start(&place, &file),
    )
}

/// Another address of this machine at which a PgBouncer accepts user, password and database.
async fn moved(server: &PostgresTarget) -> Option<PostgresTarget> {
    for files in PoolerFiles::of_this_machine(server) {
        for host in [server.host.clone()]
            .into_iter()
            .chain(files.names("listen_addr"))
        {
            let other = PostgresTarget {
                host,
                port: files.port(),
                ..server.clone()
            };
            if let Ok(session) = ServerConnection::open(&other, LOGIN).await {
                session.close().await;
                return Some(other);
            }
        }
    }
    None
}

fn start(place: &str, file: &str) -> Remedy {
    Remedy::note(format!(
        "start the pooler at {place}; PgBouncer{file}, on that machine, as root: systemctl start pgbouncer; if it does not start, its log says why; or correct host and port in DATABASE_URL"
    ))
}

/// Neither its console nor its files nor the server tell why.
fn lends_nothing(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    may_be_paused: bool,
) -> (String, Remedy) {
    let place = server.host_port();
    let (why, more) = if may_be_paused {
        (
            "it is paused, does not reach PostgreSQL, or all connections are in use",
            "paused has 1 in the line of the database where it is, and RESUME ends that; where sv_active has reached pool_size, raise default_pool_size in pgbouncer.ini, then RELOAD",
        )
    } else {
        (
            "PostgreSQL behind it does not run, or refuses its login",
            "start PostgreSQL at host and port of the line of the database; if it runs, the pooler's log says why it refuses the login",
        )
    };
    (
        format!("PgBouncer runs at {place} and has no server connection: {why}"),
        in_console(pooler, server, &["SHOW DATABASES", "SHOW POOLS"]).then(Remedy::note(more)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_messages_name() {
        let of = |name: &str, user| other_role(&format!("no user \"{name}\""), user).is_some();
        assert!(!of("todo", "todo"));
        assert!(!of("postgres", "postgres.project"));
        assert!(of("auth", "todo"));
        assert!(of("to", "todo"));
        assert_eq!(other_role("refused", "todo"), None);
    }
}
