//! Expressions of others that may fail, and with them every change of a row.

use crate::config::sql_name;
use crate::store::inspect::Expression;

use super::home::Home;
use super::issue::{Issue, Step};

pub(super) fn issue(home: Home<'_>, one: &Expression) -> Issue {
    let Expression {
        table, name, text, ..
    } = one;
    let (what, step) = match one.kind.as_str() {
        "index" => (
            format!("the index {name} on {text}"),
            home.alter(
                table,
                format!("DROP INDEX CONCURRENTLY IF EXISTS {}", home.qualified(name)),
            ),
        ),
        "generated" => (
            format!("the generated column {name}: {text}"),
            without(home, one, "DROP EXPRESSION IF EXISTS"),
        ),
        _ => (
            format!("the column {name} with the default {text}"),
            without(home, one, "DROP DEFAULT"),
        ),
    };
    Issue::warn(
        format!(
            "{table} has {what}, which todoctl does not know: rows for which it cannot be evaluated are refused"
        ),
        [
            Step::note(format!("unless {name} is needed and fails for no row:")),
            step,
        ],
    )
}

/// Takes the expression from a column, whose values stay.
fn without(home: Home<'_>, one: &Expression, action: &str) -> Step {
    let column = sql_name(&one.name);
    let optional = if one.is_required {
        format!(", ALTER COLUMN {column} DROP NOT NULL")
    } else {
        String::new()
    };
    home.alter(
        &one.table,
        format!(
            "ALTER TABLE {} ALTER COLUMN {column} {action}{optional}",
            home.qualified(&one.table)
        ),
    )
}
