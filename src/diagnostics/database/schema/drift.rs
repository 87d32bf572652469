//! Differences of tables, columns and constraints that matter to the daemon.

use std::time::Duration;

use crate::config::sql_name;
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::migrate::drift::{Difference, Drift};

use super::home::{Home, drift_of};
use super::issue::{Issue, Place, Step, no_tables, verdict};
use super::parts::{renamed, sides};
use super::{columns, constraints};

pub(super) async fn schema(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    match drift_of(context, server, limit).await {
        Ok(None) => no_tables(),
        Ok(Some((home, drift))) => {
            let mut issues = columns::renamed_and_missing(home, drift);
            let differences = drift.differences.iter();
            issues.extend(differences.filter_map(|one| issue(home, drift, one)));
            verdict(
                Place::Server(server.target),
                issues,
                "as the migrations create it",
            )
        }
        Err(error) => query_failed(context, &error),
    }
}

fn issue(home: Home<'_>, drift: &Drift, one: &Difference) -> Option<Issue> {
    if let Some(column) = sides(one, "column") {
        return columns::changed(home, drift, column);
    }
    if let Some(constraint) = sides(one, "constraint") {
        return constraints::issue(home, drift, constraint);
    }
    if let Some(reference) = sides(one, "reference") {
        return reference
            .found
            .map(|found| constraints::refusing(home, reference, found));
    }
    let (kind, name) = one.object.split_once(' ')?;
    match (kind, one.part.as_deref()) {
        ("table", None) if one.found.is_none() => Some(missing(home, drift, name)),
        ("table", Some("storage")) => storage(home, name, one.found.as_deref()?),
        ("type", Some("labels")) => labels(home, name, one),
        _ => None,
    }
}

/// A table that is not where it should be.
fn missing(home: Home<'_>, drift: &Drift, table: &str) -> Issue {
    let wanted = home.qualified(table);
    let mut steps = Vec::new();
    let view = format!("view {table}");
    let mut text = format!("the table {table} is missing");
    if drift.found.contains_key(&view) {
        text = format!("{table} is a view, not a table");
        let aside = sql_name(&format!("{table}_view"));
        steps.push(home.alter(table, format!("ALTER VIEW {wanted} RENAME TO {aside}")));
    }
    if let Some(renamed) = renamed(drift, table) {
        text += &format!("; {renamed} has its columns");
        let from = home.qualified(&renamed);
        let name = sql_name(table);
        steps.push(home.alter(table, format!("ALTER TABLE {from} RENAME TO {name}")));
        return Issue::fail(text, steps);
    }
    let moved = home.relations.all.iter().find(|one| {
        one.name == table && one.schema != home.schema && !one.is_temporary && one.is_complete()
    });
    if let Some(moved) = moved {
        text += &format!("; the schema {} has it", moved.schema);
        let from = format!("{}.{}", sql_name(&moved.schema), sql_name(table));
        let statement = format!("ALTER TABLE {from} SET SCHEMA {}", sql_name(home.schema));
        steps.push(if moved.is_owned {
            Step::Run(statement)
        } else {
            Step::RunBy(Some(moved.owner.clone()), statement)
        });
        return Issue::fail(text, steps);
    }
    steps.push(Step::note(format!(
        "its rows are gone: restore {table} from a backup (pg_restore --table={table}), then: todoctl doctor --only database"
    )));
    Issue::fail(text, steps)
}

/// How a table keeps its rows, where that is unusual.
fn storage(home: Home<'_>, table: &str, found: &str) -> Option<Issue> {
    let name = home.qualified(table);
    let has = |word: &str| found.split(", ").any(|one| one == word);
    if has("unlogged") {
        return Some(Issue::fail(
            format!("{table} is unlogged: after a crash of the server all its rows are gone"),
            [home.alter(table, format!("ALTER TABLE {name} SET LOGGED"))],
        ));
    }
    if has("foreign") {
        return Some(Issue::fail(
            format!("{table} is a foreign table: it has neither ids nor indexes of its own"),
            [Step::note(format!(
                "let DATABASE_URL lead to the database that {table} is in"
            ))],
        ));
    }
    (has("has child tables") || has("is a child table") || has("partitioned")).then(|| {
        Issue::warn(
            // As in "partitioned, is a child table".
            format!("{table}: {found}; ids and unique keys are checked for each table alone"),
            [Step::note(format!(
                "keep {table} apart from other tables: ALTER TABLE … NO INHERIT, or DETACH PARTITION"
            ))],
        )
    })
}

/// The labels of a type, in the order in which they sort.
fn labels(home: Home<'_>, name: &str, one: &Difference) -> Option<Issue> {
    let found: Vec<&str> = one.found.as_deref()?.split(", ").collect();
    let expected: Vec<&str> = one.expected.as_deref()?.split(", ").collect();
    let kind = home.qualified(name);
    let added: Vec<&&str> = found.iter().filter(|one| !expected.contains(one)).collect();
    let missing: Vec<&&str> = expected.iter().filter(|one| !found.contains(one)).collect();
    let literal = |label: &str| format!("$${label}$$");
    match (missing.as_slice(), added.as_slice()) {
        ([wanted], [other]) => Some(Issue::fail(
            format!("{name} has the label {other} in place of {wanted}"),
            [home.alter(
                "tasks",
                format!(
                    "ALTER TYPE {kind} RENAME VALUE {} TO {}",
                    literal(other),
                    literal(wanted)
                ),
            )],
        )),
        ([], [_, ..]) => Some(Issue::warn(
            format!(
                "{name} has labels that todoctl does not know ({}): tasks that have one cannot be read",
                one.found.as_deref().unwrap_or_default()
            ),
            [home.alter(
                "tasks",
                format!(
                    "UPDATE {} SET priority = DEFAULT WHERE priority::text NOT IN ({})",
                    home.qualified("tasks"),
                    expected
                        .iter()
                        .map(|label| literal(label))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            )],
        )),
        ([], []) => Some(Issue::fail(
            format!("the labels of {name} are in another order, so tasks sort wrongly by priority"),
            [Step::note(format!(
                "create the type {name} again with the labels {}, and change the column to it",
                expected.join(", ")
            ))],
        )),
        _ => Some(Issue::fail(
            format!("{name} lacks the labels {}", join(&missing)),
            missing.iter().map(|label| {
                home.alter(
                    "tasks",
                    format!("ALTER TYPE {kind} ADD VALUE {}", literal(label)),
                )
            }),
        )),
    }
}

fn join(words: &[&&str]) -> String {
    words
        .iter()
        .map(|word| **word)
        .collect::<Vec<_>>()
        .join(", ")
}
