//! What was renamed: a missing part and an unknown one that have the same definition, where no
//! other has it.

use std::collections::BTreeMap;

use crate::config::sql_name;

use super::expected::{Parts, Schema};

/// Something that has another name than the migrations give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renamed {
    /// Such as `table`, or `column` of one.
    pub(crate) kind: &'static str,
    /// The table of a part, by the name that the migrations give it.
    pub(crate) table: Option<String>,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// Columns name types, triggers name functions, and indexes and other tables name tables.
const OBJECTS: [&str; 3] = ["type", "function", "table"];

/// Defaults name sequences; constraints and indexes name columns.
const PARTS: [&str; 5] = ["sequence", "column", "constraint", "index", "trigger"];

/// `found` with the names that `expected` has, and what was renamed.
pub(super) fn undo_renames(expected: &Schema, mut found: Schema) -> (Schema, Vec<Renamed>) {
    let mut renamed = Vec::new();
    for kind in OBJECTS {
        let alike = |(_, wanted): (&str, &Parts), (_, parts): (&str, &Parts)| {
            if kind == "table" {
                is_same_table(wanted, parts)
            } else {
                wanted == parts
            }
        };
        for (from, to) in pairs(kind, expected, &found, alike) {
            if let Some(parts) = found.remove(&format!("{kind} {from}")) {
                found.insert(format!("{kind} {to}"), parts);
            }
            for parts in found.values_mut() {
                replace_word(parts, &from, &to);
            }
            let table = None;
            renamed.push(Renamed {
                kind,
                table,
                from,
                to,
            });
        }
    }
    for (object, wanted) in expected {
        let Some(table) = object.strip_prefix("table ") else {
            continue;
        };
        for kind in PARTS {
            let Some(parts) = found.get_mut(object) else {
                continue;
            };
            let alike = |(to, wanted): (&str, &String), (from, found): (&str, &String)| {
                with_word(found, from, to) == *wanted
            };
            for (from, to) in pairs(kind, wanted, parts, alike) {
                if let Some(definition) = parts.remove(&format!("{kind} {from}")) {
                    parts.insert(format!("{kind} {to}"), definition);
                }
                replace_word(parts, &from, &to);
                let table = Some(table.to_owned());
                renamed.push(Renamed {
                    kind,
                    table,
                    from,
                    to,
                });
            }
        }
    }
    (found, renamed)
}

/// Whether a table has every column, or something whose name no other table of the schema has.
fn is_same_table(wanted: &Parts, found: &Parts) -> bool {
    let is_unique = |part: &&String| {
        part.starts_with("index ") || part.starts_with("sequence ") || part.ends_with("_pkey")
    };
    let mut columns = wanted
        .iter()
        .filter(|(part, _)| part.starts_with("column "));
    columns.all(|(part, definition)| found.get(part) == Some(definition))
        || wanted
            .keys()
            .filter(is_unique)
            .any(|part| found.contains_key(part))
}

/// The names in `found` and in `expected` of what is alike, if both have one of that kind alone.
fn pairs<T>(
    kind: &str,
    expected: &BTreeMap<String, T>,
    found: &BTreeMap<String, T>,
    is_alike: impl Fn((&str, &T), (&str, &T)) -> bool,
) -> Vec<(String, String)> {
    let missing = only_in(kind, expected, found);
    let unknown = only_in(kind, found, expected);
    let mut pairs = Vec::new();
    for &wanted in &missing {
        let mut candidates = unknown.iter().filter(|one| is_alike(wanted, **one));
        let (Some(&candidate), None) = (candidates.next(), candidates.next()) else {
            continue;
        };
        let rivals = missing.iter().filter(|one| is_alike(**one, candidate));
        if rivals.count() == 1 {
            pairs.push((candidate.0.to_owned(), wanted.0.to_owned()));
        }
    }
    pairs
}

