//! Indexes of a SQLite file that are missing, changed, or of others.

use crate::config::sql_name;

use super::issue::{Issue, RESTART, Step};
use super::parts::Sides;

const UNIQUE: &str = "CREATE UNIQUE INDEX ";

pub(super) fn changed_index(index: Sides<'_>) -> Option<Issue> {
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
        (None, Some(found)) if let Some(collation) = unknown_collation(found) => Some(Issue::fail(
            format!(
                "{table} has the index {} with the collation {collation}, which only the program that made it knows: each change of {table} fails",
                index.part
            ),
            [
                Step::note(format!("the text of the index: {found}")),
                Step::Run(format!("DROP INDEX IF EXISTS {name}")),
                Step::note(RESTART),
            ],
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

/// The name behind COLLATE, unless SQLite has it itself.
fn unknown_collation(index: &str) -> Option<&str> {
    const OWN: [&str; 3] = ["BINARY", "NOCASE", "RTRIM"];
    let mut words = index
        .split([' ', ',', '(', ')', '"'])
        .filter(|one| !one.is_empty());
    std::iter::from_fn(|| {
        words.find(|word| word.eq_ignore_ascii_case("COLLATE"))?;
        words.next()
    })
    .find(|name| !OWN.iter().any(|own| name.eq_ignore_ascii_case(own)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collations() {
        let of = |columns: &str| unknown_collation(columns).map(str::to_owned);
        assert_eq!(of("(title COLLATE german)").as_deref(), Some("german"));
        let second = "(a collate nocase, b COLLATE \"LOCALIZED\" DESC)";
        assert_eq!(of(second).as_deref(), Some("LOCALIZED"));
        assert_eq!(of("(title COLLATE BINARY, collate)"), None);
    }
}
