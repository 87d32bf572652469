//! Whether text still sorts as it did when the indexes were built.

use std::time::Duration;

use crate::config::sql_name;
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::{Collation, changed_collations};

use super::answer::of_tables;
use super::issue::{Issue, Place, Step, verdict};

pub(super) async fn collation(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    of_tables(
        context,
        server,
        limit,
        changed_collations,
        |home, changed| {
            let database = &home.relations.session.database;
            verdict(
                Place::Server(server.target),
                changed.iter().map(|one| issue(database, one)).collect(),
                "the same versions as when the indexes were built",
            )
        },
    )
    .await
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
