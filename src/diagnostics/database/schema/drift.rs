//! Differences of tables, columns and constraints that matter to the daemon.

use std::time::Duration;

use crate::config::sql_name;
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::{Dependent, Heir, unknown_priorities};
use crate::store::migrate::drift::{Difference, Drift};

use super::home::{Home, drift_of};
use super::issue::{Issue, Place, Step, no_tables, verdict};
use super::parts::{is_consequence, is_kept, sides};
use super::priorities::Priorities;
use super::{columns, constraints, heirs, priorities, renamed};

pub(super) async fn schema(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
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
    let has_types = !drift.renamed.is_empty() || drift.differences.iter().any(names_type);
    let (mut dependents, mut unknown) = Default::default();
    if has_types {
        let ask = context
            .server
            .ask(server.target, limit, async |connection| {
                Dependent::ask(connection.session(), home.schema).await
            });
        dependents = ask.await?;
        let ask = context
            .server
            .ask(server.target, limit, async |connection| {
                unknown_priorities(connection.session(), home.schema).await
            });
        // The column, too, may have another name or be closed.
        unknown = ask.await.unwrap_or_default();
    }
    let priorities = Priorities {
        home,
        dependents: &dependents,
        unknown: &unknown,
    };
    let mut issues = renamed::of_tables(priorities, drift);
    let differences = drift.differences.iter();
    issues.extend(differences.filter_map(|one| issue(priorities, drift, one)));
    if drift.differences.iter().any(has_children) {
        let ask = context
            .server
            .ask(server.target, limit, async |connection| {
                Heir::ask(connection.session(), home.schema).await
            });
        issues.extend(ask.await?.iter().map(|one| heirs::issue(home, one)));
    }
    Ok(verdict(
        Place::Server(server.target),
        home.with_language(issues),
        "as the migrations create it",
    ))
}

const HAS_CHILDREN: &str = "has child tables";

fn has_children(one: &Difference) -> bool {
    let found = one.found.as_deref().unwrap_or_default();
    one.part.as_deref() == Some("storage") && found.contains(HAS_CHILDREN)
}

/// Whether the type of a column may have to be changed.
fn names_type(one: &Difference) -> bool {
    one.object.starts_with("type ") || sides(one, "column").is_some()
}

fn issue(priorities: Priorities<'_>, drift: &Drift, one: &Difference) -> Option<Issue> {
    let home = priorities.home;
    if is_consequence(drift, one) {
        return None;
    }
    if let Some(column) = sides(one, "column") {
        return columns::issue(priorities, column);
    }
    if let Some(constraint) = sides(one, "constraint") {
        return constraints::issue(home, constraint);
    }
    if let Some(reference) = sides(one, "reference") {
        let found = reference.found?;
        let other = found.split(' ').next().and_then(|other| {
            let parts = drift.expected.get(&format!("table {other}"))?;
            parts.get(&format!("constraint {}", reference.part))
        });
        // One of todoctl's own is compared as a constraint.
        return other
            .is_none()
            .then(|| constraints::refusing(home, reference, found));
    }
    let (kind, name) = one.object.split_once(' ')?;
    match (kind, one.part.as_deref()) {
        ("table", None) if one.found.is_none() => Some(missing(home, drift, name)),
        ("table", Some("storage")) => storage(home, drift, name, one.found.as_deref()?),
        ("type", _) if name == priorities::TYPE => priorities.of_type(one),
        _ => None,
    }
}

