//! The triggers of todoctl, and what others attached to its tables.

use std::time::Duration;

use crate::config::sql_name;
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::{EventTrigger, ForeignTrigger, event_triggers};
use crate::store::migrate::drift::Drift;
use crate::store::migrate::newest_statement;

use super::home::{Home, drift_of};
use super::issue::{Issue, Place, Step, no_tables, verdict};
use super::parts::{Sides, parts};

const FUNCTION: &str = "todoctl_count_unread";

/// The trigger that removes folded texts which are out of date.
const FOLDED: &str = "todoctl_folded_outdated";
const DISABLED: &str = " (disabled)";

pub(super) async fn triggers(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    check(context, server, limit)
        .await
        .unwrap_or_else(|error| query_failed(context, &error))
}

async fn check(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
) -> Result<Verdict, StoreError> {
    let Some((home, drift)) = drift_of(context, server, limit).await? else {
        return Ok(no_tables());
    };
    let (foreign, events) = context
        .server
        .ask(server.target, limit, async |connection| {
            let session = connection.session();
            let foreign = ForeignTrigger::ask(session, home.schema).await?;
            Ok((foreign, event_triggers(session).await?))
        })
        .await?;
    let mut issues = Vec::new();
    if home.relations.session.skips_triggers {
        let session = &home.relations.session;
        let (role, database) = (sql_name(&session.role), sql_name(&session.database));
        issues.push(Issue::fail(
            "session_replication_role is replica: no trigger and no foreign key works in the daemon's sessions",
            [
                Step::RunBy(
                    None,
                    format!(
                        "ALTER ROLE {role} RESET session_replication_role; \
                         ALTER DATABASE {database} RESET session_replication_role; \
                         ALTER ROLE {role} IN DATABASE {database} RESET session_replication_role"
                    ),
                ),
                Step::note("restart the daemon: its sessions keep the old setting"),
            ],
        ));
    }
    issues.extend(function(home, drift));
    issues.extend(parts(drift, "trigger").filter_map(|one| own(home, one)));
    issues.extend(constraint_triggers(home, drift));
    issues.extend(parts(drift, "rule").filter_map(|one| Some(rule(home, one, one.found?))));
    issues.extend(foreign.iter().map(|one| of_others(home, one)));
    issues.extend(events.iter().map(refusing_changes));
    Ok(verdict(
        Place::Server(server.target),
        issues,
        "those of todoctl are enabled; none of others",
    ))
}

/// A trigger of todoctl that is missing, disabled or another. Counts that were missed are made up
/// for in the same transaction.
fn own(home: Home<'_>, sides: Sides<'_>) -> Option<Issue> {
    let (table, trigger) = (sides.table, sides.part);
    let expected = sides.expected?;
    let name = sql_name(trigger);
    let (text, correction) = match sides.found {
        None => (
            format!("the trigger {trigger} of {table} is missing"),
            expected.to_owned(),
        ),
        Some(found) if found.strip_suffix(DISABLED) == Some(expected) => (
            format!("the trigger {trigger} of {table} is disabled"),
            format!("ALTER TABLE {} ENABLE TRIGGER {name}", sql_name(table)),
        ),
        Some(_) => (
            format!("the trigger {trigger} of {table} is another"),
            format!("DROP TRIGGER {name} ON {}; {expected}", sql_name(table)),
        ),
    };
    let (harm, correction) = if trigger == FOLDED {
        (
            "searches find changed tasks by their old texts",
            folded_again(home, &correction),
        )
    } else {
        (
            "unread notifications are counted wrongly",
            counted_again(home, &correction),
        )
    };
    Some(Issue::fail(format!("{text}: {harm}"), [home.alter(table, correction)]).fixable())
}

/// A correction, after which the daemon folds all texts again: some have changed meanwhile.
fn folded_again(home: Home<'_>, correction: &str) -> String {
    format!(
        "BEGIN; {} {correction}; UPDATE tasks SET search_title = NULL, search_description = NULL WHERE search_title IS NOT NULL; COMMIT",
        home.in_schema("").trim_end()
    )
}

