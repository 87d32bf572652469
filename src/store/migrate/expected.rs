//! The schema that migrations create.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Objects by name (`table tasks`).
pub(crate) type Schema = BTreeMap<String, Parts>;

/// The parts of an object (`column title`) and their definitions (`text not null`).
pub(crate) type Parts = BTreeMap<String, String>;

/// What a migration does to a schema: the definition that a part has after it, or `None` if it
/// drops the part.
pub(super) type Changes = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// The changes of each version, in order.
pub(super) type History = BTreeMap<i64, Changes>;

/// PostgreSQL's history: the comparison with a database needs no right to create anything. A test
/// compares the file with the migrations, and writes it after a new one.
#[expect(clippy::expect_used, reason = "a constant, read by the test")]
pub(super) static OF_SERVERS: LazyLock<History> = LazyLock::new(|| {
    serde_json::from_str(include_str!("history.json")).expect("the history is valid JSON")
});

/// The schema after all migrations on PostgreSQL.
pub(super) static ALL_APPLIED: LazyLock<Schema> = LazyLock::new(|| created_by(OF_SERVERS.values()));

/// The tables, and their parts.
pub(crate) fn expected_tables() -> impl Iterator<Item = (&'static str, &'static Parts)> {
    ALL_APPLIED
        .iter()
        .filter_map(|(object, parts)| Some((object.strip_prefix("table ")?, parts)))
}

/// Whether a table gets such a part, as in `constraint`, by the migrations: where it refuses rows,
/// something else is wrong.
pub(crate) fn is_own_part(kind: &str, name: &str) -> bool {
    let mut parts = expected_tables().flat_map(|(_, parts)| parts.keys());
    parts.any(|part| {
        part.strip_prefix(kind)
            .is_some_and(|rest| rest.trim_start() == name)
    })
}

/// Whether the migrations let a column be never null.
pub(crate) fn is_required(table: Option<&str>, column: &str) -> bool {
    let part = format!("column {column}");
    let mut tables = expected_tables().filter(|(name, _)| Some(*name) == table);
    tables.any(|(_, parts)| parts.get(&part).is_some_and(|one| one.contains("not null")))
}

/// The functions, by name.
pub(crate) fn expected_functions() -> impl Iterator<Item = &'static str> {
    ALL_APPLIED
        .keys()
        .filter_map(|object| object.strip_prefix("function "))
}

/// The functions that run as their owners, by name.
pub(crate) fn expected_functions_of_owners() -> impl Iterator<Item = &'static str> {
    ALL_APPLIED.iter().filter_map(|(object, parts)| {
        let runs_as_owner = parts.values().any(|text| text.contains("security definer"));
        object.strip_prefix("function ").filter(|_| runs_as_owner)
    })
}

/// The types, by name.
pub(crate) fn expected_types() -> impl Iterator<Item = &'static str> {
    ALL_APPLIED
        .keys()
        .filter_map(|object| object.strip_prefix("type "))
}

/// The schema after `changes`, one after the other, in an empty database.
pub(super) fn created_by<'a>(changes: impl IntoIterator<Item = &'a Changes>) -> Schema {
    let mut schema = Schema::new();
    for (object, parts) in changes.into_iter().flatten() {
        let known = schema.entry(object.clone()).or_default();
        for (part, definition) in parts {
            match definition {
                Some(definition) => known.insert(part.clone(), definition.clone()),
                None => known.remove(part),
            };
        }
        if known.is_empty() {
            schema.remove(object);
        }
    }
    schema
}

/// What leads from `before` to `after`.
pub(super) fn changes(before: &Schema, after: &Schema) -> Changes {
    let none = Parts::new();
    let mut changes = Changes::new();
    for object in before.keys().chain(after.keys()) {
        let had = before.get(object).unwrap_or(&none);
        let has = after.get(object).unwrap_or(&none);
        let changed: BTreeMap<String, Option<String>> = had
            .keys()
            .chain(has.keys())
            .filter(|part| had.get(*part) != has.get(*part))
            .map(|part| (part.clone(), has.get(part).cloned()))
            .collect();
        if !changed.is_empty() {
            changes.insert(object.clone(), changed);
        }
    }
    changes
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A schema of objects, parts and definitions.
    pub(in crate::store::migrate) fn schema(parts: &[(&str, &str, &str)]) -> Schema {
        let mut schema = Schema::new();
        for (object, part, definition) in parts {
            let known = schema.entry((*object).to_owned()).or_default();
            known.insert((*part).to_owned(), (*definition).to_owned());
        }
        schema
    }

    #[test]
    fn changes_lead_from_one_schema_to_the_next() {
        let steps = [
            schema(&[
                ("table a", "column x", "text"),
                ("table b", "column y", "text"),
            ]),
            schema(&[
                ("table a", "column x", "bigint"),
                ("table c", "column z", "text"),
            ]),
            schema(&[("table c", "column z", "text")]),
        ];
        let mut before = Schema::new();
        let mut all = Vec::new();
        for step in &steps {
            all.push(changes(&before, step));
            assert_eq!(&created_by(&all), step);
            before.clone_from(step);
        }
    }
}
