//! Differences of tables, columns and constraints that matter to the daemon.

use std::time::Duration;

use crate::config::sql_name;
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::Heir;
use crate::store::migrate::drift::{Difference, Drift};

use super::home::{Home, drift_of};
use super::issue::{Issue, Place, Step, guarded, literal, no_tables, verdict};
use super::parts::sides;
use super::{columns, constraints, heirs, renamed};

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
    let mut issues = renamed::of_tables(home, drift);
    let differences = drift.differences.iter();
    issues.extend(differences.filter_map(|one| issue(home, drift, one)));
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
        issues,
        "as the migrations create it",
    ))
}

const HAS_CHILDREN: &str = "has child tables";

fn has_children(one: &Difference) -> bool {
    let found = one.found.as_deref().unwrap_or_default();
    one.part.as_deref() == Some("storage") && found.contains(HAS_CHILDREN)
}

fn issue(home: Home<'_>, drift: &Drift, one: &Difference) -> Option<Issue> {
    if let Some(column) = sides(one, "column") {
        return columns::issue(home, column);
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
        ("type", Some("labels")) => labels(home, name, one),
        _ => None,
    }
}

/// A table that is not where it should be.
fn missing(home: Home<'_>, drift: &Drift, table: &str) -> Issue {
    let view = format!("view {table}");
    let mut text = format!("the table {table} is missing");
    if drift.found.contains_key(&view) {
        text = format!("{table} is a view, not a table");
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
        let step = if moved.is_owned {
            Step::Run(statement)
        } else {
            Step::RunBy(Some(moved.owner.clone()), statement)
        };
        return Issue::fail(text, [step]);
    }
    let restore = Step::note(format!(
        "its rows are gone: restore {table} from a backup (pg_restore --table={table}), then: todoctl doctor --only database"
    ));
    Issue::fail(text, [restore])
}

/// How a table keeps its rows, where that is unusual.
fn storage(home: Home<'_>, drift: &Drift, table: &str, found: &str) -> Option<Issue> {
    let has = |word: &str| found.split(", ").any(|one| one == word);
    if has("unlogged") {
        return Some(Issue::fail(
            format!("{table} is unlogged: after a crash of the server all its rows are gone"),
            [home.alter(table, logged(home, drift, table))],
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
    (has("is a child table") || has("partitioned")).then(|| {
        Issue::warn(
            // As in "partitioned, is a child table".
            format!("{table}: {found}; ids and unique keys are checked for each table alone"),
            [Step::note(format!(
                "keep {table} apart from other tables: ALTER TABLE … NO INHERIT, or DETACH PARTITION"
            ))],
        )
    })
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

/// The labels of a type, in the order in which they sort.
fn labels(home: Home<'_>, name: &str, one: &Difference) -> Option<Issue> {
    let found: Vec<&str> = one.found.as_deref()?.split(", ").collect();
    let expected: Vec<&str> = one.expected.as_deref()?.split(", ").collect();
    let kind = home.qualified(name);
    let added: Vec<&str> = without(&found, &expected);
    let missing: Vec<&str> = without(&expected, &found);
    let loses = (!added.is_empty()).then(|| {
        Step::note(format!(
            "tasks with another label become Medium; to see them: SELECT * FROM {} WHERE priority::text IN ({})",
            home.qualified("tasks"),
            literals(&added)
        ))
    });
    let replace = home.alter_created(name, "tasks", new_type(home, name, &expected));
    let steps = loses.into_iter().chain(replace);
    Some(match (missing.as_slice(), added.as_slice()) {
        ([wanted], [other]) => {
            let is_named = format!(
                "EXISTS (SELECT FROM pg_enum WHERE enumtypid = to_regtype({}) AND enumlabel = {})",
                literal(&kind),
                literal(other)
            );
            let rename = format!(
                "ALTER TYPE {kind} RENAME VALUE {} TO {}",
                literal(other),
                literal(wanted)
            );
            Issue::fail(
                format!("{name} has the label {other} in place of {wanted}"),
                home.alter_created(name, "tasks", guarded(&is_named, &rename)),
            )
        }
        ([], [_, ..]) => Issue::warn(
            format!(
                "{name} has labels that todoctl does not know ({}): tasks that have one cannot be read",
                added.join(", ")
            ),
            steps,
        ),
        ([], []) => Issue::fail(
            format!("the labels of {name} are in another order, so tasks sort wrongly by priority"),
            steps,
        ),
        _ => Issue::fail(
            format!("{name} lacks the labels {}", missing.join(", ")),
            steps,
        ),
    })
}

fn without<'a>(labels: &[&'a str], others: &[&str]) -> Vec<&'a str> {
    let mut labels = labels.to_vec();
    labels.retain(|label| !others.contains(label));
    labels
}

fn literals(labels: &[&str]) -> String {
    let quoted: Vec<String> = labels.iter().map(|label| literal(label)).collect();
    quoted.join(", ")
}

/// Replaces the type of the priorities by one with these labels. Tasks with another label get the
/// default.
fn new_type(home: Home<'_>, name: &str, labels: &[&str]) -> String {
    let (kind, tasks) = (home.qualified(name), home.qualified("tasks"));
    let old = format!("{name}_old");
    let list = literals(labels);
    let differs = format!(
        "(SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = to_regtype({})) <> ARRAY[{list}]",
        literal(&kind)
    );
    guarded(
        &differs,
        &format!(
            "ALTER TYPE {kind} RENAME TO {old}; CREATE TYPE {kind} AS ENUM ({list}); \
             ALTER TABLE {tasks} ALTER COLUMN priority DROP DEFAULT, ALTER COLUMN priority TYPE {kind} \
             USING (CASE WHEN priority::text IN ({list}) THEN priority::text ELSE $$Medium$$ END)::{kind}, \
             ALTER COLUMN priority SET DEFAULT $$Medium$$; DROP TYPE {}",
            home.qualified(&old)
        ),
    )
}
