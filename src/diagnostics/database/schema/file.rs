//! The same for a SQLite file: its schema, and rows that refer to others.

use std::time::Duration;

use crate::config::{SqliteTarget, sql_name};
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect;
use crate::store::migrate::DEFINITION;
use crate::store::migrate::drift::{Difference, Drift};

use super::issue::{Issue, Place, Step, verdict};
use super::parts::{Sides, parts, renamed, sides};
use super::rebuild::{FILE_SEARCH, SEARCH, rebuild};
use super::unread::FILE_COUNT;

const UNIQUE: &str = "CREATE UNIQUE INDEX ";

pub(super) async fn schema(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let question = context.file.ask(file, limit, async |connection| {
        inspect::schema_of_file(connection.session()).await
    });
    let found = match question.await {
        Ok(found) => found,
        Err(error) => return query_failed(context, &error),
    };
    match Drift::of_file(found).await {
        Ok(drift) => {
            // Triggers and indexes need their tables.
            let differences = drift.differences.iter();
            let (whole, parts): (Vec<_>, Vec<_>) = differences.partition(|one| one.part.is_none());
            let differences = whole.into_iter().chain(parts);
            let issues = differences.filter_map(|one| issue(&drift, one)).collect();
            verdict(Place::File(file), issues, "as the migrations create it")
        }
        Err(error) => Verdict::fail(error.to_string(), error.remedy()),
    }
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
        return made_again(drift, SEARCH, "todoctl_search");
    }
    let table = one.object.strip_prefix("table ")?;
    match (one.part.as_deref(), &one.expected) {
        (Some(DEFINITION), Some(expected))
            if one.found.as_deref().map(pieces) == Some(pieces(expected)) =>
        {
            None
        }
        (None, Some(_)) => Some(missing_table(drift, table)),
        (Some(part), Some(_)) => Some(Issue::warn(
            format!("{table} has another {part} than the migrations create"),
            [created_again(drift, table, || {
                format!(
                    "compare it (todoctl migrate check), and create {table} again with the right one"
                )
            })],
        )),
        _ => None,
    }
}

/// The parts of a statement that creates a table, without quotes and whatever their order.
fn pieces(definition: &str) -> Vec<String> {
    let plain = definition.replace('"', "").replace(['(', ')'], " ");
    let mut pieces: Vec<String> = plain
        .split(',')
        .map(|piece| piece.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    pieces.sort();
    pieces
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
            if drift.found.contains_key(&format!("view {table}")) {
                return Issue::fail(
                    format!("{text}: {table} is a view; {other} has its columns"),
                    [
                        Step::note(format!(
                            "to keep the text of the view: todoctl migrate check; its name is needed for {other}:"
                        )),
                        Step::Run(format!("BEGIN; DROP VIEW {name}; {rename}; COMMIT")),
                        Step::note(
                            "restart the daemon: its open connections do not notice the change",
                        ),
                    ],
                );
            }
            Issue::fail(
                format!("{text}; {other} has its columns"),
                [Step::Run(rename)],
            )
        }
        None => made_again(drift, &format!("table {table}"), table).unwrap_or_else(|| {
            Issue::fail(
                text,
                [Step::note(format!(
                    "its rows are gone: restore the file from a backup that has {table}"
                ))],
            )
        }),
    }
}

