//! Whether a search has an index to use.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, PostgresTarget, Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Connection as _, Role, Search, ServerConnection};
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::store::messages::{self, Place};
use crate::store::{PostgresFault, create_trigram_index};

use super::fault::query_failed;
use super::pooler::no_direct;
use super::role::use_of_schema;
use super::schema::{search_index, wrong_copies_of_server};

pub(super) async fn search(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(target) => {
            of_server(context, Server { config, target }, limit).await
        }
        DatabaseTarget::Sqlite(file) => search_index(context, file, limit).await,
    }
}

async fn of_server(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let verdict = index_of_server(context, server, limit).await;
    if verdict.outcome != Outcome::Pass {
        return verdict;
    }
    let wrong = wrong_copies_of_server(context, server.target, limit).await;
    wrong.unwrap_or(verdict)
}

async fn index_of_server(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let question = context
        .server
        .ask(server.target, limit, async |connection| {
            Ok((connection.search().await?, connection.role().await?))
        });
    let (found, role) = match question.await {
        Ok(answer) => answer,
        Err(error) => return query_failed(context, &error),
    };
    // The daemon builds it on its direct connection, whose role may be another.
    let answer = match &server.config.direct {
        DatabaseTarget::Postgres(direct)
            if direct.user != server.target.user && !found.has_index =>
        {
            of_builder(direct, limit).await
        }
        _ => None,
    };
    let (found, role) = answer.unwrap_or((found, role));
    let verdict = check_search(&found, &role, server.target);
    if verdict.outcome != Outcome::Pass || found.has_index || !found.is_migrated {
        return verdict;
    }
    let refusal = context
        .server
        .ask(server.target, limit, async |connection| {
            connection.refusal_of_index(found.extension.is_none()).await
        });
    match refusal.await {
        Ok(Some(fault)) => refused(&fault, &found, &role, server.target),
        Ok(None) | Err(_) => through_pooler(server).unwrap_or(verdict),
    }
}

/// What the role sees that builds the index.
async fn of_builder(direct: &PostgresTarget, limit: Duration) -> Option<(Search, Role)> {
    let mut connection = ServerConnection::open(direct, limit).await.ok()?;
    let found = connection.search().await.ok()?;
    let role = connection.role().await.ok()?;
    connection.close().await;
    Some((found, role))
}

/// An event trigger refuses the index. It does not fire in a session that replays changes.
fn refused(fault: &PostgresFault, found: &Search, role: &Role, server: &PostgresTarget) -> Verdict {
    let schema = role.schema.as_deref().unwrap_or("public");
    let table = format!("{}.tasks", sql_name(schema));
    let extension = found.extension.as_deref().unwrap_or("public");
    let psql = |statement: String| {
        Remedy::admin_command("psql", server, role.administrator.as_deref())
            .arg("-d")
            .arg(server.own_name())
            .arg("-c")
            .arg("SET session_replication_role = replica")
            .arg("-c")
            .arg(statement)
    };
    let create = found
        .extension
        .is_none()
        .then(|| psql("CREATE EXTENSION IF NOT EXISTS pg_trgm".to_owned()));
    Verdict::warn(
        format!(
            "{SCAN}: the daemon cannot build the index, because a function of an event trigger refuses it ({}): {}",
            fault.raised_in.as_deref().unwrap_or_default(),
            fault.message
        ),
        Remedy::note("this builds it without event triggers; all others stay in force:")
            .then(create)
            .then(psql(create_trigram_index(&table, extension))),
    )
}

/// A pooler does not keep the lock under which the daemon builds it.
fn through_pooler(server: Server<'_>) -> Option<Verdict> {
    let DatabaseTarget::Postgres(direct) = &server.config.direct else {
        return None;
    };
    let known = messages::by_id("todoctl.through-pooler").filter(|_| direct.pooled)?;
    Some(Verdict::warn(
        format!(
            "{SCAN}: the daemon builds the index on a direct connection alone, and {}",
            no_direct(direct)
        ),
        (known.remedy)(Place::Server(server.target)),
    ))
}

const SCAN: &str = "each search reads all tasks of its user";

fn check_search(found: &Search, role: &Role, server: &PostgresTarget) -> Verdict {
    let as_administrator =
        |statement: String| Remedy::admin_sql(server, role.administrator.as_deref(), statement);
    if !found.is_migrated {
        return Verdict::pass("the tasks have no folded texts before they are migrated");
    }
    if found.has_index {
        return Verdict::pass("an index leads to the tasks that contain a text");
    }
    let Some(extension) = &found.extension else {
        if !found.is_available {
            return Verdict::warn(
                format!("{SCAN}: the server does not have the extension pg_trgm"),
                Remedy::note(
                    "install PostgreSQL's additional modules on the server (postgresql-contrib); the daemon does the rest within 15 minutes",
                ),
            );
        }
        if !found.may_create {
            return Verdict::warn(
                format!(
                    "{SCAN}: the extension pg_trgm is not in the database, and {} may not create it",
                    role.name
                ),
                as_administrator("CREATE EXTENSION IF NOT EXISTS pg_trgm".to_owned()),
            );
        }
        return soon();
    };
    if !found.owns_tasks {
        let schema = role.schema.as_deref().unwrap_or("public");
        let table = format!("{}.tasks", sql_name(schema));
        return Verdict::warn(
            format!(
                "{SCAN}: only the owner of tasks may build an index, and {} is not",
                role.name
            ),
            as_administrator(create_trigram_index(&table, extension)),
        );
    }
    if !found.may_use_extension {
        return Verdict::warn(
            format!(
                "{SCAN}: {} may not use the schema {extension} with the extension pg_trgm",
                role.name
            ),
            as_administrator(use_of_schema(extension, &role.name, false)),
        );
    }
    if let Some(schema) = role.schema.as_ref().filter(|_| !role.may_create) {
        return Verdict::warn(
            format!("{SCAN}: {} may not create an index in {schema}", role.name),
            as_administrator(use_of_schema(&sql_name(schema), &role.name, true)),
        );
    }
    soon()
}

/// The daemon can build the index.
fn soon() -> Verdict {
    Verdict::pass("each search reads all tasks of its user, until the daemon has built an index")
}
