//! The same for a SQLite file.

use std::time::Duration;

use crate::config::{SqliteTarget, sql_name};
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect;
use crate::store::migrate::DEFINITION;
use crate::store::migrate::drift::{Difference, Drift};

use super::file_definition::{changed_definition, has_same_pieces, right_again};
use super::file_indexes::changed_index;
use super::issue::{Issue, Place, RESTART, Step, verdict};
use super::parts::{Sides, parts, renamed, sides};
use super::rebuild::{
    FILE_SEARCH, SEARCH, column_definition, created_again, rebuild, search_again,
};
use super::unread::FILE_COUNT;

/// What the catalogue has of a column with an expression.
const GENERATED: &str = " generated";

pub(super) async fn schema(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    match drift_of_file(context, file, limit).await {
        Ok(drift) => {
            // Triggers and indexes need their tables.
            let differences = drift.differences.iter();
            let (whole, parts): (Vec<_>, Vec<_>) = differences.partition(|one| one.part.is_none());
            let differences = whole.into_iter().chain(parts);
            let issues = differences.filter_map(|one| issue(&drift, one)).collect();
            verdict(Place::File(file), issues, "as the migrations create it")
        }
        Err(verdict) => verdict,
    }
}

/// What differs between a file and the migrations, or why that is not known.
pub(super) async fn drift_of_file(
    context: &Context,
    file: &SqliteTarget,
    limit: Duration,
) -> Result<Drift, Verdict> {
    let question = context.file.ask(file, limit, async |connection| {
        inspect::schema_of_file(connection.session()).await
    });
    let found = question
        .await
        .map_err(|error| query_failed(context, &error))?;
    Drift::of_file(found)
        .await
        .map_err(|error| Verdict::fail(error.to_string(), error.remedy()))
}

fn issue(drift: &Drift, one: &Difference) -> Option<Issue> {
    // SQLite quotes the names that ALTER TABLE … RENAME writes.
    let plain = |side: &Option<String>| side.as_ref().map(|text| text.replace('"', ""));
    if plain(&one.expected) == plain(&one.found) {
        return None;
    }
    if let Some(column) = sides(one, "column") {
        return changed_column(drift, column);
    }
    if let Some(index) = sides(one, "index") {
        return changed_index(index).map(|issue| with_table(drift, index, issue));
    }
    if let Some(trigger) = sides(one, "trigger") {
        return changed_trigger(trigger).map(|issue| with_table(drift, trigger, issue));
    }
    if one.object == SEARCH && one.part.is_none() {
        return created(drift, SEARCH, "todoctl_search");
    }
    let table = one.object.strip_prefix("table ")?;
    match (one.part.as_deref(), &one.expected) {
        (Some(DEFINITION), Some(expected))
            if one
                .found
                .as_deref()
                .is_some_and(|found| has_same_pieces(found, expected)) =>
        {
            None
        }
        (None, Some(_)) => Some(missing_table(drift, table)),
        (Some(DEFINITION), Some(expected)) if let Some(found) = &one.found => {
            Some(changed_definition(drift, table, expected, found))
        }
        (Some(part), Some(_)) => Some(Issue::warn(
            format!("{table} has another {part} than the migrations create"),
            [right_again(drift, table)],
        )),
        _ => None,
    }
}

/// Whether a column has the definition of one that is missing in the same table.
fn is_renamed(drift: &Drift, table: &str, definition: &str) -> bool {
    parts(drift, "column")
        .any(|one| one.table == table && one.found.is_none() && one.expected == Some(definition))
}

fn missing_table(drift: &Drift, table: &str) -> Issue {
    let text = format!("the table {table} is missing");
    match renamed(drift, table) {
        Some(other) => {
            let name = sql_name(table);
            let rename = format!("ALTER TABLE {} RENAME TO {name}", sql_name(&other));
            let legacy = if has_old_name(drift, &other, table) {
                "PRAGMA legacy_alter_table = ON; "
            } else {
                ""
            };
            if drift.found.contains_key(&format!("view {table}")) {
                return Issue::fail(
                    format!("{text}: {table} is a view; {other} has its columns"),
                    [
                        Step::note(format!(
                            "to keep the text of the view: todoctl migrate check; its name is needed for {other}:"
                        )),
                        Step::Run(format!("{legacy}BEGIN; DROP VIEW {name}; {rename}; COMMIT")),
                        Step::note(RESTART),
                    ],
                );
            }
            Issue::fail(
                format!("{text}; {other} has its columns"),
                [Step::Run(format!("{legacy}{rename}"))],
            )
        }
        None if drift.found.contains_key(&format!("view {table}")) => Issue::fail(
            format!("{text}: {table} is a view"),
            [Step::note(format!(
                "its rows are in the tables that the view reads, which its text names (todoctl migrate check); give the one that was {table} its name again, after DROP VIEW"
            ))],
        ),
        None => created(drift, &format!("table {table}"), table).unwrap_or_else(|| {
            Issue::fail(
                text,
                [Step::note(format!(
                    "its rows are gone: restore the file from a backup that has {table}"
                ))],
            )
        }),
    }
}