/// What `one` has of a kind and `other` has not, by name.
fn only_in<'a, T>(
    kind: &str,
    one: &'a BTreeMap<String, T>,
    other: &BTreeMap<String, T>,
) -> Vec<(&'a str, &'a T)> {
    one.iter()
        .filter(|(key, _)| !other.contains_key(*key))
        .filter_map(|(key, value)| Some((key.strip_prefix(kind)?.strip_prefix(' ')?, value)))
        .collect()
}

fn replace_word(parts: &mut Parts, from: &str, to: &str) {
    for definition in parts.values_mut() {
        *definition = with_word(definition, from, to);
    }
}

/// The definition with a name in place of another, which it may have in quotes.
fn with_word(definition: &str, from: &str, to: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let quoted = sql_name(from);
    let mut text = String::with_capacity(definition.len());
    let mut rest = definition;
    while let Some(at) = rest.find(from) {
        let end = at + from.len();
        let is_word = !rest[..at].ends_with(is_part) && !rest[end..].starts_with(is_part);
        text += &rest[..at];
        text += if is_word { to } else { from };
        rest = &rest[end..];
    }
    text += rest;
    text.replace(&quoted, to).replace(&format!("\"{to}\""), to)
}

#[cfg(test)]
mod tests {
    use super::super::expected::tests::schema;
    use super::*;

    fn expected() -> Schema {
        schema(&[
            ("type level", "labels", "Low, High"),
            (
                "table tasks",
                "column id",
                "bigint default nextval('tasks_id_seq'::regclass)",
            ),
            (
                "table tasks",
                "column level",
                "level not null default 'Low'::level",
            ),
            ("table tasks", "column note", "text"),
            (
                "table tasks",
                "index by_note",
                "CREATE INDEX by_note ON tasks USING btree (note)",
            ),
            ("table tasks", "sequence tasks_id_seq", "bigint"),
            ("table notes", "column task_id", "bigint"),
            (
                "table notes",
                "constraint notes_fkey",
                "FOREIGN KEY (task_id) REFERENCES tasks(id)",
            ),
        ])
    }

    #[test]
    fn everything_may_have_another_name() {
        let found = schema(&[
            ("type Degree", "labels", "Low, High"),
            (
                "table todos",
                "column id",
                "bigint default nextval('tasks_id_seq'::regclass)",
            ),
            (
                "table todos",
                "column level",
                "\"Degree\" not null default 'Low'::\"Degree\"",
            ),
            ("table todos", "column note", "text"),
            (
                "table todos",
                "index i",
                "CREATE INDEX i ON todos USING btree (note)",
            ),
            ("table todos", "sequence tasks_id_seq", "bigint"),
            ("table notes", "column task_id", "bigint"),
            (
                "table notes",
                "constraint f",
                "FOREIGN KEY (task_id) REFERENCES todos(id)",
            ),
        ]);
        let (undone, renamed) = undo_renames(&expected(), found);
        let names: Vec<(&str, &str)> = renamed
            .iter()
            .map(|one| (one.from.as_str(), one.to.as_str()))
            .collect();
        assert_eq!(undone, expected(), "{names:?}");
        for pair in [
            ("Degree", "level"),
            ("todos", "tasks"),
            ("i", "by_note"),
            ("f", "notes_fkey"),
        ] {
            assert!(names.contains(&pair), "{names:?}");
        }
    }

    #[test]
    fn what_may_be_two_things_is_not_renamed() {
        let mut found = expected();
        let parts = found.get_mut("table tasks").unwrap();
        parts.remove("column note");
        parts.insert("column a".to_owned(), "text".to_owned());
        parts.insert("column b".to_owned(), "text".to_owned());
        assert_eq!(undo_renames(&expected(), found).1, []);
    }

    #[test]
    fn names_are_whole_words() {
        assert_eq!(
            with_word("tasks_x (tasks) \"tasks\"", "tasks", "t"),
            "tasks_x (t) t"
        );
    }
}
