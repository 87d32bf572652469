//! Whether text still sorts as it did when the indexes were built.

use std::time::Duration;

use crate::config::sql_name;
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::{Collation, changed_collations};

use super::home::home;
use super::issue::{Issue, Place, Step, no_tables, verdict};

pub(super) async fn collation(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    check(context, server, limit)
        .await
        .unwrap_or_else(|error| query_failed(context, &error))
}

async fn check(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
) -> Result<Verdict, StoreError> {
    let Some(home) = home(context, server, limit).await? else {
        return Ok(no_tables());
    };
    let changed = context
        .server
        .ask(server.target, limit, async |connection| {
            changed_collations(connection.session(), home.schema).await
        })
        .await?;
    let database = &home.relations.session.database;
    let issues = changed.iter().map(|one| issue(database, one)).collect();
    Ok(verdict(
        Place::Server(server.target),
        issues,
        "the same versions as when the indexes were built",
    ))
}

fn issue(database: &str, one: &Collation) -> Issue {
    let database = sql_name(database);
    let (what, refresh) = match &one.name {
        None => (
            "the collation of the database".to_owned(),
            format!("ALTER DATABASE {database} REFRESH COLLATION VERSION"),
        ),
        Some(name) => (
            format!("the collation {name}"),
            format!("ALTER COLLATION {name} REFRESH VERSION"),
        ),
    };
    Issue::warn(
        format!(
            "{what} has the version {} now, and the indexes were built with {}: indexes on text may miss rows",
            one.actual, one.recorded
        ),
        [
            Step::RunBy(None, format!("REINDEX DATABASE CONCURRENTLY {database}")),
            Step::RunBy(None, refresh),
        ],
    )
}
