//! What `pg_repack` leaves on a table when its run is broken off.

use std::time::Duration;

use crate::config::{Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::store::PostgresFault;
use crate::store::inspect::ForeignTrigger;

use super::foreign_triggers::foreign_triggers;
use super::home::Home;
use super::issue::{Issue, Place, Step, guarded};

const SCHEMA: &str = "repack.";

/// While `pg_repack` is at work, its rows would be lost with the trigger.
const IS_OVER: &str =
    "NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $$pg_repack$$)";

pub(super) fn is_of_repack(one: &ForeignTrigger) -> bool {
    one.function.starts_with(SCHEMA)
}

/// Its trigger, unless it is at work.
pub(super) fn issue(home: Home<'_>, one: &ForeignTrigger) -> Option<Issue> {
    (!one.is_repacking).then(|| {
        Issue::warn(
            format!(
                "{} has the trigger {} of a run of pg_repack that was broken off: each change also fills a table of the schema repack, which nobody reads",
                one.table, one.name
            ),
            steps(home, one),
        )
    })
}

fn steps(home: Home<'_>, one: &ForeignTrigger) -> [Step; 2] {
    let drop = format!(
        "DROP TRIGGER IF EXISTS {} ON {}",
        sql_name(&one.name),
        home.qualified(&one.table)
    );
    [
        home.alter(&one.table, guarded(IS_OVER, &drop)),
        Step::note(
            "as a superuser, what else it has left is removed by DROP EXTENSION pg_repack CASCADE; for the next run: CREATE EXTENSION pg_repack",
        ),
    ]
}

/// Takes its triggers from the tables, where they are what fails.
pub(in crate::diagnostics::database) async fn without_repack(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
    fault: &PostgresFault,
) -> Option<Remedy> {
    let raised_in = fault.raised_in.as_deref().unwrap_or_default();
    if ![raised_in, &fault.message]
        .iter()
        .any(|text| text.contains("repack"))
    {
        return None;
    }
    let (home, triggers) = foreign_triggers(context, server, limit).await?;
    let left = triggers
        .iter()
        .filter(|one| is_of_repack(one) && !one.is_repacking);
    let steps = left.flat_map(|one| steps(home, one));
    let remedy = steps.fold(Remedy::default(), |all, step| {
        all.then(step.remedy(Place::Server(server.target)))
    });
    (!remedy.is_empty()).then_some(remedy)
}
