//! Constraints that are missing, not checked, or refuse the daemon's rows.

use crate::config::sql_name;
use crate::store::migrate::drift::Drift;

use super::home::Home;
use super::issue::{Issue, Step};
use super::parts::{Sides, names_id, parts};

const INVALID: &str = " (invalid)";
const NOT_VALID: &str = " NOT VALID";

/// A constraint that differs. One with the same definition under another name does the same.
pub(super) fn issue(home: Home<'_>, drift: &Drift, sides: Sides<'_>) -> Option<Issue> {
    let (table, name) = (sides.table, sql_name(sides.part));
    let table_name = sql_name(table);
    let add = |definition: &str| {
        home.alter(
            table,
            home.in_schema(&format!(
                "ALTER TABLE {table_name} ADD CONSTRAINT {name} {definition}"
            )),
        )
    };
    match (sides.expected, sides.found) {
        (Some(expected), None) => {
            let is_same = |one: Sides<'_>| one.table == table && one.found == Some(expected);
            if parts(drift, "constraint").any(is_same) {
                return None;
            }
            let text = format!("{table} lacks the constraint {expected}");
            Some(if is_unique(expected) {
                Issue::fail(text, [add(expected)])
            } else {
                Issue::warn(text, [add(expected)])
            })
        }
        (Some(expected), Some(found)) => {
            if found.strip_suffix(INVALID) == Some(expected) {
                return Some(Issue::fail(
                    format!(
                        "the index of the constraint {} of {table} is invalid",
                        sides.part
                    ),
                    [home.alter(
                        table,
                        format!("REINDEX INDEX CONCURRENTLY {}", home.qualified(sides.part)),
                    )],
                ));
            }
            if found.strip_suffix(NOT_VALID) == Some(expected) {
                return Some(Issue::warn(
                    format!(
                        "the constraint {} of {table} was never checked for existing rows",
                        sides.part
                    ),
                    [home.alter(
                        table,
                        format!(
                            "ALTER TABLE {} VALIDATE CONSTRAINT {name}",
                            home.qualified(table)
                        ),
                    )],
                ));
            }
            let text = format!(
                "the constraint {} of {table} is {found}, not {expected}",
                sides.part
            );
            let step = home.alter(
                table,
                home.in_schema(&format!(
                    "ALTER TABLE {table_name} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {expected}"
                )),
            );
            Some(if is_unique(expected) {
                Issue::fail(text, [step])
            } else {
                Issue::warn(text, [step])
            })
        }
        (None, Some(found)) => foreign(home, drift, sides, found),
        (None, None) => None,
    }
}

/// A constraint of others, which may refuse rows of the daemon.
fn foreign(home: Home<'_>, drift: &Drift, sides: Sides<'_>, found: &str) -> Option<Issue> {
    let (table, constraint) = (sides.table, sides.part);
    let is_same = |one: Sides<'_>| one.table == table && one.expected == Some(found);
    let is_harmless = is_unique(found) && names_id(found);
    // PostgreSQL 18 has constraints for NOT NULL, which the columns show.
    if parts(drift, "constraint").any(is_same) || is_harmless || found.starts_with("NOT NULL") {
        return None;
    }
    let step = home.alter(
        table,
        format!(
            "ALTER TABLE {} DROP CONSTRAINT {}",
            home.qualified(table),
            sql_name(constraint)
        ),
    );
    let text = format!(
        "{table} has the constraint {constraint} that todoctl does not know: {found}; rows that it does not allow are refused"
    );
    Some(if is_unique(found) {
        Issue::fail(text, [step])
    } else {
        Issue::warn(text, [step])
    })
}

/// A foreign key of another table that refuses to delete a row.
pub(super) fn refusing(home: Home<'_>, sides: Sides<'_>, found: &str) -> Issue {
    let (table, name) = (sides.table, sql_name(sides.part));
    let (other, definition) = found.split_once(' ').unwrap_or((found, ""));
    let cascade = definition
        .replace(" ON DELETE RESTRICT", "")
        .replace(NOT_VALID, "");
    let text = format!(
        "{other} refers to {table} ({definition}): a row that it refers to cannot be deleted"
    );
    Issue::warn(
        text,
        [
            Step::note(format!("if rows of {other} may be deleted with theirs:")),
            Step::Run(home.in_schema(&format!(
                "ALTER TABLE {other} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {cascade} ON DELETE CASCADE"
            ))),
        ],
    )
}

fn is_unique(definition: &str) -> bool {
    definition.starts_with("UNIQUE") || definition.starts_with("PRIMARY KEY")
}
