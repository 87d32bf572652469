//! Why PgBouncer cannot look up the password of a user with `auth_user` and `auth_query`.

use sqlx::AssertSqlSafe;
use tokio::time::timeout;

use crate::config::{PostgresTarget, Remedy, sql_name};
use crate::diagnostics::probe::{
    Connection as _, PgBouncer, PoolerFiles, ServerConnection, Stored,
};
use crate::store::{ConnectError, ConnectFault};

use super::control::Configuration;
use super::target::{Behind, LOGIN};

/// PgBouncer's own default.
const QUERY: &str = "SELECT usename, passwd FROM pg_shadow WHERE usename=$1";

/// Asks the server what PgBouncer asks, as its `auth_user`. `None` where that works, or is not known.
pub(super) async fn cannot_look_up(
    pooler: &PgBouncer,
    server: &PostgresTarget,
) -> Option<(String, Remedy)> {
    let files = pooler.files.as_ref()?;
    let line = files.line(&server.database);
    let of_line = |name: &str| line.and_then(|line| line.parameter(name));
    let auth_user = of_line("auth_user").or(files.setting("auth_user"))?;
    // It asks for users alone that the file lacks.
    if matches!(files.stored(&server.user, ""), Some(stored) if stored != Stored::Nothing) {
        return None;
    }
    let configuration = Configuration::of(pooler, server);
    let file = files.path_of("auth_file")?;
    let (place, reload) = (file.display(), configuration.reload());
    let unlisted = (files.stored(auth_user, "") == Some(Stored::Nothing)).then(|| {
        (
            format!("{place} has no line for {auth_user}, the auth_user of the pooler"),
            Remedy::note(format!(
                "give auth_user a line in {place}, \"{auth_user}\" and its password in quotes, {reload}"
            )),
        )
    });
    let Some(behind) = Behind::of(pooler, server) else {
        return unlisted;
    };
    let password = match &unlisted {
        // The server may let it in without one.
        Some(_) => None,
        None => Some(files.password_of(auth_user)?),
    };
    let own_database = of_line("auth_dbname").or(files.setting("auth_dbname"));
    let target = PostgresTarget {
        user: auth_user.to_owned(),
        password,
        database: own_database.unwrap_or(&behind.target.database).to_owned(),
        ..behind.target
    };
    let refused = |error: &ConnectError| {
        format!(
            "PostgreSQL at {} says to {auth_user}, the auth_user of the pooler: {}",
            target.host_port(),
            error.message
        )
    };
    let mut session = match ServerConnection::open(&target, LOGIN).await {
        Ok(session) => session,
        Err(error) if error.fault == ConnectFault::NoSuchDatabase && own_database.is_some() => {
            return Some((
                refused(&error),
                Remedy::note(format!(
                    "correct auth_dbname in {} or in {}, {reload}",
                    configuration.file(),
                    configuration.line()
                )),
            ));
        }
        // It does not answer, whatever the role.
        Err(error) if error.fault != ConnectFault::Login => return None,
        Err(_) if unlisted.is_some() => return unlisted,
        Err(error) => {
            return Some((
                refused(&error),
                Remedy::note(format!(
                    "give {auth_user} in {place} the password that it has in PostgreSQL, {reload}; or the same one there:"
                ))
                .then(Remedy::note(
                    Remedy::admin_sql_in(&target, target.other_database(), None, format!("\\password {}", sql_name(auth_user))).to_string(),
                )),
            ));
        }
    };
    let found = look_up(&mut session, files, server).await;
    session.close().await;
    let query = files.setting("auth_query").unwrap_or(QUERY);
    match found? {
        Ok(true) => None,
        Ok(false) => Some((
            format!(
                "auth_query of the pooler finds no password of {}: {query}",
                server.user
            ),
            Remedy::note(format!(
                "correct the user in DATABASE_URL, or auth_query in {}, {reload}",
                configuration.file()
            )),
        )),
        Err(message) => Some((
            format!(
                "auth_query of the pooler fails as {auth_user} in {}: {message}",
                target.database
            ),
            Remedy::note(format!(
                "it is: {query}; let {auth_user} run it in {}, or correct it in {}, {reload}",
                target.database,
                configuration.file()
            )),
        )),
    }
}

/// Whether `auth_query` finds the user; `None` if it takes too long. It changes nothing, whatever the
/// operator has written there.
async fn look_up(
    session: &mut ServerConnection,
    files: &PoolerFiles,
    server: &PostgresTarget,
) -> Option<Result<bool, String>> {
    let query = files.setting("auth_query").unwrap_or(QUERY).to_owned();
    let asked = async {
        let session = session.session();
        sqlx::raw_sql("BEGIN READ ONLY")
            .execute(&mut *session)
            .await?;
        sqlx::query(AssertSqlSafe(query))
            .bind(&server.user)
            .persistent(false)
            .fetch_optional(session)
            .await
    };
    let found = timeout(LOGIN, asked).await.ok()?;
    Some(found.map(|row| row.is_some()).map_err(|error| match error {
        sqlx::Error::Database(fault) => fault.message().to_owned(),
        other => other.to_string(),
    }))
}
