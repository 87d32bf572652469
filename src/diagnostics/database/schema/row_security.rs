//! Whether row-level security lets the role read and change every row.

use std::time::Duration;

use crate::config::sql_name;
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::Guarded;

use super::home::{Home, home};
use super::issue::{Issue, Place, no_tables, verdict};

pub(super) async fn row_security(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
) -> Verdict {
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
    let guarded = context
        .server
        .ask(server.target, limit, async |connection| {
            Guarded::ask(connection.session(), Some(home.schema)).await
        })
        .await?;
    let issues: Vec<Issue> = guarded.iter().filter_map(|one| issue(home, one)).collect();
    let fine = if guarded.is_empty() {
        "applies to no table"
    } else {
        "its policies let this role use every row"
    };
    Ok(verdict(Place::Server(server.target), issues, fine))
}

fn issue(home: Home<'_>, one: &Guarded) -> Option<Issue> {
    let role = &home.relations.session.role;
    let table = home.qualified(&one.name);
    let statement = if one.is_owned {
        format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    } else {
        // The name of a policy is the table's own.
        let taken = |name: &String| one.policies.contains(name);
        let mut name = "todoctl".to_owned();
        while taken(&name) {
            name += "_all";
        }
        format!(
            "CREATE POLICY {name} ON {table} TO {} USING (true) WITH CHECK (true)",
            sql_name(role)
        )
    };
    let step = [home.alter(&one.name, statement)];
    if !one.closed.is_empty() {
        return Some(Issue::fail(
            format!(
                "row-level security of {} has no policy that lets {role} use {}: rows are hidden, and changes are refused",
                one.name,
                one.closed.join(", ")
            ),
            step,
        ));
    }
    (!one.limited.is_empty()).then(|| {
        Issue::warn(
            format!(
                "policies of {} ({}) limit which rows {role} may use with {}",
                one.name,
                one.policies.join(", "),
                one.limited.join(", ")
            ),
            step,
        )
    })
}
