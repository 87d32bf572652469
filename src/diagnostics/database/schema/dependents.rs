//! Changes of a column's type, around what depends on the column.

use crate::store::inspect::Dependent;

use super::home::Home;
use super::issue::Step;

/// A step that changes the type of a column by `statement`, whose names need no schema. What
/// depends on the column is dropped before and created again after it, in one transaction, or
/// left to a person.
pub(super) fn change(
    home: Home<'_>,
    dependents: &[Dependent],
    (table, column): (&str, &str),
    statement: &str,
) -> Step {
    let used: Vec<&Dependent> = dependents
        .iter()
        .filter(|one| one.table == table && one.column == column)
        .collect();
    let again: Option<Vec<(&str, &str)>> = used.iter().map(|one| one.again()).collect();
    let Some(again) = again else {
        let names: Vec<&str> = used.iter().map(|one| one.name.as_str()).collect();
        return Step::note(format!(
            "drop what uses {table}.{column} ({}), run this, and create it again: {}",
            names.join(", "),
            home.in_schema(statement)
        ));
    };
    let drops = again.iter().map(|(drop, _)| *drop);
    let creates = again.iter().rev().map(|(_, create)| *create);
    let all: Vec<&str> = drops.chain([statement]).chain(creates).collect();
    let statements = home.in_schema(&all.join("; "));
    if used.iter().all(|one| one.is_owned) {
        home.alter(table, statements)
    } else {
        Step::RunBy(None, statements)
    }
}

impl Dependent {
    /// The statements that drop it and create it again.
    fn again(&self) -> Option<(&str, &str)> {
        let (drop, create) = (self.drop.as_deref()?, self.create.as_deref()?);
        // Statements are shown in one line, with one blank between words.
        (!has_odd_blanks(create)).then_some((drop, create))
    }
}

/// Whether a text or a name in quotes would not be the same with single blanks.
fn has_odd_blanks(statement: &str) -> bool {
    ['\'', '"'].into_iter().any(|quote| {
        let quoted = statement.split(quote).skip(1).step_by(2);
        let mut quoted = quoted.map(|text| text.replace(' ', "_"));
        quoted.any(|text| text.contains("__") || text.contains(char::is_whitespace))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_quotes() {
        assert!(!has_odd_blanks("SELECT 'a b' AS \"the name\",\n   1"));
        assert!(has_odd_blanks("SELECT 'a  b'"));
        assert!(has_odd_blanks("SELECT 'it''s\n' AS x"));
        assert!(has_odd_blanks("SELECT 1 AS \"a  b\""));
    }
}
