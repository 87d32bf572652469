//! Columns that are missing, renamed, changed, or make every insert fail.

use crate::config::sql_name;
use crate::store::migrate::drift::Drift;

use super::home::Home;
use super::issue::{Issue, Step};
use super::parts::{Sides, parts};

/// A column's definition, as the catalogue's text has it.
#[derive(Debug, PartialEq, Eq)]
struct Column<'a> {
    /// With its collation, if it has one of its own.
    kind: &'a str,
    is_required: bool,
    is_identity: bool,
    is_generated: bool,
    default: Option<&'a str>,
}

impl<'a> Column<'a> {
    fn parse(definition: &'a str) -> Self {
        let (rest, default) = match definition.split_once(" default ") {
            Some((rest, default)) => (rest, Some(default)),
            None => (definition, None),
        };
        let (rest, is_generated) = without(rest, " generated");
        let (rest, is_identity) = without(rest, " identity");
        let (kind, is_required) = without(rest, " not null");
        Self {
            kind,
            is_required,
            is_identity,
            is_generated,
            default,
        }
    }

    /// Whether a row can be inserted without a value for it.
    fn is_optional(&self) -> bool {
        !self.is_required || self.default.is_some() || self.is_identity || self.is_generated
    }

    /// The limit of a text: `Some(None)` is none, `None` is no text.
    fn text_limit(&self) -> Option<Option<u32>> {
        match self.kind {
            "text" | "character varying" => Some(None),
            kind => {
                let digits = kind.strip_prefix("character varying(")?.strip_suffix(')')?;
                Some(Some(digits.parse().ok()?))
            }
        }
    }

    /// Whether it holds whatever `other` does, in a form that todoctl reads alike.
    fn is_as_wide_as(&self, other: &Self) -> bool {
        match (self.text_limit(), other.text_limit()) {
            (Some(own), Some(wanted)) => own.is_none_or(|own| wanted.is_some_and(|one| own >= one)),
            _ => self.kind == other.kind,
        }
    }
}

fn without<'a>(text: &'a str, end: &str) -> (&'a str, bool) {
    match text.strip_suffix(end) {
        Some(rest) => (rest, true),
        None => (text, false),
    }
}

/// Missing columns, with the column that has the definition if there is one.
pub(super) fn renamed_and_missing(home: Home<'_>, drift: &Drift) -> Vec<Issue> {
    let mut issues = Vec::new();
    for missing in parts(drift, "column").filter(|one| one.found.is_none()) {
        let Some(expected) = missing.expected else {
            continue;
        };
        let (table, column) = (missing.table, missing.part);
        let qualified = home.qualified(table);
        let same = |one: &Sides<'_>| {
            one.table == table && one.expected.is_none() && one.found == Some(expected)
        };
        let mut candidates = parts(drift, "column").filter(same);
        if let (Some(other), None) = (candidates.next(), candidates.next()) {
            let (from, to) = (sql_name(other.part), sql_name(column));
            issues.push(Issue::fail(
                format!(
                    "{table}.{column} is missing; {table}.{} has its definition",
                    other.part
                ),
                [home.alter(
                    table,
                    format!("ALTER TABLE {qualified} RENAME COLUMN {from} TO {to}"),
                )],
            ));
            continue;
        }
        let name = sql_name(column);
        let step = if Column::parse(expected).is_optional() {
            home.alter(
                table,
                home.in_schema(&format!(
                    "ALTER TABLE {} ADD COLUMN {name} {}",
                    sql_name(table),
                    expected.replace(" default ", " DEFAULT ")
                )),
            )
        } else {
            Step::note(format!(
                "its values are gone: restore {table} from a backup (pg_restore --table={table})"
            ))
        };
        issues.push(Issue::fail(format!("{table}.{column} is missing"), [step]));
    }
    issues
}

