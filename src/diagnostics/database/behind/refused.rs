//! Logins that PgBouncer itself refuses.

use crate::config::{PostgresTarget, Remedy, sql_name};
use crate::diagnostics::probe::{Connection as _, PgBouncer, Stored};
use crate::store::ConnectFault;
use crate::store::messages::{self, Place};

use super::control::{Configuration, in_console};
use super::target::{Behind, direct_answers};

/// It knows another password than `DATABASE_URL` has, or no such user; the server tells which is
/// right. `None` if both refuse what `DATABASE_URL` has.
pub(super) async fn by_pooler(
    pooler: &PgBouncer,
    server: &PostgresTarget,
) -> Option<(String, Remedy)> {
    let configuration = Configuration::of(pooler, server);
    let behind = Behind::of(pooler, server);
    let Some(behind) = behind else {
        return stored(&configuration, server);
    };
    let place = behind.target.host_port();
    match behind.log_in().await {
        Ok(session) => {
            session.close().await;
            Some((
                format!(
                    "PostgreSQL at {place} accepts user and password of DATABASE_URL, so the pooler has others{}",
                    configuration.stored(server)
                ),
                renewed(pooler, server, &behind.target),
            ))
        }
        Err(error) if error.fault == ConnectFault::Login => {
            let is_direct_right = direct_answers(server).await;
            is_direct_right.then(|| {
                (
                    format!(
                        "PostgreSQL at {place} refuses them too, and accepts user and password of DATABASE_URL_UNPOOLED"
                    ),
                    Remedy::note("give DATABASE_URL the same user and password; this asks for the password, and encodes it: todoctl config set DATABASE_URL.password=-")
                        .then(Remedy::note(format!("if the pooler has an old one too{}:", configuration.stored(server))))
                        .then(renewed(pooler, server, &behind.target)),
                )
            })
        }
        Err(_) => stored(&configuration, server),
    }
}

/// What its file alone tells.
fn stored(configuration: &Configuration<'_>, server: &PostgresTarget) -> Option<(String, Remedy)> {
    let text = configuration.stored(server);
    let what = text.strip_prefix(": ")?;
    Some((
        format!("the pooler's auth_file {what}"),
        Remedy::note("correct user and password in DATABASE_URL; this asks for the password, and encodes it: todoctl config set DATABASE_URL.password=-")
            .then(Remedy::note(format!(
                "if they are right, correct the line of {} in that file, {}",
                server.user,
                configuration.reload()
            ))),
    ))
}

/// Its list of databases lacks the one of `DATABASE_URL`.
pub(super) async fn without_line(
    pooler: &PgBouncer,
    server: &PostgresTarget,
) -> Option<(String, Remedy)> {
    let direct = server.direct.as_deref()?;
    let configuration = Configuration::of(pooler, server);
    let add = configuration.add_line(direct)?;
    direct_answers(server).await.then(|| {
        (
            format!(
                "the server has it at {}, where DATABASE_URL_UNPOOLED leads",
                direct.host_port()
            ),
            Remedy::note("this adds a line with that address:").then(add),
        )
    })
}

/// `DISABLE` was typed in its console.
pub(super) fn disabled(pooler: &PgBouncer, server: &PostgresTarget) -> (String, Remedy) {
    let name = &server.database;
    let command = format!("ENABLE {}", sql_name(name));
    (
        format!("the pooler refuses new clients of {name} until ENABLE"),
        in_console(pooler, server, &[&command]),
    )
}

/// A limit of clients, which the message names: `no more connections allowed (max_client_conn)`.
pub(super) fn too_many_clients(
    pooler: &PgBouncer,
    server: &PostgresTarget,
    message: &str,
) -> Option<(String, Remedy)> {
    let files = pooler.files.as_ref()?;
    let is_named = |name: &&str| message.contains(*name);
    let name = LIMITS.into_iter().find(is_named)?;
    let now: Option<u32> = files.setting(name).and_then(|text| text.parse().ok());
    let wanted = now.unwrap_or(100).saturating_mul(2).max(200);
    Some((
        format!(
            "{} allows {}",
            files.ini.display(),
            now.map_or("100".to_owned(), |now| now.to_string())
        ),
        Remedy::note(
            "each daemon opens up to SQLALCHEMY_POOL_SIZE and SQLALCHEMY_POOL_OVERFLOW together:",
        )
        .then(Configuration::of(pooler, server).set(name, wanted)),
    ))
}

/// PgBouncer's limits of clients.
const LIMITS: [&str; 3] = [
    "max_client_conn",
    "max_user_client_connections",
    "max_db_client_connections",
];

/// PostgreSQL refuses what the `auth_file` has for the user, as after the password was set again.
pub(super) fn with_old_secret(
    pooler: &PgBouncer,
    server: &PostgresTarget,
) -> Option<(String, Remedy)> {
    may_be_old(pooler, server)
        .then(|| with_hash(pooler, server))
        .flatten()
}

/// Whether what the `auth_file` has for the user may be what PostgreSQL does not accept.
pub(super) fn may_be_old(pooler: &PgBouncer, server: &PostgresTarget) -> bool {
    let Some(files) = &pooler.files else {
        return false;
    };
    let of_line = |name: &str| files.line(&server.database)?.parameter(name);
    // A password of the line precedes the one of the file.
    if of_line("user").is_some() && of_line("password").is_some() {
        return false;
    }
    let password = server.password.as_ref().map_or("", |one| one.expose());
    match files.stored(&server.user, password) {
        None | Some(Stored::Same) => false,
        // It may come from auth_query.
        Some(Stored::Nothing) => {
            files.setting("auth_user").is_none() && of_line("auth_user").is_none()
        }
        Some(Stored::Other | Stored::Secret) => true,
    }
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

/// PgBouncer has a password in a form with which it cannot log in at the server.
pub(super) fn with_hash(pooler: &PgBouncer, server: &PostgresTarget) -> Option<(String, Remedy)> {
    let behind = Behind::of(pooler, server)?;
    let configuration = Configuration::of(pooler, server);
    let renewed = configuration.renew_password(server, &behind.target)?;
    let stored = configuration.stored(server);
    let why = stored.strip_prefix(": ").map_or_else(
        || format!("its auth_file is in {}", configuration.file()),
        str::to_owned,
    );
    Some((why, renewed))
}

/// Its `auth_hba_file` has no line for the user, the database and the address.
pub(super) fn by_hba(pooler: &PgBouncer, server: &PostgresTarget) -> Option<(String, Remedy)> {
    let files = pooler.files.as_ref()?;
    let file = files.path_of("auth_hba_file")?;
    let place = file.display();
    let why = format!("the first line of {place} that fits decides");
    let allow = Configuration::of(pooler, server).allow(server, &file)?;
    Some((
        why,
        Remedy::note("this puts a line for it before all others:").then(allow),
    ))
}
