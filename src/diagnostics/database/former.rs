//! What the configured database has, and how the one that the service has had before gets its name
//! again.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::{
    DatabaseConfig, DatabaseTarget, PostgresTarget, Remedy, sql_literal, sql_name,
};
use crate::diagnostics::context::Context;
use crate::services::last_database::counted;
use crate::store::{Content, OtherDatabase, StoreError};

/// For the search through the server's databases.
const LIMIT: Duration = Duration::from_secs(3);

/// For the questions to one of them.
const ASKING: Duration = Duration::from_secs(1);

/// What is in the configured database, and whether it has a table of tasks at all; `None` if it
/// does not tell.
pub(in crate::diagnostics) async fn content(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Option<(Content, bool)> {
    let [without_identity, without_tasks] = Content::INCOMPLETE;
    for (query, has_tasks) in [
        (Content::QUERY, true),
        (without_identity, true),
        (without_tasks, false),
    ] {
        match asked(context, config, limit, query).await {
            Ok(content) => return Some((content, has_tasks)),
            Err(error) if error.needs_migration() => {}
            Err(_) => return None,
        }
    }
    Some((Content::default(), false))
}

pub(super) async fn asked(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
    query: &'static str,
) -> Result<Content, StoreError> {
    match &config.target {
        DatabaseTarget::Postgres(server) => {
            let question = context.server.ask(server, limit, async |connection| {
                Content::of_server(connection.session(), query).await
            });
            question.await
        }
        DatabaseTarget::Sqlite(file) => {
            let question = context.file.ask(file, limit, async |connection| {
                Content::of_file(connection.session(), query).await
            });
            question.await
        }
    }
}

/// How the database of this identity gets its name again, where the same server has it under
/// another name. With several, such as copies, a person has to choose.
pub(in crate::diagnostics) async fn named_back(
    config: &DatabaseConfig,
    id: &str,
) -> Option<Remedy> {
    let DatabaseTarget::Postgres(server) = &config.direct else {
        return None;
    };
    let search = OtherDatabase::find(server, id, ASKING);
    let found = timeout(LIMIT, search).await.unwrap_or_default();
    let mut renames = found.iter().map(|other| {
        Remedy::note(format!(
            "{} of the same server has the service's identity and {}; this gives it its name again, and ends the sessions of both:",
            other.name,
            counted(other.tasks)
        ))
        .then(exchanged(server, other))
    });
    match (found.as_slice(), renames.next()) {
        ([other], Some(rename)) if other.is_named_after => Some(rename),
        (_, Some(first)) => {
            let choice = Remedy::note("if one of these is the service's:");
            Some(renames.fold(choice.or(first), Remedy::or))
        }
        (_, None) => None,
    }
}

/// A daemon connects again at once, so nobody may until the names are exchanged, both or none.
fn exchanged(server: &PostgresTarget, other: &OtherDatabase) -> Remedy {
    let own = server.own_name();
    let names = format!("{}, {}", sql_literal(own), sql_literal(&other.name));
    let (own, other_name) = (sql_name(own), sql_name(&other.name));
    let aside = sql_name(&other.free_name);
    let allow = |name: &str, is| format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {is}");
    let rename = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN ({names}); \
         ALTER DATABASE {own} RENAME TO {aside}; ALTER DATABASE {other_name} RENAME TO {own}"
    );
    let first = allow(&own, false);
    let after = [rename, allow(&own, true), allow(&aside, true)];
    after.into_iter().fold(
        Remedy::admin_sql_in(server, server.other_database(), None, first),
        |command, statement| command.arg("-c").arg(statement),
    )
}
