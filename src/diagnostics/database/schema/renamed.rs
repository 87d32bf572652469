//! What has another name than the migrations give it, and gets its name back.

use crate::config::sql_name;
use crate::store::migrate::Renamed;
use crate::store::migrate::drift::Drift;

use super::home::Home;
use super::issue::{Issue, Step, guarded, literal};
use super::priorities::Priorities;

/// Renamed types, tables and columns, without which statements fail.
pub(super) fn of_tables(priorities: Priorities<'_>, drift: &Drift) -> Vec<Issue> {
    let home = priorities.home;
    let is_taken = |name: &str| home.relations.created_within(home.schema, name).is_some();
    drift
        .renamed
        .iter()
        .filter_map(|one| match one.kind {
            "type" if is_taken(&one.to) => Some(priorities.replaced()),
            "type" => Some(kind(home, one)),
            "table" => Some(table(home, drift, one)),
            "column" => Some(column(home, one)),
            // Statements do not name them.
            _ => None,
        })
        .collect()
}

/// Renamed functions and triggers. They work, until a migration replaces them by their names.
pub(super) fn of_triggers(home: Home<'_>, drift: &Drift) -> Vec<Issue> {
    drift
        .renamed
        .iter()
        .filter_map(|one| match one.kind {
            "function" => Some(function(home, one)),
            "trigger" => Some(trigger(home, one)),
            _ => None,
        })
        .collect()
}

fn kind(home: Home<'_>, one: &Renamed) -> Issue {
    let (from, to) = (home.qualified(&one.from), sql_name(&one.to));
    Issue::fail(
        format!("the type {} is named {}", one.to, one.from),
        [home.alter(
            "tasks",
            guarded(
                &format!("to_regtype({}) IS NOT NULL", literal(&from)),
                &format!("ALTER TYPE {from} RENAME TO {to}"),
            ),
        )],
    )
}

fn table(home: Home<'_>, drift: &Drift, one: &Renamed) -> Issue {
    let mut text = format!(
        "the table {} is missing; {} has its columns",
        one.to, one.from
    );
    let mut steps = Vec::new();
    if drift.found.contains_key(&format!("view {}", one.to)) {
        text = format!(
            "{} is a view, not a table; {} has its columns",
            one.to, one.from
        );
        steps.push(view_aside(home, &one.to));
    }
    steps.push(home.alter(
        &one.from,
        format!(
            "ALTER TABLE IF EXISTS {} RENAME TO {}",
            home.qualified(&one.from),
            sql_name(&one.to)
        ),
    ));
    Issue::fail(text, steps)
}

/// Gives a view another name that has the one of a table.
pub(super) fn view_aside(home: Home<'_>, table: &str) -> Step {
    let view = home.qualified(table);
    let is_view = format!(
        "EXISTS (SELECT FROM pg_class WHERE oid = to_regclass({}) AND relkind IN ($$v$$, $$m$$))",
        literal(&view)
    );
    let aside = sql_name(&format!("{table}_view"));
    home.alter(
        table,
        guarded(&is_view, &format!("ALTER TABLE {view} RENAME TO {aside}")),
    )
}

fn column(home: Home<'_>, one: &Renamed) -> Issue {
    let (table, qualified) = table_of(home, one);
    let (from, to) = (sql_name(&one.from), sql_name(&one.to));
    Issue::fail(
        format!(
            "{table}.{} is missing; {table}.{} has its definition",
            one.to, one.from
        ),
        [home.alter(
            table,
            guarded(
                &format!(
                    "EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass({}) AND attname = {} AND NOT attisdropped)",
                    literal(&qualified),
                    literal(&one.from)
                ),
                &format!("ALTER TABLE {qualified} RENAME COLUMN {from} TO {to}"),
            ),
        )],
    )
}

fn function(home: Home<'_>, one: &Renamed) -> Issue {
    let from = format!("{}()", home.qualified(&one.from));
    later(
        &format!("the function {} is named {}", one.to, one.from),
        home.alter(
            "notifications",
            guarded(
                &format!("to_regprocedure({}) IS NOT NULL", literal(&from)),
                &format!("ALTER FUNCTION {from} RENAME TO {}", sql_name(&one.to)),
            ),
        ),
    )
}

fn trigger(home: Home<'_>, one: &Renamed) -> Issue {
    let (table, qualified) = table_of(home, one);
    later(
        &format!("the trigger {} of {table} is named {}", one.to, one.from),
        home.alter(
            table,
            guarded(
                &format!(
                    "EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass({}) AND tgname = {})",
                    literal(&qualified),
                    literal(&one.from)
                ),
                &format!(
                    "ALTER TRIGGER {} ON {qualified} RENAME TO {}",
                    sql_name(&one.from),
                    sql_name(&one.to)
                ),
            ),
        ),
    )
}

fn later(text: &str, step: Step) -> Issue {
    Issue::warn(
        format!("{text}: a migration that replaces it by its name fails"),
        [step],
    )
}

fn table_of<'a>(home: Home<'_>, one: &'a Renamed) -> (&'a str, String) {
    let table = one.table.as_deref().unwrap_or_default();
    (table, home.qualified(table))
}
