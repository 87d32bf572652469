//! Lines of `pgbouncer.ini` that lead to another server or database, or log in with what PostgreSQL
//! refuses.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::probe::{Connection as _, PgBouncer, ServerConnection};
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::store::messages::{self, Place, quoted_name};

/// What is left of a check's time for the console.
pub(in crate::diagnostics::database) const ASKING: Duration = Duration::from_secs(2);

/// What follows a change of pgbouncer.ini.
pub(in crate::diagnostics::database) const RELOAD: &str =
    "then RELOAD in its console, or reload its service";

/// The pooler accepts user and password of `DATABASE_URL`, so they are right there.
pub(super) fn refused_behind(server: &PostgresTarget) -> (String, Remedy) {
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

/// `pg_hba.conf` asks the pooler for its system user, as on Debian for sockets, so that user and
/// password do not count.
pub(super) fn system_user_behind(server: &PostgresTarget) -> (String, Remedy) {
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
            "for peer, instead: give the line {} in pgbouncer.ini host=127.0.0.1, where pg_hba.conf asks for a password, {RELOAD}",
            server.database
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
    let (primary, line) = (direct.host_port(), &server.database);
    Some(Verdict::fail(
        format!(
            "the pooler at {place} leads to a standby (in recovery), which is read-only; DATABASE_URL_UNPOOLED leads to the primary at {primary}"
        ),
        Remedy::note(format!(
            "correct host= and port= of the line {line} of [databases] in pgbouncer.ini, so that it leads to {primary}, {RELOAD}"
        )),
    ))
}

/// The pooler looks for another database than the one that `DATABASE_URL_UNPOOLED` leads to, or for
/// one that is not there.
pub(super) async fn other_database(
    server: &PostgresTarget,
    message: &str,
) -> Option<(String, Remedy)> {
    let place = server.host_port();
    let line = &server.database;
    if let Some(direct) = &server.direct {
        let own = &direct.database;
        match ServerConnection::open(direct, ASKING).await {
            Ok(session) => {
                session.close().await;
                return Some((
                    format!(
                        "the pooler at {place} looks for it; DATABASE_URL_UNPOOLED leads to {own}"
                    ),
                    Remedy::note(format!(
                        "in pgbouncer.ini, give the line {line} of [databases] dbname={own}, {RELOAD}"
                    )),
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
            "correct dbname= of the line {line} in pgbouncer.ini, {RELOAD}; or create the database on the server behind the pooler"
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
            "take user={login} and its password= out of the line {database} in pgbouncer.ini, then restart PgBouncer: after RELOAD alone it keeps the role; if {login} is meant to serve todoctl, it needs the rights of {user}"
        )),
    )
}
