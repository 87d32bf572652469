//! The triggers of todoctl, and what others attached to its tables.

use std::time::Duration;

use crate::config::{Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::database::overrides;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::{EventTrigger, Expression, ForeignTrigger, event_triggers};
use crate::store::migrate::drift::Drift;
use crate::store::migrate::newest_statement;

use super::abandoned;
use super::expressions;
use super::foreign_triggers::foreign_triggers;
use super::home::{Home, drift_of};
use super::issue::{Issue, Place, Step, literal, no_tables, verdict};
use super::parts::{Sides, parts};
use super::renamed;

/// The trigger that removes folded texts which are out of date, and its function.
const FOLDED: [&str; 2] = ["todoctl_folded_outdated", "todoctl_forget_folded"];
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
    let (foreign, expressions, events) = context
        .server
        .ask(server.target, limit, async |connection| {
            let session = connection.session();
            let foreign = ForeignTrigger::ask(session, home.schema).await?;
            let expressions = Expression::ask(session, home.schema).await?;
            Ok((foreign, expressions, event_triggers(session).await?))
        })
        .await?;
    let mut issues = Vec::new();
    if home.relations.session.skips_triggers {
        let session = &home.relations.session;
        let reset = overrides::reset(
            server.target,
            &session.overrides,
            "session_replication_role",
        );
        issues.push(Issue::fail(
            "session_replication_role is replica: no trigger and no foreign key works in the daemon's sessions",
            [
                Step::Other(reset),
                Step::note("restart the daemon: its sessions keep the old setting"),
            ],
        ));
    }
    issues.extend(renamed::of_triggers(home, drift));
    issues.extend(functions(home, drift));
    issues.extend(parts(drift, "trigger").filter_map(|one| own(home, one)));
    issues.extend(constraint_triggers(home, drift));
    issues.extend(parts(drift, "rule").filter_map(|one| Some(rule(home, one, one.found?))));
    let is_own = |one: &&ForeignTrigger| {
        let names = drift.renamed.iter().filter(|known| known.kind == "trigger");
        names.map(|known| &known.from).any(|name| *name == one.name)
    };
    let foreign = foreign.iter().filter(|one| !is_own(one));
    issues.extend(foreign.filter_map(|one| of_others(home, one)));
    issues.extend(expressions.iter().map(|one| expressions::issue(home, one)));
    issues.extend(events.iter().map(refusing_changes));
    Ok(verdict(
        Place::Server(server.target),
        home.with_language(issues),
        "those of todoctl are enabled; none of others",
    ))
}

/// A trigger of todoctl that is missing, disabled or another. Counts that were missed are made up
/// for in the same transaction.
fn own(home: Home<'_>, sides: Sides<'_>) -> Option<Issue> {
    let (table, trigger) = (sides.table, sides.part);
    let expected = sides.expected?;
    let name = sql_name(trigger);
    let again = format!(
        "DROP TRIGGER IF EXISTS {name} ON {}; {expected}",
        sql_name(table)
    );
    let (text, correction) = match sides.found {
        None => (
            format!("the trigger {trigger} of {table} is missing"),
            again,
        ),
        Some(found) if found.strip_suffix(DISABLED) == Some(expected) => (
            format!("the trigger {trigger} of {table} is disabled"),
            format!("ALTER TABLE {} ENABLE TRIGGER {name}", sql_name(table)),
        ),
        Some(_) => (
            format!("the trigger {trigger} of {table} is another"),
            again,
        ),
    };
    let (harm, correction) = made_up_for(home, trigger, &correction);
    Some(Issue::fail(format!("{text}: {harm}"), [home.alter(table, correction)]).fixable())
}

/// What a trigger or function of todoctl is for, and a correction that makes up for what was
/// missed.
fn made_up_for(home: Home<'_>, name: &str, correction: &str) -> (&'static str, String) {
    if FOLDED.contains(&name) {
        (
            "searches find changed tasks by their old texts",
            folded_again(home, correction),
        )
    } else {
        (
            "unread notifications are counted wrongly",
            counted_again(home, Some(correction)),
        )
    }
}

/// A correction, after which the daemon folds all texts again: some have changed meanwhile.
fn folded_again(home: Home<'_>, correction: &str) -> String {
    format!(
        "BEGIN; {} {correction}; UPDATE tasks SET search_title = NULL, search_description = NULL WHERE search_title IS NOT NULL; COMMIT",
        home.in_schema("").trim_end()
    )
}

/// A new count of the unread notifications, while nobody changes them, after a correction.
pub(super) fn counted_again(home: Home<'_>, correction: Option<&str>) -> String {
    let count = newest_statement("INSERT INTO todoctl_unread (user_id, unread)\nSELECT")
        .unwrap_or_default()
        .trim_end_matches(';');
    let correction = correction.map_or_else(String::new, |text| format!("{text}; "));
    format!(
        "BEGIN; {} LOCK TABLE notifications IN SHARE ROW EXCLUSIVE MODE; \
         {correction}DELETE FROM todoctl_unread; {count}; COMMIT",
        home.in_schema("").trim_end()
    )
}