/// Whether triggers still have the name that the table had before `PRAGMA legacy_alter_table` let it
/// be renamed without them. They would keep it from getting that name again.
fn has_old_name(drift: &Drift, other: &str, table: &str) -> bool {
    let parts = drift.found.get(&format!("table {other}"));
    let change = format!(" UPDATE {table} SET ");
    parts.is_some_and(|parts| parts.values().any(|text| text.contains(&change)))
}

/// How a missing table is created. The content of some follows from other tables, or is not missed.
fn created(drift: &Drift, object: &str, table: &str) -> Option<Issue> {
    if object == SEARCH {
        let step = Step::Run(search_again(&drift.expected)?);
        let mut issue = Issue::fail(can_be_made_again(table), [step]).fixable();
        issue.steps.push(Step::note(RESTART));
        return Some(issue);
    }
    let content = match table {
        "tasks" => return None,
        "todoctl_unread" => Some(FILE_COUNT),
        "todoctl_identity" => Some(FILE_IDENTITY),
        _ => None,
    };
    let parts = drift.expected.get(object)?;
    let added = ["index ", "trigger "]
        .into_iter()
        .flat_map(|kind| parts.iter().filter(move |(part, _)| part.starts_with(kind)));
    let statements: Vec<&str> = [parts.get(DEFINITION)?]
        .into_iter()
        .chain(added.map(|(_, text)| text))
        .map(String::as_str)
        .chain(content)
        .collect();
    let step = Step::Run(format!(
        "BEGIN IMMEDIATE; {}; COMMIT",
        statements.join("; ")
    ));
    // Counters of the last hour, and answers of the last day.
    let is_passing = matches!(table, "todoctl_attempts" | "todoctl_idempotency_keys");
    if content.is_some() || is_passing {
        return Some(Issue::fail(can_be_made_again(table), [step]).fixable());
    }
    Some(Issue::fail(
        format!("the table {table} is missing, and its rows are gone"),
        [
            Step::note(format!(
                "restore the file from a backup that has {table}; without one, this creates it empty:"
            )),
            step,
        ],
    ))
}

fn can_be_made_again(table: &str) -> String {
    format!("the table {table} is missing; its content can be made again")
}

/// As the migration stores it.
const FILE_IDENTITY: &str = "INSERT INTO todoctl_identity (id) SELECT lower(hex(randomblob(16)))";

fn changed_column(drift: &Drift, column: Sides<'_>) -> Option<Issue> {
    let (table, name) = (column.table, column.part);
    let (table_name, quoted) = (sql_name(table), sql_name(name));
    match (column.expected, column.found) {
        (Some(expected), None) => {
            let is_same = |one: &Sides<'_>| {
                one.table == table && one.expected.is_none() && one.found == Some(expected)
            };
            let mut candidates = parts(drift, "column").filter(is_same);
            let text = format!("{table}.{name} is missing");
            let steps = match (candidates.next(), candidates.next()) {
                (Some(other), None) => vec![Step::Run(format!(
                    "ALTER TABLE {table_name} RENAME COLUMN {} TO {quoted}",
                    sql_name(other.part)
                ))],
                _ => added_column(drift, table, name).unwrap_or_else(|| {
                    vec![Step::note(format!(
                        "its values are gone: restore the file from a backup that has {table}.{name}"
                    ))]
                }),
            };
            Some(Issue::fail(text, steps))
        }
        (None, Some(found)) if found.contains(GENERATED) => generated(drift, column),
        (None, Some(found)) => (found.contains(" not null")
            && !found.contains(" default ")
            && !is_renamed(drift, table, found))
            .then(|| {
                Issue::fail(
                    format!("{table}.{name} is not a column of todoctl and requires a value, so every insert fails"),
                    [created_again(drift, table, || {
                        format!(
                            "SQLite cannot make it optional: create {table} again without NOT NULL for {name}"
                        )
                    })],
                )
            }),
        (Some(expected), Some(found)) => Some(Issue::warn(
            format!("{table}.{name} is {found}, not {expected}"),
            [created_again(drift, table, || {
                format!("create {table} again with {name} {expected}")
            })],
        )),
        (None, None) => None,
    }
}

