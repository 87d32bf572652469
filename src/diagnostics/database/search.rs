//! Whether a search has an index to use.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, PostgresTarget, Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{Role, Search};
use crate::diagnostics::verdict::Verdict;
use crate::store::create_trigram_index;

use super::fault::query_failed;
use super::schema::search_index;

pub(super) async fn search(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    match &config.target {
        DatabaseTarget::Postgres(target) => {
            of_server(context, Server { config, target }, limit).await
        }
        DatabaseTarget::Sqlite(file) => search_index(context, file, limit).await,
    }
}

async fn of_server(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    let question = context
        .server
        .ask(server.target, limit, async |connection| {
            Ok((connection.search().await?, connection.role().await?))
        });
    match question.await {
        Ok((found, role)) => check_search(&found, &role, server.target),
        Err(error) => query_failed(context, &error),
    }
}

fn check_search(found: &Search, role: &Role, server: &PostgresTarget) -> Verdict {
    const SCAN: &str = "each search reads all tasks of its user";
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
    soon()
}

/// The daemon can build the index.
fn soon() -> Verdict {
    Verdict::pass("each search reads all tasks of its user, until the daemon has built an index")
}
