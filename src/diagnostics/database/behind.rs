//! Why a pooler gives no answer, as its own console tells it.

mod line;

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, TlsMode, sql_name};
use crate::diagnostics::halted::with_halted;
use crate::diagnostics::probe::{Connection as _, Console, PgBouncer, ServerConnection};
use crate::diagnostics::verdict::Verdict;
use crate::store::ConnectFault;
use crate::store::messages::{self, KnownMessage, Place, quoted_name};

pub(super) use line::{ASKING, RELOAD, of_forced_role, of_standby};

use super::work::Held;
use line::{other_database, refused_behind, system_user_behind};

/// For the question who holds the server connections.
const HOLDERS: Duration = Duration::from_secs(1);

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
    // A message about pg_hba.conf names the host first.
    if REFUSALS.contains(&id)
        && !["postgres.hba", "postgres.system-user"].contains(&id)
        && let Some(role) = other_role(&verdict.detail, &server.user)
    {
        return Verdict::fail(
            format!(
                "{}; {role} is not the role of DATABASE_URL, but one with which the pooler at {} logs in",
                verdict.detail,
                server.host_port()
            ),
            Remedy::note(format!(
                "correct user= and password= of the line {} in pgbouncer.ini, or the password of {role} in its auth_file, {RELOAD}",
                server.database
            )),
        );
    }
    let pooler = PgBouncer::ask(server, ASKING).await;
    if matches!(pooler, PgBouncer::None) {
        return with_halted(verdict, &server.host, server.port).await;
    }
    let cause = match (&pooler, id) {
        (_, "postgres.system-user") => Some(system_user_behind(server)),
        (_, id) if REFUSALS.contains(&id) => Some(refused_behind(server)),
        (_, "postgres.no-database") => other_database(server, &verdict.detail).await,
        (_, "" | "network.timeout" | "pgbouncer.query-wait" | "pgbouncer.server-login") => {
            without_server(&pooler, server).await
        }
        (PgBouncer::Open(console), _) => cause(console, server).await,
        _ => None,
    };
    match cause {
        Some((why, remedy)) => Verdict::fail(format!("{}; {why}", verdict.detail), remedy),
        None => verdict,
    }
}

/// Why a pooler that answers has no server connection for a client.
async fn without_server(pooler: &PgBouncer, server: &PostgresTarget) -> Option<(String, Remedy)> {
    let told = match pooler {
        PgBouncer::None => return None,
        PgBouncer::Open(console) => cause(console, server).await,
        PgBouncer::Closed => None,
    };
    if told.is_some() {
        return told;
    }
    match (refused_directly(server).await, pooler) {
        (None, PgBouncer::Closed) => Some(lends_nothing(server).await),
        (refused, _) => refused,
    }
}

/// The same for a check whose statement failed for it.
pub(super) async fn lends_none(server: &PostgresTarget) -> Option<Verdict> {
    let pooler = PgBouncer::ask(server, ASKING).await;
    let (why, remedy) = without_server(&pooler, server).await?;
    Some(Verdict::fail(why, remedy))
}

