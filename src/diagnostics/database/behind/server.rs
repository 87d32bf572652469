//! The server behind a pooler, as it answers from here.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{PostgresTarget, Remedy, TlsMode, sql_name};
use crate::diagnostics::database::other_port::socket_directory;
use crate::diagnostics::database::work::Held;
use crate::diagnostics::halted::with_halted;
use crate::diagnostics::probe::{Connection as _, PgBouncer, ServerConnection, is_this_machine};
use crate::diagnostics::verdict::Verdict;
use crate::store::messages::{self, Place};
use crate::store::{ConnectError, ConnectFault};

use super::control::{Configuration, in_console};
use super::limits;
use super::line::{other_database, refused_behind};

/// Of a check's time little is left.
const LOGIN: Duration = Duration::from_secs(2);
const CONNECTING: Duration = Duration::from_millis(500);

/// What is known of the server.
pub(super) struct Behind {
    /// Where user and password of `DATABASE_URL` are tried.
    pub(super) target: PostgresTarget,
    /// Whether the pooler's own line leads there, and not `DATABASE_URL_UNPOOLED`.
    pub(super) is_of_line: bool,
}

impl Behind {
    /// Where the pooler looks for it; `None` where that is not known, or leads elsewhere from here.
    pub(super) fn of_line(pooler: &PgBouncer, server: &PostgresTarget) -> Option<Self> {
        let database = pooler.database(&server.database)?;
        if database.force_user.is_some_and(|user| user != server.user) {
            return None;
        }
        let is_here = is_this_machine(server);
        let host = match database.host {
            Some(host) => host,
            None => socket_directory(database.port)?.to_owned(),
        };
        let target = PostgresTarget {
            host,
            port: database.port,
            database: database.own_name,
            tls: tls_of(pooler),
            root_cert: pooler
                .files
                .as_ref()
                .and_then(|files| files.path_of("server_tls_ca_file")),
            options: None,
            direct: None,
            ..server.clone()
        };
        (is_here || !target.is_loopback()).then_some(Self {
            target,
            is_of_line: true,
        })
    }

    /// The same, or else where `DATABASE_URL_UNPOOLED` leads.
    pub(super) fn of(pooler: &PgBouncer, server: &PostgresTarget) -> Option<Self> {
        Self::of_line(pooler, server).or_else(|| {
            let direct = server.direct.as_deref()?;
            let target = PostgresTarget {
                user: server.user.clone(),
                password: server.password.clone(),
                ..direct.clone()
            };
            Some(Self {
                target,
                is_of_line: false,
            })
        })
    }

    /// Tries user and password of `DATABASE_URL`.
    pub(super) async fn log_in(&self) -> Result<ServerConnection, ConnectError> {
        ServerConnection::open(&self.target, LOGIN).await
    }

    /// Whether its port accepts connections.
    async fn is_open(&self) -> bool {
        let to = (self.target.host.as_str(), self.target.port);
        let connected = timeout(CONNECTING, TcpStream::connect(to)).await;
        matches!(connected, Ok(Ok(_)))
    }
}

/// How PgBouncer connects to the server.
fn tls_of(pooler: &PgBouncer) -> TlsMode {
    let mode = pooler
        .files
        .as_ref()
        .and_then(|files| files.setting("server_tls_sslmode"));
    match mode {
        Some("disable") => TlsMode::Disable,
        Some("require") => TlsMode::Require,
        Some("verify-ca") => TlsMode::VerifyCa,
        Some("verify-full") => TlsMode::VerifyFull,
        _ => TlsMode::Prefer,
    }
}

/// Whether `DATABASE_URL_UNPOOLED` leads to a server that answers.
pub(super) async fn direct_answers(server: &PostgresTarget) -> bool {
    let Some(direct) = &server.direct else {
        return false;
    };
    match ServerConnection::open(direct, LOGIN).await {
        Ok(session) => {
            session.close().await;
            true
        }
        Err(_) => false,
    }
}

/// Whether a login failed because nothing answers, or nothing that speaks PostgreSQL's protocol.
pub(super) fn is_unreachable(error: &ConnectError) -> bool {
    matches!(
        error.fault,
        ConnectFault::Refused
            | ConnectFault::TimedOut
            | ConnectFault::HostNotFound
            | ConnectFault::NotPostgres
    )
}

