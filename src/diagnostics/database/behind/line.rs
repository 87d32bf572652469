//! Lines of `pgbouncer.ini` that lead to another server or database, or log in with what PostgreSQL
//! refuses.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Connection as _, PgBouncer, ServerConnection};
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::store::messages::{self, Place, quoted_name};

use super::control::{Configuration, RELOAD};

/// What is left of a check's time for the console.
pub(in crate::diagnostics::database) const ASKING: Duration = Duration::from_secs(2);

/// The pooler accepts user and password of `DATABASE_URL`, so they are right there.
pub(super) fn refused_behind(pooler: &PgBouncer, server: &PostgresTarget) -> (String, Remedy) {
    let configuration = Configuration::of(pooler, server);
    (
        format!(
            "the pooler at {} accepts DATABASE_URL, and PostgreSQL behind it refuses the pooler",
            server.host_port()
        ),
        Remedy::note(format!(
            "correct user= and password= of {}, or the password of {} in its auth_file, {}",
            configuration.line(),
            server.user,
            configuration.reload()
        )),
    )
}

/// `pg_hba.conf` asks the pooler for its system user, as on Debian for sockets, so that user and
/// password do not count.
pub(super) fn system_user_behind(pooler: &PgBouncer, server: &PostgresTarget) -> (String, Remedy) {
    let configuration = Configuration::of(pooler, server);
    let place = match &server.direct {
        Some(_) => Place::Server(server),
        None => Place::Unknown,
    };
    let change = messages::by_id("postgres.system-user").map(|known| (known.remedy)(place));
    (
        format!(
            "the pooler at {} accepts DATABASE_URL, and pg_hba.conf of PostgreSQL behind it asks the pooler for something else than a password",
            server.host_port()
        ),
        change.unwrap_or_default().then(Remedy::note(format!(
            "for peer, instead: give {} host=127.0.0.1, where pg_hba.conf asks for a password, {}",
            configuration.line(),
            configuration.reload()
        ))),
    )
}

/// The pooler leads to a standby, and `DATABASE_URL_UNPOOLED` to the primary. `None` if it leads to
/// another server that takes no changes.
pub(in crate::diagnostics::database) async fn of_standby(
    server: &PostgresTarget,
) -> Option<Verdict> {
    let direct = server.direct.as_ref()?;
    let mut session = ServerConnection::open(direct, ASKING).await.ok()?;
    let role = session.role().await;
    session.close().await;
    if role.ok()?.in_recovery {
        return None;
    }
    let place = server.host_port();
    let primary = direct.host_port();
    let (line, reload) = match PgBouncer::ask(server, ASKING).await {
        Some(pooler) => {
            let configuration = Configuration::of(&pooler, server);
            (configuration.line(), configuration.reload())
        }
        None => (
            format!(
                "the line {} of [databases] in pgbouncer.ini",
                server.database
            ),
            RELOAD.to_owned(),
        ),
    };
    Some(Verdict::fail(
        format!(
            "the pooler at {place} leads to a standby (in recovery), which is read-only; DATABASE_URL_UNPOOLED leads to the primary at {primary}"
        ),
        Remedy::note(format!(
            "correct host= and port= of {line}, so that it leads to {primary}, {reload}"
        )),
    ))
}

/// The pooler looks for another database than the one that `DATABASE_URL_UNPOOLED` leads to, or for
/// one that is not there.
pub(super) async fn other_database(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    message: &str,
) -> Option<(String, Remedy)> {
    let place = server.host_port();
    let configuration = Configuration::of(pooler, server);
    let (line, reload) = (configuration.line(), configuration.reload());
    if let Some(direct) = &server.direct {
        let own = &direct.database;
        match ServerConnection::open(direct, ASKING).await {
            Ok(session) => {
                session.close().await;
                return Some((
                    format!(
                        "the pooler at {place} looks for it; DATABASE_URL_UNPOOLED leads to {own}"
                    ),
                    Remedy::note(format!("give {line} dbname={own}, {reload}")),
                ));
            }
            // It is the one that is missing.
            Err(_) if quoted_name(message) == Some(own) => return None,
            Err(_) => {}
        }
    }
    Some((
        format!("the pooler at {place} looks for it"),
        Remedy::note(format!(
            "correct dbname= of {line}, {reload}; or create the database on the server behind the pooler"
        )),
    ))
}

