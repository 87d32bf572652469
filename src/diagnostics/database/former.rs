//! What the configured database has, and how the one that the service has had before gets its name
//! again.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::{
    DatabaseConfig, DatabaseTarget, PostgresTarget, Remedy, sql_literal, sql_name,
};
use crate::diagnostics::context::Context;
use crate::services::last_database::{LastDatabase, counted};
use crate::store::{Content, OtherDatabase, Served, StoreError};

use super::other_port;

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

/// The database that the service has had before.
#[derive(Debug, Clone, Copy)]
pub(in crate::diagnostics) struct Former<'a> {
    /// Its row of `todoctl_identity`, which copies have too.
    pub(in crate::diagnostics) id: &'a str,
    /// What tells it from its copies ([`LastDatabase::database`]), if that is known.
    pub(in crate::diagnostics) database: Option<&'a str>,
}

impl<'a> Former<'a> {
    /// Where `target` has another name, no renaming leads back.
    pub(super) fn of(last: &'a LastDatabase, target: &DatabaseTarget) -> Self {
        let has_same_name = match target {
            DatabaseTarget::Postgres(server) => last.name() == Some(server.database.as_str()),
            DatabaseTarget::Sqlite(_) => false,
        };
        Self {
            id: &last.id,
            database: last.database.as_deref().filter(|_| has_same_name),
        }
    }
}

/// How the URL leads to the database again that the service has had before, if the server still has
/// it under its name: it is the URL that was changed. The second value is how many tasks it has.
pub(super) async fn led_back(
    config: &DatabaseConfig,
    last: &LastDatabase,
) -> Option<(Remedy, i64)> {
    let DatabaseTarget::Postgres(server) = &config.target else {
        return None;
    };
    let name = last.name().filter(|name| *name != server.database)?;
    let Served { content, .. } = Served::find(server, name, ASKING).await?;
    if content.id.as_ref() != Some(&last.id) || content.tasks == 0 {
        return None;
    }
    let is_led_there =
        |one: &PostgresTarget| one.variable != server.variable && one.database == server.database;
    let mut variables = vec![server.variable];
    if let DatabaseTarget::Postgres(direct) = &config.direct
        && is_led_there(direct)
    {
        variables.push(direct.variable);
    }
    let sets = variables
        .into_iter()
        .map(|variable| Remedy::set(format!("{variable}.database"), name));
    let remedy = sets
        .fold(Remedy::default(), Remedy::then)
        .then(Remedy::note(format!(
            "then restart the daemon; what it has stored meanwhile is in {}",
            server.database
        )));
    Some((remedy, content.tasks))
}

/// Leads back to the original, where the same server has it under another name: it gets its name
/// again, if the present one has no `tasks`. Otherwise a person has to choose, beside `otherwise`: the
/// present one may be a restored backup, and a copy with the same identity may be an old one.
pub(in crate::diagnostics) async fn named_back(
    config: &DatabaseConfig,
    former: Former<'_>,
    tasks: i64,
    otherwise: Remedy,
) -> Remedy {
    let DatabaseTarget::Postgres(server) = &config.direct else {
        return otherwise;
    };
    let search = OtherDatabase::find(server, former.id, former.database, ASKING);
    let found = timeout(LIMIT, search).await.unwrap_or_default();
    let Some(first) = found.first() else {
        if !config.has_one_address() {
            return otherwise;
        }
        return other_port::led_back(server, former.database, tasks, otherwise).await;
    };
    if !first.is_original {
        let copies: Vec<String> = found
            .iter()
            .map(|other| format!("{} ({})", other.name, counted(other.tasks)))
            .collect();
        return otherwise.then(Remedy::note(format!(
            "other databases of the same server have the service's identity, as its copies do, which may be old: {}",
            copies.join(", ")
        )));
    }
    let what = format!(
        "{} of the same server is the database that this service has had, with {}",
        first.name,
        counted(first.tasks)
    );
    if tasks == 0 {
        return Remedy::note(format!(
            "{what}; this gives it its name again, and ends the sessions of both:"
        ))
        .then(exchanged(server, first));
    }
    Remedy::note(format!(
        "{what}; to go on with that one, this gives it its name again, and keeps what is in {} now as {}:",
        server.own_name(),
        first.free_name
    ))
    .or(exchanged(server, first))
    .then(otherwise)
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