/// A table that is not where it should be.
fn missing(home: Home<'_>, drift: &Drift, table: &str) -> Issue {
    let view = format!("view {table}");
    let mut text = format!("the table {table} is missing");
    let mut steps = Vec::new();
    if drift.found.contains_key(&view) {
        text = format!("{table} is a view, not a table");
        steps.push(renamed::view_aside(home, table));
    }
    let moved = home.relations.all.iter().find(|one| {
        one.name == table && one.schema != home.schema && !one.is_temporary && one.is_complete()
    });
    if let Some(moved) = moved {
        text += &format!("; the schema {} has it", moved.schema);
        let from = format!("{}.{}", sql_name(&moved.schema), sql_name(table));
        let statement = format!(
            "ALTER TABLE IF EXISTS {from} SET SCHEMA {}",
            sql_name(home.schema)
        );
        steps.push(if moved.is_owned {
            Step::Run(statement)
        } else {
            Step::RunBy(Some(moved.owner.clone()), statement)
        });
        return Issue::fail(text, steps);
    }
    let restore = Step::note(format!(
        "its rows are gone: restore {table} from a backup (pg_restore --table={table}), then: todoctl doctor --only database"
    ));
    Issue::fail(text, [restore])
}

/// How a table keeps its rows, where that is unusual.
fn storage(home: Home<'_>, drift: &Drift, table: &str, found: &str) -> Option<Issue> {
    if is_kept(drift, table, "unlogged") {
        return Some(Issue::fail(
            format!("{table} is unlogged: after a crash of the server all its rows are gone"),
            [home.alter(table, logged(home, drift, table))],
        ));
    }
    if is_kept(drift, table, "foreign") {
        return Some(Issue::fail(
            format!("{table} is a foreign table: it has neither ids nor indexes of its own"),
            [Step::note(format!(
                "let DATABASE_URL lead to the database that {table} is in"
            ))],
        ));
    }
    if is_kept(drift, table, "partitioned") {
        return Some(partitioned(home, drift, table));
    }
    is_kept(drift, table, "is a child table").then(|| {
        Issue::warn(
            format!("{table}: {found}; ids and unique keys are checked for each table alone"),
            [Step::note(format!(
                "keep {table} apart from other tables: ALTER TABLE … NO INHERIT, or DETACH PARTITION"
            ))],
        )
    })
}

/// Unique keys of a partitioned table have the columns that it is partitioned by, so that nothing
/// can refer to an id alone.
fn partitioned(home: Home<'_>, drift: &Drift, table: &str) -> Issue {
    let elsewhere: String = drift
        .differences
        .iter()
        .filter_map(|one| {
            let sides = sides(one, "constraint")?;
            let (_, wanted) = sides.expected?.split_once(" REFERENCES ")?;
            let (_, found) = sides.found?.split_once(" REFERENCES ")?;
            let other = found.split('(').next()?;
            let is_it = wanted.split('(').next() == Some(table);
            is_it.then(|| format!("; {} refers to {other} instead", sides.table))
        })
        .collect();
    Issue::fail(
        format!(
            "{table} is partitioned, so that ids are checked for each partition alone, and rows of other tables cannot refer to them{elsewhere}"
        ),
        [Step::note(format!(
            "move the rows back into a table that is not partitioned, in one transaction: give {} another name, create it again (LIKE with INCLUDING DEFAULTS), and insert the rows of the partitioned one; then follow what todoctl doctor says of its keys",
            home.qualified(table)
        ))],
    )
}

/// Makes a table logged, and before it those that it refers to and that are not.
fn logged(home: Home<'_>, drift: &Drift, table: &str) -> String {
    let parts = drift.found.get(&format!("table {table}"));
    let before = parts
        .into_iter()
        .flatten()
        .filter(|(part, _)| part.starts_with("constraint "))
        .filter_map(|(_, definition)| definition.split_once(" REFERENCES "))
        .filter_map(|(_, other)| other.split_once('('))
        .filter(|(other, _)| *other != table)
        .filter(|(other, _)| {
            let other = drift.found.get(&format!("table {other}"));
            other
                .and_then(|parts| parts.get("storage"))
                .is_some_and(|storage| storage.contains("unlogged"))
        })
        .map(|(other, _)| format!("{}; ", logged(home, drift, other)));
    let before: String = before.collect();
    format!("{before}ALTER TABLE {} SET LOGGED", home.qualified(table))
}