/// Adds a missing column as the migrations define it; `None` where rows cannot be without a value.
fn added_column(drift: &Drift, table: &str, name: &str) -> Option<Vec<Step>> {
    let parts = drift.expected.get(&format!("table {table}"))?;
    let definition = parts.get(DEFINITION)?;
    let column = column_definition(definition, name)?;
    let upper = column.to_ascii_uppercase();
    let has_default = upper.contains(" DEFAULT ");
    let needs_value = upper.contains(" NOT NULL") && !has_default;
    if needs_value || upper.contains(" PRIMARY KEY") {
        return None;
    }
    let value = if has_default {
        "the default"
    } else {
        "no value"
    };
    Some(vec![
        Step::note(format!(
            "its values are gone, and every row gets {value}; UPDATE can take the values from a backup afterwards; do not replace the file by it, because newer tasks would be lost"
        )),
        Step::Run(format!(
            "ALTER TABLE {} ADD COLUMN {column}",
            sql_name(table)
        )),
    ])
}

/// Triggers have the whole row, so that a virtual column is computed too.
fn generated(drift: &Drift, column: Sides<'_>) -> Option<Issue> {
    let (table, name) = (column.table, column.part);
    let parts = drift.found.get(&format!("table {table}"))?;
    let indexes: Vec<String> = parts
        .iter()
        .filter(|(_, index)| index.contains(name))
        .filter_map(|(part, _)| part.strip_prefix("index "))
        .map(|index| format!("DROP INDEX IF EXISTS {}; ", sql_name(index)))
        .collect();
    Some(Issue::warn(
        format!(
            "{table} has the generated column {name} that todoctl does not know: rows for which its expression fails are refused"
        ),
        [
            Step::note(format!(
                "to keep its text: todoctl migrate check; if {name} is not wanted:"
            )),
            Step::Run(format!(
                "{}ALTER TABLE {} DROP COLUMN {}",
                indexes.concat(),
                sql_name(table),
                sql_name(name)
            )),
        ],
    ))
}

fn changed_trigger(trigger: Sides<'_>) -> Option<Issue> {
    let (table, name) = (trigger.table, trigger.part);
    let Some(expected) = trigger.expected else {
        let found = trigger.found?.to_uppercase();
        let may = if found.contains("RAISE") {
            "may refuse or suppress changes (RAISE)"
        } else {
            "runs with each change, and its errors are answered with 500"
        };
        return Some(Issue::warn(
            format!("{table} has the trigger {name} that todoctl does not know, and it {may}"),
            [
                Step::note(format!(
                    "to keep its text: todoctl migrate check; if {name} is not wanted:"
                )),
                Step::Run(format!("DROP TRIGGER IF EXISTS {}", sql_name(name))),
                Step::note(RESTART),
            ],
        ));
    };
    let drop = format!("DROP TRIGGER IF EXISTS {}; ", sql_name(name));
    let what = if trigger.found.is_some() {
        "another"
    } else {
        "missing"
    };
    let (harm, made_up) = if name.starts_with("todoctl_unread") {
        ("unread notifications are counted wrongly", FILE_COUNT)
    } else if name.starts_with("todoctl_search") {
        ("searches find other tasks than they should", FILE_SEARCH)
    } else {
        (
            "searches find changed tasks by their old texts",
            FILE_FOLDED,
        )
    };
    let statement = format!("BEGIN IMMEDIATE; {drop}{expected}; {made_up}; COMMIT");
    Some(
        Issue::fail(
            format!("the trigger {name} of {table} is {what}: {harm}"),
            [Step::Run(statement)],
        )
        .fixable(),
    )
}

/// What is corrected together with its table, where that is created again.
fn with_table(drift: &Drift, part: Sides<'_>, issue: Issue) -> Issue {
    let object = format!("table {}", part.table);
    let is_other = |one: &Difference| {
        one.object == object
            && one.expected.is_some()
            && one.found.is_some()
            && sides(one, "index").or(sides(one, "trigger")).is_none()
    };
    match rebuild(drift, part.table) {
        Some(statements) if part.expected.is_some() && drift.differences.iter().any(is_other) => {
            Issue::new(issue.outcome, issue.text, [Step::Run(statements)])
        }
        _ => issue,
    }
}

/// The daemon folds all texts again: some have changed meanwhile.
const FILE_FOLDED: &str = "UPDATE tasks SET search_title = NULL, search_description = NULL WHERE search_title IS NOT NULL";
