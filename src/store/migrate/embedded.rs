//! The migration files in this program.

use sqlx::migrate::{Migration, Migrator};

use crate::config::DatabaseTarget;

pub(super) static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
pub(super) static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// The migration that takes over what the previous service left.
pub(super) const FIRST: i64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// The files of the target's engine.
pub(super) fn migrator(target: &DatabaseTarget) -> &'static Migrator {
    match target {
        DatabaseTarget::Postgres(_) => &POSTGRES,
        DatabaseTarget::Sqlite(_) => &SQLITE,
    }
}

pub(super) fn ups(migrations: &Migrator) -> impl Iterator<Item = &Migration> {
    migrations
        .iter()
        .filter(|one| one.migration_type.is_up_migration())
}

/// The highest version.
pub(super) fn newest(migrations: &Migrator) -> i64 {
    ups(migrations).map(|one| one.version).max().unwrap_or(0)
}

pub(super) fn find(
    migrations: &'static Migrator,
    version: i64,
    direction: Direction,
) -> Option<&'static Migration> {
    migrations.iter().find(|one| {
        one.version == version
            && one.migration_type.is_up_migration() == (direction == Direction::Up)
    })
}

/// The statements of a file: an empty line separates them, and none contains one.
///
/// They are sent one by one, so that an error can name its statement.
pub(crate) fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split("\n\n").map(str::trim).filter(|text| {
        text.lines()
            .any(|line| !line.is_empty() && !line.trim_start().starts_with("--"))
    })
}

/// The statement of the first migration that refuses the tables of another service. It only reads.
pub(in crate::store) fn take_over_check() -> Option<&'static str> {
    let first = find(&POSTGRES, FIRST, Direction::Up)?;
    statements(first.sql.as_str()).next()
}

/// The newest statement for PostgreSQL that contains `text`, without the comments before it.
pub(crate) fn newest_statement(text: &str) -> Option<&'static str> {
    let found = ups(&POSTGRES)
        .flat_map(|one| statements(one.sql.as_str()))
        .filter(|statement| statement.contains(text));
    let mut statement = found.last()?;
    while let Some((comment, rest)) = statement.split_once('\n')
        && comment.starts_with("--")
    {
        statement = rest;
    }
    Some(statement)
}

/// Whether a migration for PostgreSQL has `name` as a word: the object may be the service's.
pub(crate) fn is_named_by_migrations(name: &str) -> bool {
    let is_part = |one: char| one.is_alphanumeric() || one == '_';
    POSTGRES.iter().any(|one| {
        one.sql
            .as_str()
            .split(|c| !is_part(c))
            .any(|word| word == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_have_the_same_versions_in_both_directions() {
        let versions = |migrations: &Migrator| -> Vec<(i64, String, bool)> {
            migrations
                .iter()
                .map(|one| {
                    let name = one.description.to_string();
                    (one.version, name, one.migration_type.is_up_migration())
                })
                .collect()
        };
        assert_eq!(versions(&POSTGRES), versions(&SQLITE));
        for one in ups(&POSTGRES) {
            assert!(find(&POSTGRES, one.version, Direction::Down).is_some());
        }
        // todoctl runs every migration in a transaction and ignores sqlx's `-- no-transaction`.
        assert!(POSTGRES.iter().chain(SQLITE.iter()).all(|one| !one.no_tx));
    }

    #[test]
    fn files_are_split_into_statements() {
        let sql = "-- About it.\n--\n-- More.\n\n-- One.\nSELECT 1;\n\n\nDO $$\nBEGIN\nEND $$;\n";
        let found: Vec<&str> = statements(sql).collect();
        assert_eq!(found, ["-- One.\nSELECT 1;", "DO $$\nBEGIN\nEND $$;"]);
    }
}
