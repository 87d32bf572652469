//! The migrations inside the program.

use sqlx::migrate::Migrator;

use crate::config::DatabaseTarget;

use super::error::MigrateError;

pub(super) static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
pub(super) static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// Which way a migration runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

pub(super) fn migrator(target: &DatabaseTarget) -> &'static Migrator {
    match target {
        DatabaseTarget::Postgres(_) => &POSTGRES,
        DatabaseTarget::Sqlite(_) => &SQLITE,
    }
}

pub(super) fn ups(migrations: &Migrator) -> impl Iterator<Item = &sqlx::migrate::Migration> {
    migrations
        .iter()
        .filter(|one| one.migration_type.is_up_migration())
}

pub(super) fn newest(migrations: &Migrator) -> i64 {
    ups(migrations).map(|one| one.version).max().unwrap_or(0)
}

pub(super) fn find(
    migrations: &'static Migrator,
    version: i64,
    direction: Direction,
) -> Option<&'static sqlx::migrate::Migration> {
    migrations.iter().find(|one| {
        one.version == version
            && one.migration_type.is_up_migration() == (direction == Direction::Up)
    })
}

/// The migration that reverts `version`.
pub(super) fn reverting(
    migrations: &'static Migrator,
    version: i64,
) -> Result<&'static sqlx::migrate::Migration, MigrateError> {
    find(migrations, version, Direction::Down).ok_or(MigrateError::Irreversible { version })
}

/// The statements of a migration file. They are separated by empty lines, and contain none.
///
/// They are sent one by one, so that the error names the one that failed.
pub(super) fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split("\n\n").map(str::trim).filter(|text| {
        text.lines()
            .any(|line| !line.is_empty() && !line.trim_start().starts_with("--"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_have_the_same_versions_both_ways() {
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
        // Each runs in a transaction here, whatever its file asks for.
        assert!(POSTGRES.iter().chain(SQLITE.iter()).all(|one| !one.no_tx));
    }

    #[test]
    fn files_are_split_into_statements() {
        let sql = "-- About it.\n--\n-- More.\n\n-- One.\nSELECT 1;\n\n\nDO $$\nBEGIN\nEND $$;\n";
        let found: Vec<&str> = statements(sql).collect();
        assert_eq!(found, ["-- One.\nSELECT 1;", "DO $$\nBEGIN\nEND $$;"]);
    }
}