/// Why PostgreSQL refuses the session that `DATABASE_URL_UNPOOLED` asks for: the pooler does not
/// repeat what it is refused with.
async fn refused_directly(server: &PostgresTarget) -> Option<(String, Remedy)> {
    let direct = server.direct.as_ref()?;
    let error = match ServerConnection::open(direct, ASKING).await {
        Ok(session) => {
            session.close().await;
            return None;
        }
        Err(error) => error,
    };
    let is_pooler = |known: &KnownMessage| known.id.starts_with("pgbouncer.");
    if error.fault == ConnectFault::TimedOut || error.known.is_some_and(is_pooler) {
        return None;
    }
    let remedy = if error.fault == ConnectFault::Login {
        let (_, of_pooler) = refused_behind(server);
        error.remedy.then(of_pooler)
    } else {
        error.remedy
    };
    Some((
        format!(
            "the pooler has no server connection; to DATABASE_URL_UNPOOLED, PostgreSQL at {} says: {}",
            direct.host_port(),
            error.message
        ),
        remedy,
    ))
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
const TOLD_BY_THE_POOLER: [&str; 8] = [
    "pgbouncer.time-limit",
    "pgbouncer.login",
    "pgbouncer.server-password",
    "pgbouncer.configuration",
    "pgbouncer.tls",
    "pgbouncer.no-database",
    "pgbouncer.max-clients",
    "pgbouncer.startup-parameter",
];

/// A program in front of the server does not listen, and the server itself answers.
pub(super) async fn not_running(verdict: Verdict, server: &PostgresTarget) -> Verdict {
    let Some(direct) = &server.direct else {
        return verdict;
    };
    let Ok(session) = ServerConnection::open(direct, ASKING).await else {
        return verdict;
    };
    session.close().await;
    let place = server.host_port();
    Verdict::fail(
        format!(
            "{}; the server itself answers at {}, so it is the pooler that does not run",
            verdict.detail,
            direct.host_port()
        ),
        Remedy::note(format!(
            "start the pooler at {place}; PgBouncer, on that machine, as root: systemctl start pgbouncer; if it does not start, its log says why; or correct host and port in DATABASE_URL"
        )),
    )
}

/// The console does not tell why; the server itself rules causes out.
async fn lends_nothing(server: &PostgresTarget) -> (String, Remedy) {
    const LENDS_NOTHING: &str = "PgBouncer answers there, and lends no server connection";
    const ELSEWHERE: &str = "it is paused, or pgbouncer.ini has another host, port or password";
    let answers = format!(
        "the server itself answers at {}",
        server.server().host_port()
    );
    let user = &server.user;
    let why = match Held::ask(server, HOLDERS).await {
        Some(Held::Idle(idle, ends)) => {
            return (
                format!(
                    "{LENDS_NOTHING}; {answers}, where transactions of {user} are left open: {idle}"
                ),
                ends.then(leave_no_transaction(&server.database)),
            );
        }
        Some(Held::Working) => format!("{answers}: {ELSEWHERE}, or all connections are in use"),
        Some(Held::None) => {
            format!("{answers}, and has no session of {user}, so they are not in use: {ELSEWHERE}")
        }
        None => "it is paused, cannot log in at PostgreSQL, or all are in use".to_owned(),
    };
    (
        format!("{LENDS_NOTHING}; {why}"),
        Remedy::note(format!(
            "its console tells which (SHOW DATABASES has host, port and paused; SHOW POOLS), to a role of admin_users or stats_users of pgbouncer.ini, ROLE here: psql -h {} -p {} -U ROLE pgbouncer",
            server.host, server.port
        )),
    )
}

/// What keeps the transactions of other clients from holding all server connections again.
fn leave_no_transaction(line: &str) -> Remedy {
    Remedy::note(format!(
        "it comes back if that client leaves transactions open again: correct it, or raise default_pool_size in pgbouncer.ini (pool_size of the line {line}, where it has one), {RELOAD}"
    ))
}

/// Whether PostgreSQL, where the pooler looks for it, accepts user and password of `DATABASE_URL`: the
/// pooler does not repeat why it cannot log in. `None` if nothing answers there.
async fn login(console: &Console, server: &PostgresTarget) -> Option<(String, Remedy)> {
    let database = console.database.as_ref()?;
    let behind = PostgresTarget {
        host: database.host.clone()?,
        port: database.port,
        database: database.own_name.clone(),
        tls: TlsMode::Prefer,
        options: None,
        direct: None,
        ..server.clone()
    };
    let place = behind.host_port();
    match ServerConnection::open(&behind, ASKING).await {
        Ok(session) => {
            session.close().await;
            let remedy = messages::by_id("pgbouncer.server-password")
                .map(|known| (known.remedy)(Place::Server(server)));
            Some((
                format!(
                    "PostgreSQL at {place} accepts user and password of DATABASE_URL, so the pooler has another password, or an md5 hash where PostgreSQL asks for SCRAM, or is paused"
                ),
                remedy.unwrap_or_default(),
            ))
        }
        Err(error) => match error.fault {
            ConnectFault::Refused | ConnectFault::TimedOut | ConnectFault::HostNotFound => None,
            _ if error
                .known
                .is_some_and(|known| known.id == "postgres.no-database") =>
            {
                let (why, remedy) = other_database(server, &error.message).await?;
                Some((
                    format!("PostgreSQL at {place} says: {}; {why}", error.message),
                    remedy,
                ))
            }
            _ => Some((
                format!("PostgreSQL at {place} says: {}", error.message),
                error.remedy,
            )),
        },
    }
}

async fn cause(console: &Console, server: &PostgresTarget) -> Option<(String, Remedy)> {
    let name = &server.database;
    let database = console.database.as_ref()?;
    let command = |word: &str| in_console(console.is_admin, &format!("{word} {}", sql_name(name)));
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
    let max = console.max_of_user;
    if max > 0 && console.of_user >= max {
        return Some((
            format!(
                "all {max} server connections that max_user_connections allows {} are open, and {} clients wait",
                server.user, console.waiting
            ),
            Remedy::note(format!(
                "raise max_user_connections in pgbouncer.ini, {RELOAD}"
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
        let used = format!(
            "all {} server connections of the pooler are in use, and {} clients wait",
            console.busy, console.waiting
        );
        if let Some(Held::Idle(idle, ends)) = Held::ask(server, HOLDERS).await {
            return Some((
                format!("{used}; transactions are left open: {idle}"),
                ends.then(leave_no_transaction(name)),
            ));
        }
        return Some((
            used,
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
    if let Some((why, remedy)) = login(console, server).await {
        return Some((
            format!("the pooler has no server connection to {place}; {why}"),
            remedy.then(Remedy::note(
                "if all of the pooler was paused (PAUSE): todoctl db psql --pooler -c RESUME",
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

/// A command for the console, which only a role of `admin_users` may give.
pub(super) fn in_console(is_admin: bool, command: &str) -> Remedy {
    let remedy = Remedy::pooler_console(command);
    if is_admin {
        return remedy;
    }
    Remedy::note(format!(
        "as a role of admin_users of the pooler, with its URL in DATABASE_URL: {remedy}"
    ))
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
