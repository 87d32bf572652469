//! The parts of a schema that differ.

use crate::store::migrate::drift::{Difference, Drift};

/// The definitions of one part by the migrations and in the database.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) table: &'a str,
    /// Without its kind: `title` of `column title`.
    pub(super) part: &'a str,
    pub(super) expected: Option<&'a str>,
    pub(super) found: Option<&'a str>,
}

/// The parts of `kind` that differ, such as `index`.
pub(super) fn parts<'a>(
    drift: &'a Drift,
    kind: &'a str,
) -> impl Iterator<Item = Sides<'a>> + use<'a> {
    drift
        .differences
        .iter()
        .filter(move |one| !is_consequence(drift, one))
        .filter_map(move |one| sides(one, kind))
}

/// Whether a difference follows from another, which has to be corrected first: that a table is a
/// foreign one, or, for keys, that it is partitioned or not there.
pub(super) fn is_consequence(drift: &Drift, one: &Difference) -> bool {
    let Some(part) = one.part.as_deref().filter(|part| *part != "storage") else {
        return false;
    };
    let Some(table) = one.object.strip_prefix("table ") else {
        return false;
    };
    let is_key = part.starts_with("constraint ") || part.starts_with("reference ");
    let referred = one.expected.as_deref().or(one.found.as_deref());
    let referred = referred.and_then(|text| text.split_once(" REFERENCES "));
    let referred = referred.and_then(|(_, rest)| rest.split('(').next());
    let has_no_keys =
        |table: &str| is_kept(drift, table, "foreign") || is_kept(drift, table, "partitioned");
    let is_gone = |table: &str| !drift.found.contains_key(&format!("table {table}"));
    is_kept(drift, table, "foreign")
        || referred.is_some_and(is_gone) && one.expected.is_some()
        || is_key && (has_no_keys(table) || referred.is_some_and(has_no_keys))
}

/// Whether a table keeps its rows in this unusual way, such as `partitioned`.
pub(super) fn is_kept(drift: &Drift, table: &str, how: &str) -> bool {
    let parts = drift.found.get(&format!("table {table}"));
    let storage = parts.and_then(|parts| parts.get("storage"));
    storage.is_some_and(|storage| storage.split(", ").any(|one| one == how))
}

pub(super) fn sides<'a>(one: &'a Difference, kind: &str) -> Option<Sides<'a>> {
    Some(Sides {
        table: one.object.strip_prefix("table ")?,
        part: one.part.as_deref()?.strip_prefix(kind)?.strip_prefix(' ')?,
        expected: one.expected.as_deref(),
        found: one.found.as_deref(),
    })
}

/// A table of another name that has every column of `table`, with its type.
pub(super) fn renamed(drift: &Drift, table: &str) -> Option<String> {
    let parts = drift.expected.get(&format!("table {table}"))?;
    let columns: Vec<_> = parts
        .iter()
        .filter(|(part, _)| part.starts_with("column "))
        .collect();
    drift.found.iter().find_map(|(object, found)| {
        let name = object.strip_prefix("table ")?;
        let is_it = !drift.expected.contains_key(object)
            && columns
                .iter()
                .all(|(column, definition)| found.get(*column) == Some(definition));
        is_it.then(|| name.to_owned())
    })
}

/// Whether the id is among the columns in brackets, so that no two rows are alike.
pub(super) fn names_id(definition: &str) -> bool {
    let columns = definition.split_once('(').map_or("", |(_, rest)| rest);
    let columns = columns
        .split_once(')')
        .map_or(columns, |(columns, _)| columns);
    columns.split(", ").any(|column| column == "id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_keys_with_the_id_refuse_nothing() {
        assert!(names_id("UNIQUE (user_id, id)"));
        assert!(names_id("btree (id) WHERE completed"));
        assert!(!names_id("UNIQUE (user_id, title)"));
        assert!(!names_id("btree (user_id) WHERE (id > 0)"));
    }
}
