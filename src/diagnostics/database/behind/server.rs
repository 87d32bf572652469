//! The server behind a pooler, as it answers from here.

use crate::config::{PostgresTarget, Remedy, sql_name};
use crate::diagnostics::database::work::Held;
use crate::diagnostics::halted::with_halted;
use crate::diagnostics::probe::PgBouncer;
use crate::diagnostics::verdict::Verdict;
use crate::store::{ConnectError, ConnectFault};

use super::control::{Configuration, in_console};
use super::limits;
use super::line::{other_database, refused_behind};
use super::refused;
use super::target::{Behind, LOGIN, direct_answers};

/// Whether a login failed because nothing answers, or nothing that speaks PostgreSQL's protocol.
fn is_unreachable(error: &ConnectError) -> bool {
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
    let leads = leads_to(&behind, &configuration);
    let error = match behind.log_in().await {
        Ok(session) => {
            let held = Held::on(session, server, &behind.target, LOGIN).await;
            return Some(accepted(pooler, server, &behind, held, may_be_paused));
        }
        Err(error) => error,
    };
    if is_unreachable(&error) {
        return without_answer(pooler, server, &behind, &error).await;
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
                .then(refused::renewed(pooler, server, &behind.target)),
        ));
    }
    let remedy = if error.fault == ConnectFault::Login {
        error.remedy.then(refused_behind(pooler, server).1)
    } else {
        error.remedy
    };
    Some((says, remedy))
}

/// Nothing answers at the server's address, or nothing that speaks PostgreSQL's protocol.
async fn without_answer(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    behind: &Behind,
    error: &ConnectError,
) -> Option<(String, Remedy)> {
    let configuration = Configuration::of(pooler, server);
    let place = behind.target.host_port();
    let leads = leads_to(behind, &configuration);
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
    Some((
        why,
        Remedy::note(format!(
            "start PostgreSQL at {place}; PgBouncer connects again within server_login_retry (15 s); if it runs elsewhere, {correct}"
        )),
    ))
}

/// The server's address, and what leads there.
fn leads_to(behind: &Behind, configuration: &Configuration<'_>) -> String {
    let place = behind.target.host_port();
    if behind.is_of_line {
        format!("{place}, where {} leads", configuration.line())
    } else {
        format!("{place}, where DATABASE_URL_UNPOOLED leads")
    }
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
                refused::renewed(pooler, server, &behind.target)
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
        let resume = Remedy::note("one of the two answers that it is not paused:").then(
            in_console(pooler, server, &[&one, "RESUME", "SHOW DATABASES"]),
        );
        // Its clients wait too until it tries again.
        let (unable, renew) = if refused::may_be_old(pooler, server) {
            let renew = refused::renewed(pooler, server, &behind.target).to_string();
            let lines = renew.lines().map(|line| line.trim_start_matches("# "));
            (
                format!(", or it cannot log in{}", configuration.stored(server)),
                lines.fold(
                    Remedy::note("if both answer that it is not paused, it cannot log in:"),
                    |remedy, line| remedy.then(Remedy::note(line)),
                ),
            )
        } else {
            (String::new(), Remedy::default())
        };
        return (
            format!(
                "PgBouncer keeps its clients waiting although {accepts}: it is paused (PAUSE, KILL){elsewhere}{unable}"
            ),
            resume.then(renew),
        );
    }
    (
        format!(
            "{accepts}, so the pooler has another password{}",
            configuration.stored(server)
        ),
        refused::renewed(pooler, server, &behind.target),
    )
}