/// A missing table whose content follows from the other tables, or is not missed.
fn made_again(drift: &Drift, object: &str, table: &str) -> Option<Issue> {
    let made_up = match table {
        "todoctl_unread" => Some(FILE_COUNT),
        "todoctl_search" => Some(FILE_SEARCH),
        // Counters of the last hour, and answers of the last day.
        "todoctl_attempts" | "todoctl_idempotency_keys" => None,
        _ => return None,
    };
    let parts = drift.expected.get(object)?;
    let indexes = parts.iter().filter(|(part, _)| part.starts_with("index "));
    let statements: Vec<&str> = [parts.get(DEFINITION)?]
        .into_iter()
        .chain(indexes.map(|(_, index)| index))
        .map(String::as_str)
        .chain(made_up)
        .collect();
    let statement = format!("BEGIN IMMEDIATE; {}; COMMIT", statements.join("; "));
    let text = format!("the table {table} is missing; its content can be made again");
    let restart = (table == "todoctl_search").then(|| {
        Step::note("then restart the daemon: its open connections do not notice the new table")
    });
    let mut issue = Issue::fail(text, [Step::Run(statement)]).fixable();
    issue.steps.extend(restart);
    Some(issue)
}

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
            let step = match (candidates.next(), candidates.next()) {
                (Some(other), None) => Step::Run(format!(
                    "ALTER TABLE {table_name} RENAME COLUMN {} TO {quoted}",
                    sql_name(other.part)
                )),
                _ if !expected.contains(" not null") => Step::Run(format!(
                    "ALTER TABLE {table_name} ADD COLUMN {quoted} {expected}"
                )),
                _ => Step::note(format!(
                    "its values are gone: restore the file from a backup that has {table}.{name}"
                )),
            };
            Some(Issue::fail(text, [step]))
        }
        (None, Some(found)) => (found.contains(" not null")
            && !found.contains(" default ")
            && !is_renamed(drift, table, found))
            .then(|| {
                Issue::fail(
                    format!("{table}.{name} is not a column of todoctl and requires a value, so every insert fails"),
                    [Step::note(format!(
                        "SQLite cannot make it optional: create {table} again without NOT NULL for {name}"
                    ))],
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

fn changed_index(index: Sides<'_>) -> Option<Issue> {
    let (table, name) = (index.table, sql_name(index.part));
    match (index.expected, index.found) {
        (Some(expected), found) => {
            let text = if found.is_some() {
                format!("the index {} of {table} is another", index.part)
            } else {
                format!("the index {} of {table} is missing", index.part)
            };
            let statement = format!("BEGIN; DROP INDEX IF EXISTS {name}; {expected}; COMMIT");
            let steps = [Step::Run(statement)];
            Some(if expected.starts_with(UNIQUE) {
                Issue::fail(text, steps).fixable()
            } else {
                Issue::warn(text, steps).fixable()
            })
        }
        (None, Some(found)) if found.starts_with(UNIQUE) => Some(Issue::fail(
            format!(
                "{table} has a unique index that todoctl does not know, {}: rows that it does not allow are refused",
                index.part
            ),
            [Step::Run(format!("DROP INDEX IF EXISTS {name}"))],
        )),
        // An expression is evaluated for each row that is stored.
        (None, Some(found)) if found.matches('(').count() > 1 => Some(Issue::warn(
            format!(
                "{table} has an index on an expression that todoctl does not know, {}: rows for which it fails are refused",
                index.part
            ),
            [
                Step::note(format!("if {} is not wanted: {found}", index.part)),
                Step::Run(format!("DROP INDEX IF EXISTS {name}")),
            ],
        )),
        _ => None,
    }
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

/// The table with its rows in the right form, or what a person has to do.
fn created_again(drift: &Drift, table: &str, otherwise: impl FnOnce() -> String) -> Step {
    rebuild(drift, table).map_or_else(|| Step::note(otherwise()), Step::Run)
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

/// Whether every row refers to one that exists. A file too large for the time limit is no fault.
pub(super) async fn references(context: &Context, file: &SqliteTarget, limit: Duration) -> Verdict {
    let question = context
        .file
        .ask(file, limit, async |connection| connection.dangling().await);
    let dangling = match tokio::time::timeout(limit, question).await {
        Ok(Ok(dangling)) => dangling,
        Ok(Err(error)) => return query_failed(context, &error),
        Err(_) => {
            return Verdict::skip(format!("not read completely within {} s", limit.as_secs()));
        }
    };
    let issues = dangling.iter().map(|one| {
        Issue::warn(
            format!(
                "{} rows of {} refer to rows of {} that do not exist",
                one.rows, one.table, one.parent
            ),
            [Step::note(format!(
                "another program changed the file without PRAGMA foreign_keys=ON; see the rows: sqlite3 {} \"PRAGMA foreign_key_check\"; then delete them",
                file.path.display()
            ))],
        )
    });
    verdict(
        Place::File(file),
        issues.collect(),
        "every row refers to one that exists",
    )
}