/// A correction and a new count of the unread notifications, while nobody changes them.
fn counted_again(home: Home<'_>, correction: &str) -> String {
    let count = newest_statement("INSERT INTO todoctl_unread (user_id, unread)\nSELECT")
        .unwrap_or_default()
        .trim_end_matches(';');
    format!(
        "BEGIN; {} LOCK TABLE notifications IN SHARE ROW EXCLUSIVE MODE; {correction}; DELETE FROM todoctl_unread; {count}; COMMIT",
        home.in_schema("").trim_end()
    )
}

/// The function that counts unread notifications.
fn function(home: Home<'_>, drift: &Drift) -> Option<Issue> {
    let object = format!("function {FUNCTION}");
    let changed = drift.differences.iter().find(|one| one.object == object)?;
    let text = match &changed.found {
        None => format!("the function {FUNCTION} is missing"),
        Some(found) => format!("the function {FUNCTION} was changed ({found})"),
    };
    let statement = newest_statement(&format!("FUNCTION %I.{FUNCTION}"))?.trim_end_matches(';');
    Some(
        Issue::fail(
            format!("{text}: notifications may not be saved, or are counted wrongly"),
            [home.alter("notifications", counted_again(home, statement))],
        )
        .fixable(),
    )
}

/// Tables whose foreign keys are not enforced.
fn constraint_triggers(home: Home<'_>, drift: &Drift) -> Option<Issue> {
    let tables: Vec<&str> = drift
        .differences
        .iter()
        .filter(|one| one.part.as_deref() == Some("constraint triggers"))
        .filter_map(|one| one.object.strip_prefix("table "))
        .collect();
    if tables.is_empty() {
        return None;
    }
    let enable = tables
        .iter()
        .map(|table| format!("ALTER TABLE {} ENABLE TRIGGER ALL", home.qualified(table)));
    Some(Issue::fail(
        format!(
            "the foreign keys of {} are not enforced: their triggers are disabled",
            tables.join(", ")
        ),
        // Triggers of constraints are a superuser's.
        [Step::RunBy(None, enable.collect::<Vec<_>>().join("; "))],
    ))
}

fn rule(home: Home<'_>, sides: Sides<'_>, found: &str) -> Issue {
    let (table, name) = (sides.table, sql_name(sides.part));
    Issue::fail(
        format!("{table} has a rule that rewrites the daemon's statements: {found}"),
        [home.alter(
            table,
            format!("ALTER TABLE {} DISABLE RULE {name}", home.qualified(table)),
        )],
    )
}

/// A trigger of others, and what it may do.
fn of_others(home: Home<'_>, one: &ForeignTrigger) -> Issue {
    let may = match (one.raises, one.is_before_row && one.returns_null) {
        (true, true) => "may refuse changes (RAISE) and suppress them (RETURN NULL)",
        (true, false) => "may refuse changes (RAISE EXCEPTION)",
        (false, true) => "may suppress changes (it runs before them, and can RETURN NULL)",
        (false, false) if one.is_before_row => "may change rows before they are written",
        (false, false) => "runs with each change, and its errors are answered with 500",
    };
    Issue::warn(
        format!(
            "{} has the trigger {} that todoctl does not know: its function {} of {} {may}",
            one.table, one.name, one.function, one.owner
        ),
        [home.alter(
            &one.table,
            format!(
                "ALTER TABLE {} DISABLE TRIGGER {}",
                home.qualified(&one.table),
                sql_name(&one.name)
            ),
        )],
    )
}

fn refusing_changes(one: &EventTrigger) -> Issue {
    Issue::warn(
        format!(
            "the event trigger {} ({}) may refuse migrations: its function {} raises exceptions",
            one.name, one.event, one.function
        ),
        [
            Step::note("while migrations run:"),
            Step::RunBy(
                Some(one.owner.clone()),
                format!("ALTER EVENT TRIGGER {} DISABLE", sql_name(&one.name)),
            ),
        ],
    )
}