/// Functions of todoctl that are missing or have another body.
fn functions<'a>(home: Home<'a>, drift: &'a Drift) -> impl Iterator<Item = Issue> + use<'a> {
    drift.differences.iter().filter_map(move |one| {
        one.expected.as_ref()?;
        let name = one.object.strip_prefix("function ")?;
        let found = one.found.as_deref();
        let text = match found {
            None => format!("the function {name} is missing"),
            Some(found) => format!(
                "the function {name} was changed ({})",
                changes(one.expected.as_deref().unwrap_or_default(), found)
            ),
        };
        let newest = newest_statement(&format!("FUNCTION %I.{name}"))
            .or_else(|| newest_statement(&format!("CREATE FUNCTION {name}")))?;
        let mut statement = newest.trim_end_matches(';').replacen(
            "CREATE FUNCTION",
            "CREATE OR REPLACE FUNCTION",
            1,
        );
        // A new function may be used by everybody.
        if let Some(revoke) = newest_statement(&format!("REVOKE EXECUTE ON FUNCTION {name}")) {
            statement += &format!("; {}", revoke.trim_end_matches(';'));
        }
        let table = if FOLDED.contains(&name) {
            "tasks"
        } else {
            "notifications"
        };
        let (harm, correction) = made_up_for(home, name, &statement);
        let harm = if found.is_some_and(is_not_volatile) {
            "its statements fail, and so do those that call it"
        } else {
            harm
        };
        let steps = home.alter_created(name, table, correction);
        Some(Issue::fail(format!("{text}: {harm}"), steps).fixable())
    })
}

/// What the catalogue says of a function that may write nothing.
fn is_not_volatile(found: &str) -> bool {
    found
        .split(", ")
        .any(|one| matches!(one, "stable" | "immutable"))
}

/// How a function differs, in words.
fn changes(expected: &str, found: &str) -> String {
    let has = |text: &str, part: &str| text.split(", ").any(|one| one == part);
    let added = found.split(", ").filter(|one| !has(expected, one));
    let added = added.map(|one| match one {
        one if one.starts_with("md5 ") => "another body".to_owned(),
        one => one.to_owned(),
    });
    let missing = expected.split(", ").filter(|one| !has(found, one));
    let missing = missing.filter(|one| !one.starts_with("md5 "));
    let all: Vec<String> = added
        .chain(missing.map(|one| format!("not {one}")))
        .collect();
    all.join(", ")
}

/// Tables whose foreign keys are not enforced.
fn constraint_triggers(home: Home<'_>, drift: &Drift) -> Option<Issue> {
    let tables: Vec<&str> = drift
        .differences
        .iter()
        .filter(|one| one.part.as_deref() == Some("triggers of foreign keys"))
        .filter_map(|one| one.object.strip_prefix("table "))
        .collect();
    if tables.is_empty() {
        return None;
    }
    let names = tables.iter().map(|table| literal(&home.qualified(table)));
    let enable = format!(
        "DO $do$ DECLARE one record; BEGIN FOR one IN SELECT tgrelid::regclass AS relation, tgname AS name \
         FROM pg_trigger WHERE tgisinternal AND tgenabled = $$D$$ AND tgrelid::regclass IN ({}) \
         LOOP EXECUTE format($$ALTER TABLE %s ENABLE TRIGGER %I$$, one.relation, one.name); END LOOP; END $do$",
        names
            .map(|name| format!("{name}::regclass"))
            .collect::<Vec<_>>()
            .join(", ")
    );
    Some(Issue::fail(
        format!(
            "the foreign keys of {} are not enforced: their triggers are disabled",
            tables.join(", ")
        ),
        // Triggers of constraints are a superuser's. Those of others stay as they are.
        [Step::RunBy(None, enable)],
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
fn of_others(home: Home<'_>, one: &ForeignTrigger) -> Option<Issue> {
    if abandoned::is_of_repack(one) {
        return abandoned::issue(home, one);
    }
    let may = match (one.raises, one.is_before_row && one.returns_null) {
        (true, true) => "may refuse changes (RAISE) and suppress them (RETURN NULL)",
        (true, false) => "may refuse changes (RAISE EXCEPTION)",
        (false, true) => "may suppress changes (it runs before them, and can RETURN NULL)",
        (false, false) if one.is_before_row => "may change rows before they are written",
        (false, false) => "runs with each change, and its errors are answered with 500",
    };
    let step = if one.raises || one.is_before_row {
        home.alter(&one.table, disabling(home, one))
    } else {
        Step::note(format!(
            "unless it is wanted, as for an audit: {}",
            disabling(home, one)
        ))
    };
    Some(Issue::warn(
        format!(
            "{} has the trigger {} that todoctl does not know: its function {} of {} {may}",
            one.table, one.name, one.function, one.owner
        ),
        [step],
    ))
}

fn disabling(home: Home<'_>, one: &ForeignTrigger) -> String {
    format!(
        "ALTER TABLE {} DISABLE TRIGGER {}",
        home.qualified(&one.table),
        sql_name(&one.name)
    )
}

/// Disables the triggers of others that run `function`, as the context of an error names it. It has
/// failed, for whatever reason.
pub(in crate::diagnostics::database) async fn without_trigger(
    context: &Context,
    server: Server<'_>,
    limit: Duration,
    function: &str,
) -> Option<Remedy> {
    let (home, triggers) = foreign_triggers(context, server, limit).await?;
    let runs_it = |one: &&ForeignTrigger| {
        let name = one.function.rsplit('.').next().unwrap_or_default();
        function.contains(&format!(" {name}(")) || function.contains(&format!(".{name}("))
    };
    let failing: Vec<&ForeignTrigger> = triggers.iter().filter(runs_it).collect();
    if failing.is_empty() {
        return None;
    }
    let steps = failing.into_iter().map(|one| {
        let step = home.alter(&one.table, disabling(home, one));
        step.remedy(Place::Server(server.target))
    });
    let note = Remedy::note(
        "unless what the trigger does is needed: then correct its function, which runs with the rights of the daemon's role unless it is SECURITY DEFINER",
    );
    Some(steps.fold(note, Remedy::then))
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