/// The pooler logs in with a role of its own, which has not the rights of the one in
/// `DATABASE_URL`.
pub(in crate::diagnostics::database) async fn of_forced_role(
    verdict: Verdict,
    login: &str,
    server: &PostgresTarget,
) -> Verdict {
    if verdict.outcome != Outcome::Fail {
        return verdict;
    }
    let Some(pooler) = PgBouncer::ask(server, ASKING).await else {
        return verdict;
    };
    let user = &server.user;
    let line = Configuration::of(&pooler, server).line();
    Verdict::fail(
        format!(
            "{}; the pooler logs in as {login}, not as {user} of DATABASE_URL",
            verdict.detail
        ),
        Remedy::note(format!(
            "take user={login} and its password= out of {line}, then restart PgBouncer: after RELOAD alone it keeps the role; if {login} is meant to serve todoctl, it needs the rights of {user}"
        )),
    )
}

/// A right is missing to the role with which the pooler logs in, which is not that of `DATABASE_URL`.
pub(in crate::diagnostics::database) async fn lacks_right(
    context: &Context,
    server: &PostgresTarget,
) -> Option<Verdict> {
    let asked = context.server.ask(server, ASKING, async |connection| {
        Ok(connection.role().await?.login)
    });
    let login = timeout(ASKING, asked).await.ok()?.ok()?;
    if login == server.user {
        return None;
    }
    let verdict = of_forced_role(Verdict::fail("", None), &login, server).await;
    let why = verdict.detail.strip_prefix("; ")?.to_owned();
    Some(Verdict::fail(why, verdict.remedy))
}

/// `DATABASE_URL` leads through the pooler to another database than `DATABASE_URL_UNPOOLED`.
pub(in crate::diagnostics::database) async fn leads_elsewhere(
    verdict: Verdict,
    server: &PostgresTarget,
) -> Verdict {
    let Some(pooler) = PgBouncer::ask(server, ASKING).await else {
        return verdict;
    };
    let configuration = Configuration::of(&pooler, server);
    let (Some(database), Some(direct)) = (pooler.database(&server.database), &server.direct) else {
        return verdict;
    };
    let host = database.host.as_deref().unwrap_or("its socket");
    let set = configuration.set_of_line("dbname", "dbname", &direct.database);
    let correct = if database.own_name == direct.database {
        format!(
            "correct host= and port= of {}, {}",
            configuration.line(),
            configuration.reload()
        )
    } else {
        set.to_string().trim_start_matches("# ").to_owned()
    };
    Verdict::fail(
        format!(
            "{}; the pooler at {} leads to {} at {host}:{}",
            verdict.detail,
            server.host_port(),
            database.own_name,
            database.port
        ),
        Remedy::note(format!(
            "if DATABASE_URL_UNPOOLED leads to the service's database: {correct}"
        ))
        .then(Remedy::note(
            "if the pooler does, give DATABASE_URL_UNPOOLED the address of that database; this reads it without showing it: todoctl config set DATABASE_URL_UNPOOLED=-",
        )),
    )
}

/// What a person is told where the database is another one than the service's, and the pooler's line has
/// another name for it than `DATABASE_URL`.
pub(in crate::diagnostics::database) async fn other_line(
    server: &PostgresTarget,
) -> Option<Remedy> {
    let pooler = PgBouncer::ask(server, ASKING).await?;
    let own = pooler.database(&server.database)?.own_name;
    if own == server.database {
        return None;
    }
    let configuration = Configuration::of(&pooler, server);
    let set = configuration.set_of_line("dbname", "dbname", &server.database);
    Some(Remedy::note(format!(
        "the pooler at {} leads to the database {own}; if the service's is {}: {}",
        server.host_port(),
        server.database,
        set.to_string().trim_start_matches("# ")
    )))
}
