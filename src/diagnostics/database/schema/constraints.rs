//! Constraints that are missing, not checked, or refuse the daemon's rows.

use crate::config::sql_name;

use super::duplicates;
use super::home::Home;
use super::issue::{Issue, Step, block, guarded, literal};
use super::parts::{Sides, names_id};
use super::set_aside::set_aside;

const INVALID: &str = " (invalid)";
const NOT_VALID: &str = " NOT VALID";
/// A foreign key of a table that the role may not alter.
const OF_ANOTHER: &str = " (of another owner)";

/// A constraint that differs.
pub(super) fn issue(home: Home<'_>, sides: Sides<'_>) -> Option<Issue> {
    let (table, name) = (sides.table, sql_name(sides.part));
    let table_name = sql_name(table);
    match (sides.expected, sides.found) {
        (Some(expected), None) => {
            let text = format!("{table} lacks the constraint {expected}");
            let steps = add(home, table, sides.part, expected);
            Some(if is_unique(expected) {
                Issue::fail(text, steps)
            } else {
                Issue::warn(text, steps)
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
                    with_orphans(
                        home,
                        table,
                        expected,
                        &format!("ALTER TABLE {table_name} VALIDATE CONSTRAINT {name}"),
                    ),
                ));
            }
            let text = format!(
                "the constraint {} of {table} is {found}, not {expected}",
                sides.part
            );
            let steps = with_orphans(
                home,
                table,
                expected,
                &format!(
                    "ALTER TABLE {table_name} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} {expected}"
                ),
            );
            Some(if is_unique(expected) {
                Issue::fail(text, steps)
            } else {
                Issue::warn(text, steps)
            })
        }
        (None, Some(found)) => foreign(home, sides, found),
        (None, None) => None,
    }
}

/// Adds a constraint, unless it is there.
fn add(home: Home<'_>, table: &str, constraint: &str, definition: &str) -> Vec<Step> {
    let (table_name, name) = (sql_name(table), sql_name(constraint));
    let is_missing = format!(
        "NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass({}) AND conname = {})",
        literal(&home.qualified(table)),
        literal(constraint)
    );
    let add = format!("ALTER TABLE {table_name} ADD CONSTRAINT {name} {definition}");
    if is_unique(definition) {
        return duplicates::unique(home, table, definition, &is_missing, &add);
    }
    with_orphans(home, table, definition, &guarded(&is_missing, &add))
}

/// Adds or checks a constraint by `statement`. Before a foreign key, rows that refer to one that is
/// gone make room: notifications of tasks keep their text and lose the number, as in the first
/// migration; rows of other tables are set aside.
fn with_orphans(home: Home<'_>, table: &str, definition: &str, statement: &str) -> Vec<Step> {
    let Some((column, other, key)) = reference(definition) else {
        return vec![home.alter(table, home.in_schema(statement))];
    };
    let name = sql_name(table);
    let is_orphan = format!(
        "{column} IS NOT NULL AND NOT EXISTS (SELECT FROM {other} o WHERE o.{key} = {name}.{column})"
    );
    let (note, separate) = if (table, column) == ("notifications", "task_id") {
        (
            None,
            format!("UPDATE {name} SET task_id = NULL WHERE {is_orphan}"),
        )
    } else {
        (
            Some(Step::note(format!(
                "rows of {table} whose row of {other} is gone are moved to the table {}",
                set_aside(table)
            ))),
            block("", "true", &duplicates::move_away(home, table, &is_orphan)),
        )
    };
    let whole = home.in_schema(&format!("{separate}; {statement}"));
    note.into_iter()
        .chain([home.alter_referring(table, other, whole)])
        .collect()
}

/// `task_id`, `tasks`, `id` of `FOREIGN KEY (task_id) REFERENCES tasks(id) ON DELETE CASCADE`.
fn reference(definition: &str) -> Option<(&str, &str, &str)> {
    let (column, rest) = definition
        .strip_prefix("FOREIGN KEY (")?
        .split_once(") REFERENCES ")?;
    let (other, rest) = rest.split_once('(')?;
    let (key, _) = rest.split_once(')')?;
    Some((column, other, key))
}

/// A constraint of others, which may refuse rows of the daemon.
fn foreign(home: Home<'_>, sides: Sides<'_>, found: &str) -> Option<Issue> {
    let (table, constraint) = (sides.table, sides.part);
    let is_harmless = is_unique(found) && names_id(found);
    // PostgreSQL 18 has constraints for NOT NULL, which the columns show.
    if is_harmless || found.starts_with("NOT NULL") {
        return None;
    }
    let step = home.alter(
        table,
        format!(
            "ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}",
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
    let (found, is_owned) = match found.strip_suffix(OF_ANOTHER) {
        Some(found) => (found, false),
        None => (found, true),
    };
    let (other, definition) = found.split_once(' ').unwrap_or((found, ""));
    let cascade = definition
        .replace(" ON DELETE RESTRICT", "")
        .replace(NOT_VALID, "");
    let text = format!(
        "{other} refers to {table} ({definition}): a row that it refers to cannot be deleted"
    );
    let statement = home.in_schema(&format!(
        "ALTER TABLE {other} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} {cascade} ON DELETE CASCADE"
    ));
    Issue::warn(
        text,
        [
            Step::note(format!("if rows of {other} may be deleted with theirs:")),
            if is_owned {
                Step::Run(statement)
            } else {
                Step::RunBy(None, statement)
            },
        ],
    )
}

fn is_unique(definition: &str) -> bool {
    definition.starts_with("UNIQUE") || definition.starts_with("PRIMARY KEY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        assert_eq!(
            reference("FOREIGN KEY (task_id) REFERENCES tasks(id) ON DELETE CASCADE"),
            Some(("task_id", "tasks", "id"))
        );
        assert_eq!(reference("PRIMARY KEY (id)"), None);
    }
}
