//! Whether row-level security lets the role read and change every row.

use std::time::Duration;

use sqlx::PgConnection;

use crate::config::{PostgresTarget, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::overrides::reset;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::{Guarded, Session};

use super::answer::of_tables;
use super::home::Home;
use super::issue::{Issue, Place, Step, verdict};

pub(super) async fn row_security(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
) -> Verdict {
    let question =
        async |session: &mut PgConnection, schema: &str| Guarded::ask(session, Some(schema)).await;
    of_tables(context, server, limit, question, |home, guarded| {
        let fine = if guarded.is_empty() {
            "applies to no table"
        } else {
            "its policies let this role use every row"
        };
        let session = &home.relations.session;
        let is_off = session.has_row_security_off && !guarded.is_empty();
        let off = is_off.then(|| refused(server.target, session, guarded));
        let issues = guarded.iter().filter_map(|one| issue(home, one));
        verdict(
            Place::Server(server.target),
            off.into_iter().chain(issues).collect(),
            fine,
        )
    })
    .await
}

/// With `row_security = off` PostgreSQL refuses each statement that a policy applies to.
fn refused(target: &PostgresTarget, session: &Session, guarded: &[Guarded]) -> Issue {
    let names: Vec<&str> = guarded.iter().map(|one| one.name.as_str()).collect();
    Issue::fail(
        format!(
            "row_security is off for {}, so that statements on {} are refused",
            session.role,
            names.join(", ")
        ),
        [
            Step::Other(reset(target, &session.overrides, "row_security")),
            Step::note("restart the daemon: its sessions keep the old setting"),
        ],
    )
}

fn issue(home: Home<'_>, one: &Guarded) -> Option<Issue> {
    let role = &home.relations.session.role;
    let table = home.qualified(&one.name);
    let step = if !one.restrictive.is_empty() {
        // No policy can allow what a restrictive one does not. Open sessions keep their plans when
        // the role changes, and make new ones when the table does.
        let role = sql_name(role);
        Step::RunBy(
            None,
            format!("ALTER ROLE {role} BYPASSRLS; ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"),
        )
    } else if one.is_owned {
        let statement = format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY");
        home.alter(&one.name, statement)
    } else {
        // The name of a policy is the table's own.
        let taken = |name: &String| one.policies.contains(name);
        let mut name = "todoctl".to_owned();
        while taken(&name) {
            name += "_all";
        }
        let statement = format!(
            "DROP POLICY IF EXISTS {name} ON {table}; \
             CREATE POLICY {name} ON {table} TO {} USING (true) WITH CHECK (true)",
            sql_name(role)
        );
        home.alter(&one.name, statement)
    };
    if !one.closed.is_empty() {
        return Some(Issue::fail(
            format!(
                "row-level security of {} has no policy that lets {role} use {}: rows are hidden, and changes are refused",
                one.name,
                one.closed.join(", ")
            ),
            [step],
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
            [step],
        )
    })
}