/// Why PgBouncer has no server connection, as the server says it; `None` if it says nothing.
/// `may_be_paused` is whether clients wait, and are not told that a login failed.
pub(super) async fn without_connection(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    may_be_paused: bool,
) -> Option<(String, Remedy)> {
    let behind = Behind::of(pooler, server)?;
    let configuration = Configuration::of(pooler, server);
    let place = behind.target.host_port();
    let leads = if behind.is_of_line {
        format!("{place}, where {} leads", configuration.line())
    } else {
        format!("{place}, where DATABASE_URL_UNPOOLED leads")
    };
    let error = match behind.log_in().await {
        Ok(session) => {
            let held = Held::on(session, server, &behind.target, LOGIN).await;
            return Some(accepted(pooler, server, &behind, held, may_be_paused));
        }
        Err(error) => error,
    };
    if is_unreachable(&error) {
        let why = format!(
            "PgBouncer runs at {}, and PostgreSQL behind it does not answer at {leads}: {}",
            server.host_port(),
            error.message
        );
        let silent = with_halted(
            Verdict::fail("", None),
            &behind.target.host,
            behind.target.port,
        );
        let Verdict { detail, remedy, .. } = silent.await;
        if let (Some(program), Some(remedy)) = (detail.strip_prefix(": "), remedy) {
            return Some((format!("{why}: {program}"), remedy));
        }
        // It may only be slow.
        if error.fault == ConnectFault::TimedOut && behind.is_open().await {
            return None;
        }
        if behind.is_of_line && direct_answers(server).await {
            let direct = server.server().host_port();
            return Some((
                format!("{why}; the server answers at {direct}, where DATABASE_URL_UNPOOLED leads"),
                Remedy::note(format!(
                    "correct host= and port= of {}, so that it leads to {direct}, {}",
                    configuration.line(),
                    configuration.reload()
                )),
            ));
        }
        let correct = if behind.is_of_line {
            format!(
                "correct host= and port= of {}, {}",
                configuration.line(),
                configuration.reload()
            )
        } else {
            "correct host and port in DATABASE_URL_UNPOOLED".to_owned()
        };
        return Some((
            why,
            Remedy::note(format!(
                "start PostgreSQL at {place}; PgBouncer connects again within server_login_retry (15 s); if it runs elsewhere, {correct}"
            )),
        ));
    }
    if behind.is_of_line
        && matches!(
            error.fault,
            ConnectFault::TlsUnsupported | ConnectFault::Certificate
        )
    {
        return Some((
            format!(
                "the pooler has no server connection: server_tls_sslmode in {} requires TLS, and at {leads}: {}",
                configuration.file(),
                error.message
            ),
            Remedy::note("enable TLS on the server (ssl = on), with a certificate of server_tls_ca_file; or, where the network in between is trusted:")
                .then(configuration.set("server_tls_sslmode", "prefer")),
        ));
    }
    let known = error.known.map_or("", |known| known.id);
    let says = format!(
        "the pooler has no server connection; PostgreSQL at {leads}, says: {}",
        error.message
    );
    if known == "postgres.no-database"
        && let Some((why, remedy)) = other_database(pooler, server, &error.message).await
    {
        return Some((format!("{says}; {why}"), remedy));
    }
    if known == "postgres.login" && direct_answers(server).await {
        return Some((
            format!("{says}; it accepts user and password of DATABASE_URL_UNPOOLED"),
            Remedy::note("give DATABASE_URL the same user and password; this asks for the password: todoctl config set DATABASE_URL.password=-")
                .then(renewed(pooler, server, &behind.target)),
        ));
    }
    let remedy = if error.fault == ConnectFault::Login {
        error.remedy.then(refused_behind(pooler, server).1)
    } else {
        error.remedy
    };
    Some((says, remedy))
}

/// PostgreSQL accepts what `DATABASE_URL` has, so it is the pooler that keeps its clients waiting, or
/// has another password.
fn accepted(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    behind: &Behind,
    held: Option<Held>,
    may_be_paused: bool,
) -> (String, Remedy) {
    let place = behind.target.host_port();
    let configuration = Configuration::of(pooler, server);
    let accepts = format!("PostgreSQL at {place} accepts user and password of DATABASE_URL");
    if let Some(reached) = held.and_then(|held| limits::reached(pooler, server, held)) {
        return reached;
    }
    let logged = pooler
        .files
        .as_ref()
        .and_then(|files| files.last_reason(&server.database));
    if let Some(reason) = logged.filter(|reason| reason != "pause mode") {
        return (
            format!(
                "{accepts}; the pooler's log says why it has no server connection: {reason}{}",
                configuration.stored(server)
            ),
            if reason.contains("login failed") || reason.contains("authreq") {
                renewed(pooler, server, &behind.target)
            } else {
                Remedy::note(format!(
                    "correct what it says in {} (server_tls_sslmode, connect_query and the line of the database are about server connections), {}",
                    configuration.file(),
                    configuration.reload()
                ))
            },
        );
    }
    if may_be_paused {
        let database = sql_name(&server.database);
        let one = format!("RESUME {database}");
        let elsewhere = if behind.is_of_line {
            String::new()
        } else {
            format!(", or {} leads elsewhere", configuration.line())
        };
        return (
            format!(
                "PgBouncer keeps its clients waiting although {accepts}: it is paused (PAUSE, KILL){elsewhere}"
            ),
            Remedy::note("one of the two answers that it is not paused:").then(in_console(
                pooler,
                server,
                &[&one, "RESUME", "SHOW DATABASES"],
            )),
        );
    }
    (
        format!(
            "{accepts}, so the pooler has another password{}",
            configuration.stored(server)
        ),
        renewed(pooler, server, &behind.target),
    )
}

/// How the pooler gets the password with which it logs in.
pub(super) fn renewed(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    behind: &PostgresTarget,
) -> Remedy {
    let configuration = Configuration::of(pooler, server);
    let known = messages::by_id("pgbouncer.server-password");
    configuration
        .renew_password(server, behind)
        .unwrap_or_else(|| {
            known
                .map(|known| (known.remedy)(Place::Server(server)))
                .unwrap_or_default()
        })
}

/// What keeps the transactions of other clients from holding all server connections again.
pub(super) fn leave_no_transaction(configuration: &Configuration<'_>) -> Remedy {
    Remedy::note(format!(
        "it comes back if that client leaves transactions open again: correct it, or raise default_pool_size in {} (or pool_size of the line of the database), {}",
        configuration.file(),
        configuration.reload()
    ))
}

/// For clients that do work in their transactions.
pub(super) fn more_connections(configuration: &Configuration<'_>, now: u32) -> Remedy {
    Remedy::note("end the transactions that hold them (the check database.sessions names them), or allow more:")
        .then(configuration.set_of_line("pool_size", "default_pool_size", (now * 2).max(10)))
}
