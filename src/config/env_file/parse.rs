//! The names and values in the text of a `.env` file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::config::strength::is_placeholder;

/// The names and values in the text of a `.env` file.
pub(crate) fn assignments(text: &str) -> Result<BTreeMap<String, String>, dotenvy::Error> {
    let text = text.trim_start_matches('\u{feff}');
    let mut values = BTreeMap::new();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = item?;
        match values.entry(name) {
            Entry::Vacant(first) => {
                first.insert(value);
            }
            // As in dotenvy, the first of several assignments counts; one that only marks where a value
            // belongs is none.
            Entry::Occupied(mut first) if is_real(&value) && !is_real(first.get()) => {
                first.insert(value);
            }
            Entry::Occupied(_) => {}
        }
    }
    Ok(values)
}

/// Whether a value is neither empty nor a placeholder.
pub(crate) fn is_real(value: &str) -> bool {
    !value.trim().is_empty() && !is_placeholder(value)
}

/// Whether readers take a `$` in the value, as it is written, for the beginning of the name of a
/// variable: outside of single quotes, and not after a backslash. They put its value, or nothing, in the
/// place of both.
pub(crate) fn has_expansion(value: &str) -> bool {
    !expansions(value).is_empty()
}

/// Whether each `$` in the value is that of a reference such as `${NAME}` to a variable that is set,
/// which nobody writes by accident.
pub(super) fn has_references_alone(value: &str, is_set: impl Fn(&str) -> bool) -> bool {
    expansions(value)
        .into_iter()
        .all(|name| name.is_some_and(&is_set))
}

/// What follows each `$` that is not meant as it is: a name in braces, or something else.
fn expansions(value: &str) -> Vec<Option<&str>> {
    let mut found = Vec::new();
    let (mut quote, mut is_escaped, mut before) = (None, false, ' ');
    for (at, sign) in value.char_indices() {
        match sign {
            _ if is_escaped => is_escaped = false,
            '\\' if quote != Some('\'') => is_escaped = true,
            '"' | '\'' if quote.is_none() => quote = Some(sign),
            '"' | '\'' if quote == Some(sign) => quote = None,
            '#' if quote.is_none() && before.is_whitespace() => break,
            '$' if quote != Some('\'') => {
                let inner = value[at + 1..].strip_prefix('{');
                let name = inner.and_then(|rest| rest.split_once('}'));
                found.push(name.map(|(name, _)| name));
            }
            _ => {}
        }
        before = sign;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts() {
        for (text, expected) in [
            ("A=1\nA=2\n", "1"),
            ("A=change-me\nA=2\nA=3\n", "2"),
            ("A=\nA=2\n", "2"),
            ("A=2\nA=change-me\n", "2"),
            ("A=change-me\nA=\n", "change-me"),
        ] {
            assert_eq!(assignments(text).unwrap()["A"], expected, "{text}");
        }
    }

    /// What is said about a value, and what its reader makes of it.
    #[test]
    fn values_that_the_reader_puts_in() {
        for value in [
            "a$HOME",
            "\"a${HOME}b\"",
            "$1",
            "a$",
            "a$-b",
            "a#$HOME",
            "\"a # $HOME b\"",
        ] {
            assert!(has_expansion(value), "{value}");
            let read = &assignments(&format!("A={value}")).unwrap()["A"];
            assert!(!read.contains('$'), "{value}: {read}");
        }
        for value in ["'a$HOME'", "a\\$HOME", "x # costs $5", "plain", "'a'\\$b"] {
            assert!(!has_expansion(value), "{value}");
            let read = &assignments(&format!("A={value}")).unwrap()["A"];
            assert_eq!(
                read.contains('$'),
                value.contains('$') && !value.contains('#')
            );
        }
    }

    #[test]
    fn references_that_are_meant() {
        let is_meant = |value| has_references_alone(value, |name| name == "SET");
        for value in ["${SET}", "\"a${SET}/b${SET}\"", "plain"] {
            assert!(is_meant(value), "{value}");
        }
        for value in ["$SET", "${SET}$", "${OTHER}", "${SET:-x}", "${SET"] {
            assert!(!is_meant(value), "{value}");
        }
    }
}
