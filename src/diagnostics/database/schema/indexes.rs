//! Indexes that are missing, invalid, or refuse rows.

use std::time::Duration;

use crate::config::sql_name;
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::fault::query_failed;
use crate::diagnostics::verdict::Verdict;
use crate::store::StoreError;
use crate::store::inspect::Unindexed;
use crate::store::migrate::drift::Drift;

use super::duplicates;
use super::home::{Home, drift_of};
use super::issue::{Issue, Place, Step, no_tables, verdict};
use super::parts::{Sides, is_kept, names_id, parts};

const INVALID: &str = " (invalid)";
const UNIQUE: &str = "CREATE UNIQUE INDEX ";

pub(super) async fn indexes(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
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
    let ask = context
        .server
        .ask(server.target, limit, async |connection| {
            Unindexed::ask(connection.session(), home.schema).await
        });
    let unindexed = ask.await?;
    let issues = parts(drift, "index").filter_map(|one| {
        let is_partitioned = is_kept(drift, one.table, "partitioned");
        issue(home, drift, one, is_partitioned)
    });
    Ok(verdict(
        Place::Server(server.target),
        issues.chain(unindexed.iter().map(searched)).collect(),
        "all exist and are valid",
    ))
}

/// A table of others that is read as a whole to find the rows that refer to a deleted one.
fn searched(one: &Unindexed) -> Issue {
    let Unindexed {
        table,
        other,
        column,
        rows,
        ..
    } = one;
    let statement = format!(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS {} ON {other} ({})",
        sql_name(&one.index),
        sql_name(column)
    );
    Issue::warn(
        format!(
            "{other} refers to {table}, and no index has its {column}: all of its {rows} rows are read whenever one of {table} is deleted"
        ),
        [if one.is_owned {
            Step::Run(statement)
        } else {
            Step::RunBy(Some(one.owner.clone()), statement)
        }],
    )
}

fn issue(home: Home<'_>, drift: &Drift, sides: Sides<'_>, is_partitioned: bool) -> Option<Issue> {
    let (table, index) = (sides.table, sides.part);
    let qualified = home.qualified(index);
    // Those of a partitioned table cannot be built or dropped beside its use.
    let beside = if is_partitioned { "" } else { "CONCURRENTLY " };
    let drop = || home.alter(table, format!("DROP INDEX {beside}IF EXISTS {qualified}"));
    let create = |definition| home.alter(table, creation(home, table, definition, beside));
    match (sides.expected, sides.found) {
        (Some(expected), None) => Some(graded(
            expected,
            format!("the index {index} of {table} is missing"),
            separated(home, index).into_iter().chain([create(expected)]),
        )),
        (Some(expected), Some(found)) if found.strip_suffix(INVALID) == Some(expected) => {
            Some(graded(
                expected,
                format!("the index {index} of {table} is invalid, so it is not used"),
                separated(home, index)
                    .into_iter()
                    .chain([home.alter(table, format!("REINDEX INDEX CONCURRENTLY {qualified}"))]),
            ))
        }
        (Some(expected), Some(found)) => Some(graded(
            expected,
            format!("the index {index} is {found}, not {expected}"),
            separated(home, index)
                .into_iter()
                .chain([drop(), create(expected)]),
        )),
        (None, Some(found)) if found.ends_with(INVALID) => {
            let text = format!(
                "{table} has the invalid index {index}, which every change maintains and no query uses"
            );
            Some(Issue::warn(text, [drop()]).fixable())
        }
        (None, Some(found)) if found.starts_with(UNIQUE) && !names_id(keys(found)) => {
            if let Some(own) = repeated(drift, table, found) {
                let text = format!(
                    "the unique index {index} of {table} repeats {own}, and every change maintains both"
                );
                return Some(Issue::warn(text, [drop()]));
            }
            let text = format!(
                "{table} has a unique index that todoctl does not know, {index} on {}: rows that it does not allow are refused",
                keys(found)
            );
            Some(Issue::fail(text, [drop()]))
        }
        (None, Some(found)) => {
            let column = long_text(table, keys(found))?;
            let text = format!(
                "{table} has the index {index} on {column}, which refuses texts that are longer than an entry of it may be: their requests are answered with 500"
            );
            Some(Issue::warn(text, [drop()]))
        }
        _ => None,
    }
}

/// The index or key of the migrations that refuses the same rows.
fn repeated<'a>(drift: &'a Drift, table: &str, found: &str) -> Option<&'a str> {
    let parts = drift.expected.get(&format!("table {table}"))?;
    parts.iter().find_map(|(part, definition)| {
        let (kind, name) = part.split_once(' ')?;
        let is_same = match kind {
            "index" => definition.starts_with(UNIQUE) && keys(definition) == keys(found),
            "constraint" => definition
                .strip_prefix("UNIQUE ")
                .is_some_and(|columns| keys(found).strip_prefix("btree ") == Some(columns)),
            _ => false,
        };
        is_same.then_some(name)
    })
}

/// The column of an index that holds longer texts than an entry of a B-tree may have, which is
/// 2,704 bytes.
fn long_text<'a>(table: &str, keys: &'a str) -> Option<&'a str> {
    if table != "tasks" || !keys.starts_with("btree (") {
        return None;
    }
    // As a whole: what a function makes of it is shorter.
    let names = keys["btree (".len()..].split([',', ')']).map(str::trim);
    let mut names = names.filter_map(|key| key.split([' ', '(']).next());
    names.find(|name| matches!(*name, "description" | "search_description"))
}

/// What lets a unique index be built on rows that it would refuse.
fn separated(home: Home<'_>, index: &str) -> Option<Step> {
    (index == "notifications_dedup_idx").then(|| duplicates::reminders(home))
}

/// Without a unique index changes fail; without another one they are slow.
fn graded(expected: &str, text: String, steps: impl IntoIterator<Item = Step>) -> Issue {
    if expected.starts_with(UNIQUE) {
        Issue::fail(text, steps).fixable()
    } else {
        Issue::warn(text, steps).fixable()
    }
}

/// Creates an index of the migrations.
fn creation(home: Home<'_>, table: &str, definition: &str, beside: &str) -> String {
    let once = definition.replacen(" INDEX ", &format!(" INDEX {beside}IF NOT EXISTS "), 1);
    let on = format!(" ON {} USING ", sql_name(table));
    let on_plain = format!(" ON {table} USING ");
    let qualified = format!(" ON {} USING ", home.qualified(table));
    once.replacen(&on, &qualified, 1)
        .replacen(&on_plain, &qualified, 1)
}

/// What an index is on.
fn keys(definition: &str) -> &str {
    definition
        .split_once(" USING ")
        .map_or("", |(_, keys)| keys)
}