/// A column that the migrations do not create, or that has another definition.
pub(super) fn changed(home: Home<'_>, drift: &Drift, sides: Sides<'_>) -> Option<Issue> {
    let found = Column::parse(sides.found?);
    let (table, column) = (sides.table, sides.part);
    let alter = |action: String| {
        let (table_name, name) = (sql_name(table), sql_name(column));
        home.alter(
            table,
            home.in_schema(&format!(
                "ALTER TABLE {table_name} ALTER COLUMN {name} {action}"
            )),
        )
    };
    let Some(expected) = sides.expected else {
        let is_renamed = parts(drift, "column")
            .any(|one| one.table == table && one.found.is_none() && one.expected == sides.found);
        return (!found.is_optional() && !is_renamed).then(|| {
            Issue::fail(
                format!("{table}.{column} is not a column of todoctl and requires a value, so every insert fails"),
                [alter("DROP NOT NULL".to_owned())],
            )
        });
    };
    let expected = Column::parse(expected);
    if found.is_generated {
        return Some(Issue::fail(
            format!("{table}.{column} is generated, so it cannot be written"),
            [alter("DROP EXPRESSION".to_owned())],
        ));
    }
    if !found.is_as_wide_as(&expected) {
        return Some(Issue::fail(
            format!("{table}.{column} is {}, not {}", found.kind, expected.kind),
            [alter(change_type(column, &found, &expected))],
        ));
    }
    if found.is_required && !expected.is_required {
        return Some(Issue::fail(
            format!("{table}.{column} requires a value, which not every row has"),
            [alter("DROP NOT NULL".to_owned())],
        ));
    }
    let generates = |one: &Column<'_>| {
        one.is_identity || one.default.is_some_and(|text| text.starts_with("nextval("))
    };
    if generates(&expected) && !generates(&found) {
        return Some(Issue::fail(
            format!("{table}.{column} has no sequence any more, so every insert fails"),
            [home.alter(table, home.in_schema(&new_sequence(table, column)))],
        ));
    }
    match (expected.default, found.default) {
        (Some(wanted), other) if !generates(&expected) && other != Some(wanted) => {
            let set = alter(format!("SET DEFAULT {wanted}"));
            let text = format!(
                "{table}.{column} has the default {}, not {wanted}",
                other.unwrap_or("NULL")
            );
            return Some(Issue::warn(text, [set]));
        }
        _ => {}
    }
    if expected.is_required && !found.is_required {
        let fill = expected.default.map(|_| {
            let (table_name, name) = (sql_name(table), sql_name(column));
            home.alter(
                table,
                home.in_schema(&format!(
                    "UPDATE {table_name} SET {name} = DEFAULT WHERE {name} IS NULL"
                )),
            )
        });
        let required = alter("SET NOT NULL".to_owned());
        return Some(Issue::warn(
            format!("{table}.{column} may be empty: a row without it cannot be read"),
            fill.into_iter().chain([required]),
        ));
    }
    None
}

/// `TYPE …` with the conversion that keeps every value.
fn change_type(column: &str, found: &Column<'_>, expected: &Column<'_>) -> String {
    let (name, kind) = (sql_name(column), expected.kind);
    let is_time = |kind: &str| kind == "timestamp with time zone";
    let using = if is_time(kind) && found.kind.starts_with("timestamp") {
        // Times without a zone are UTC.
        format!("{name} AT TIME ZONE $$UTC$$")
    } else if kind == "prioritylevel" {
        format!("initcap({name}::text)::{kind}")
    } else {
        format!("{name}::{kind}")
    };
    let (table_default, restored) = match expected.default {
        // A default of the old type may not fit the new one.
        Some(default) if !default.starts_with("nextval(") => (
            "DROP DEFAULT, ALTER COLUMN ",
            format!(", ALTER COLUMN {name} SET DEFAULT {default}"),
        ),
        _ => ("", String::new()),
    };
    if table_default.is_empty() {
        format!("TYPE {kind} USING {using}")
    } else {
        format!("{table_default}{name} TYPE {kind} USING {using}{restored}")
    }
}

/// Gives a column of ids a sequence again, which continues after the highest id.
fn new_sequence(table: &str, column: &str) -> String {
    let sequence = sql_name(&format!("{table}_{column}_seq"));
    let (table, column) = (sql_name(table), sql_name(column));
    format!(
        "CREATE SEQUENCE IF NOT EXISTS {sequence} OWNED BY {table}.{column}; \
         LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE; \
         SELECT setval($${sequence}$$, coalesce(max({column}), 0) + 1, false) FROM {table}; \
         ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT nextval($${sequence}$$)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_parsed() {
        let id = Column::parse("bigint not null default nextval('tasks_id_seq'::regclass)");
        assert_eq!(id.kind, "bigint");
        assert!(id.is_required && id.is_optional());
        assert_eq!(id.default, Some("nextval('tasks_id_seq'::regclass)"));
        assert!(Column::parse("bigint not null identity").is_identity);
        assert!(!Column::parse("text not null").is_optional());
        assert_eq!(
            Column::parse("character varying(200) collate x").kind,
            "character varying(200) collate x"
        );
    }

    #[test]
    fn texts_may_be_wider() {
        let is_enough = |found: &str, expected: &str| {
            Column::parse(found).is_as_wide_as(&Column::parse(expected))
        };
        assert!(is_enough("text", "character varying(200)"));
        assert!(is_enough(
            "character varying(500)",
            "character varying(200)"
        ));
        assert!(is_enough("character varying", "text"));
        assert!(!is_enough(
            "character varying(100)",
            "character varying(200)"
        ));
        assert!(!is_enough("character varying(100)", "text"));
        assert!(!is_enough("integer", "bigint"));
        assert!(!is_enough("uuid", "text"));
    }
}
