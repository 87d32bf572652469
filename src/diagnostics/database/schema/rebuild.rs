//! A table of a SQLite file, created again as the migrations do, with its rows. SQLite changes
//! most of a table in no other way (<https://www.sqlite.org/lang_altertable.html#otheralter>).

use crate::config::sql_name;
use crate::store::migrate::drift::Drift;
use crate::store::migrate::{DEFINITION, Schema};

use super::issue::Step;
use super::unread::{FILE_COUNT, UNREAD};

/// The index of searches.
pub(super) const SEARCH: &str = "virtual table todoctl_search";

/// Fills the index of searches again.
pub(super) const FILE_SEARCH: &str =
    "INSERT INTO todoctl_search (todoctl_search) VALUES ('rebuild')";

/// Creates the index of searches again, whatever is left of it. Where one of its own tables is
/// damaged, SQLite neither fills nor drops it.
pub(super) fn search_again(expected: &Schema) -> Option<String> {
    let definition = expected.get(SEARCH)?.get(DEFINITION)?;
    let parts = ["data", "idx", "docsize", "config"];
    let drop = parts.map(|part| format!("DROP TABLE IF EXISTS todoctl_search_{part}; "));
    Some(format!(
        "PRAGMA writable_schema = ON; BEGIN IMMEDIATE; \
         DELETE FROM sqlite_schema WHERE type = 'table' AND name = 'todoctl_search'; \
         PRAGMA writable_schema = RESET; {}{definition}; {FILE_SEARCH}; COMMIT",
        drop.concat()
    ))
}

/// The same where pages of the index are damaged, so that its tables cannot be dropped: VACUUM leaves
/// the pages out that no table has.
pub(super) fn search_without_pages(expected: &Schema) -> Option<String> {
    let definition = expected.get(SEARCH)?.get(DEFINITION)?;
    Some(format!(
        "PRAGMA writable_schema = ON; BEGIN IMMEDIATE; \
         DELETE FROM sqlite_schema WHERE tbl_name = 'todoctl_search' OR tbl_name GLOB 'todoctl_search_*'; \
         PRAGMA writable_schema = RESET; {definition}; {FILE_SEARCH}; COMMIT; VACUUM"
    ))
}

/// Statements that put a table as it should be in the place of `table`, in one transaction.
/// Columns, indexes and triggers of others stay; their columns need no value.
///
/// `None` where values would be missing, or computed.
pub(super) fn rebuild(drift: &Drift, table: &str) -> Option<String> {
    let object = format!("table {table}");
    let (expected, found) = (drift.expected.get(&object)?, drift.found.get(&object)?);
    let is_column = |part: &&String| part.starts_with("column ");
    let added: Vec<&String> = found
        .keys()
        .filter(is_column)
        .filter(|part| !expected.contains_key(*part))
        .collect();
    // One of them may be a column that was renamed.
    let lacks_any = expected
        .keys()
        .filter(is_column)
        .any(|part| !found.contains_key(part));
    let is_computed = |part: &&String| {
        let definition = &found[*part];
        definition.contains(" generated") || definition.contains(" primary key")
    };
    if !added.is_empty() && (lacks_any || added.iter().any(is_computed)) {
        return None;
    }
    let name = |part: &str| sql_name(&part["column ".len()..]);
    let mut columns = Vec::new();
    for part in expected.keys().filter(is_column) {
        let definition = &expected[part];
        if found.contains_key(part) {
            columns.push(name(part));
        } else if definition.contains(" not null") && !definition.contains(" default ") {
            return None;
        }
    }
    columns.extend(added.iter().map(|part| name(part)));
    let columns = columns.join(", ");
    let definition = expected.get(DEFINITION)?;
    let body = &definition[definition.find('(')?..];
    let (old, new) = (sql_name(table), sql_name(&format!("{table}_rebuilt")));
    let mut statements = vec![
        "PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON; BEGIN IMMEDIATE".to_owned(),
        format!("CREATE TABLE {new} {body}"),
    ];
    statements.extend(added.iter().map(|part| {
        let definition = &found[*part];
        let optional = if definition.contains(" default ") {
            definition.clone()
        } else {
            definition.replace(" not null", "")
        };
        format!("ALTER TABLE {new} ADD COLUMN {} {optional}", name(part))
    }));
    statements.push(format!(
        "INSERT INTO {new} ({columns}) SELECT {columns} FROM {old}"
    ));
    if definition.contains("AUTOINCREMENT") {
        // Ids of rows that were deleted are not given again.
        statements.push(format!(
            "DELETE FROM sqlite_sequence WHERE name = '{table}_rebuilt'; \
             INSERT INTO sqlite_sequence (name, seq) SELECT '{table}_rebuilt', max( \
             (SELECT COALESCE(max(id), 0) FROM {new}), \
             (SELECT COALESCE(max(seq), 0) FROM sqlite_sequence WHERE name = '{table}'))"
        ));
    }
    statements.push(format!(
        "DROP TABLE {old}; ALTER TABLE {new} RENAME TO {old}"
    ));
    let is_added = |part: &str| part.starts_with("index ") || part.starts_with("trigger ");
    let own: Vec<_> = expected.iter().filter(|(part, _)| is_added(part)).collect();
    // A table that was renamed has kept them.
    statements.extend(own.iter().filter_map(|(part, _)| {
        let (kind, name) = part.split_once(' ')?;
        Some(format!("DROP {kind} IF EXISTS {}", sql_name(name)))
    }));
    let of_others = found
        .iter()
        .filter(|(part, _)| is_added(part) && !expected.contains_key(*part));
    statements.extend(
        own.into_iter()
            .chain(of_others)
            .map(|(_, text)| text.clone()),
    );
    let counts = [
        ("tasks", SEARCH, FILE_SEARCH),
        ("notifications", UNREAD, FILE_COUNT),
    ];
    let counts = counts
        .iter()
        .filter(|(of, kept_in, _)| *of == table && drift.found.contains_key(*kept_in));
    statements.extend(counts.map(|(_, _, count)| (*count).to_owned()));
    statements.push("COMMIT".to_owned());
    Some(statements.join("; "))
}

/// The table with its rows in the right form, or what a person has to do.
pub(super) fn created_again(
    drift: &Drift,
    table: &str,
    otherwise: impl FnOnce() -> String,
) -> Step {
    rebuild(drift, table).map_or_else(|| Step::note(otherwise()), Step::Run)
}

/// What a statement that creates a table says of a column, with its constraints.
pub(super) fn column_definition<'a>(statement: &'a str, name: &str) -> Option<&'a str> {
    let body = statement[statement.find('(')? + 1..].trim_end();
    let mut depth = 0_usize;
    let between_columns = |letter: char| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    };
    body.strip_suffix(')')
        .unwrap_or(body)
        .split(between_columns)
        .map(str::trim)
        .find(|column| column.split(' ').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_their_constraints() {
        let statement = "CREATE TABLE t ( id INTEGER PRIMARY KEY, level TEXT NOT NULL DEFAULT 'Low' CHECK (level IN ('Low', 'High')), level_at INTEGER )";
        assert_eq!(
            column_definition(statement, "level"),
            Some("level TEXT NOT NULL DEFAULT 'Low' CHECK (level IN ('Low', 'High'))")
        );
        assert_eq!(
            column_definition(statement, "level_at"),
            Some("level_at INTEGER")
        );
        assert_eq!(column_definition(statement, "high"), None);
    }
}
