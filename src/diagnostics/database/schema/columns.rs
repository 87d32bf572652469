//! Columns that are missing, renamed, changed, or make every insert fail.

use crate::config::sql_name;

use super::home::Home;
use super::issue::{Issue, Step, guarded, literal};
use super::parts::Sides;
use super::priorities::Priorities;
use super::{dependents, priorities};

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

    /// Whether a sequence gives it its values.
    fn is_generated_id(&self) -> bool {
        self.is_identity
            || self
                .default
                .is_some_and(|text| text.starts_with("nextval("))
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

/// A column that is missing.
fn missing(home: Home<'_>, table: &str, column: &str, expected: &str) -> Issue {
    let definition = Column::parse(expected);
    let restore = format!("restore {table} from a backup (pg_restore --table={table})");
    let add = || {
        home.alter(
            table,
            home.in_schema(&format!(
                "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}",
                sql_name(table),
                sql_name(column),
                expected.replace(" default ", " DEFAULT ")
            )),
        )
    };
    let steps = if !definition.is_optional() || definition.is_generated_id() {
        vec![Step::note(format!("its values are gone: {restore}"))]
    } else if definition.default.is_some() {
        vec![
            Step::note(format!(
                "its values are gone, and every row gets the default; to have them again, {restore}"
            )),
            add(),
        ]
    } else {
        vec![add()]
    };
    Issue::fail(format!("{table}.{column} is missing"), steps)
}

/// A column that the migrations do not create, or that has another definition.
pub(super) fn issue(priorities: Priorities<'_>, sides: Sides<'_>) -> Option<Issue> {
    let home = priorities.home;
    let (table, column) = (sides.table, sides.part);
    let found = match (sides.expected, sides.found) {
        (Some(expected), None) => return Some(missing(home, table, column, expected)),
        (_, found) => Column::parse(found?),
    };
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
        return (!found.is_optional()).then(|| {
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
            [alter("DROP EXPRESSION IF EXISTS".to_owned())],
        ));
    }
    if !found.is_as_wide_as(&expected) {
        let text = format!("{table}.{column} is {}, not {}", found.kind, expected.kind);
        if expected.kind == priorities::TYPE {
            return Some(Issue::fail(text, priorities.corrected()));
        }
        let statement = format!(
            "ALTER TABLE {} ALTER COLUMN {} {}",
            sql_name(table),
            sql_name(column),
            change_type(column, &found, &expected)
        );
        let step = dependents::change(
            home,
            priorities.dependents,
            (table, column),
            &unless_it_is(home, sides, &expected, &statement),
        );
        let assumed = gets_a_zone(&found, &expected).then(|| {
            Step::note(
                "its times are taken as UTC; if it was changed in a session with another TimeZone, write that zone in place of UTC",
            )
        });
        let steps: Vec<Step> = assumed.into_iter().chain([step]).collect();
        return Some(Issue::fail(text, steps));
    }
    if found.is_required && !expected.is_required {
        return Some(Issue::fail(
            format!("{table}.{column} requires a value, which not every row has"),
            [alter("DROP NOT NULL".to_owned())],
        ));
    }
    if expected.is_generated_id() && !found.is_generated_id() {
        return Some(Issue::fail(
            format!("{table}.{column} has no sequence any more, so every insert fails"),
            [home.alter(table, home.in_schema(&new_sequence(table, column)))],
        ));
    }
    let mut texts = Vec::new();
    let mut steps = Vec::new();
    if let Some(wanted) = expected.default
        && !expected.is_generated_id()
        && found.default != Some(wanted)
    {
        texts.push(format!(
            "{table}.{column} has the default {}, not {wanted}",
            found.default.unwrap_or("NULL")
        ));
        steps.push(alter(format!("SET DEFAULT {wanted}")));
    }
    if expected.is_required && !found.is_required {
        texts.push(format!(
            "{table}.{column} may be empty: a row without it cannot be read"
        ));
        if expected.default.is_some() && !expected.is_generated_id() {
            let (table_name, name) = (sql_name(table), sql_name(column));
            steps.push(home.alter(
                table,
                home.in_schema(&format!(
                    "UPDATE {table_name} SET {name} = DEFAULT WHERE {name} IS NULL"
                )),
            ));
        }
        steps.push(alter("SET NOT NULL".to_owned()));
    }
    (!texts.is_empty()).then(|| Issue::warn(texts.join("; "), steps))
}

/// The statement, unless the column has its type: a conversion of times would move them twice.
fn unless_it_is(
    home: Home<'_>,
    sides: Sides<'_>,
    expected: &Column<'_>,
    statement: &str,
) -> String {
    if !expected.kind.starts_with("timestamp") {
        return statement.to_owned();
    }
    let is_another = format!(
        "(SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass({}) AND attname = {}) <> {}",
        literal(&home.qualified(sides.table)),
        literal(sides.part),
        literal(expected.kind)
    );
    guarded(&is_another, statement)
}

/// Whether times without a zone become times with one.
fn gets_a_zone(found: &Column<'_>, expected: &Column<'_>) -> bool {
    expected.kind == "timestamp with time zone" && !found.kind.ends_with("with time zone")
}

/// `TYPE …` with the conversion that keeps every value.
fn change_type(column: &str, found: &Column<'_>, expected: &Column<'_>) -> String {
    let (name, kind) = (sql_name(column), expected.kind);
    let is_text = kind == "text" || kind.starts_with("character varying");
    let is_number = matches!(found.kind, "smallint" | "bigint" | "numeric");
    let using = if gets_a_zone(found, expected) {
        // Times without a zone are UTC.
        format!("{name}::timestamp AT TIME ZONE $$UTC$$")
    } else if kind == "boolean" && is_number {
        format!("{name} <> 0")
    } else if is_text && matches!(found.kind, "json" | "jsonb") {
        // A string without its quotes and escapes.
        format!("{name} #>> $${{}}$$")
    } else if is_text {
        // The column refuses a text that is too long, where a cast would cut it.
        format!("{name}::text")
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
