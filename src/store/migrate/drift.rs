//! The differences between a database's schema and its migrations.
//!
//! What each migration changes on PostgreSQL is part of the program; SQLite's are applied in
//! memory.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::config::DatabaseTarget;

use super::catalog::DEFINITION;
use super::connection::MigrationConnection;
use super::embedded::migrator;
use super::error::MigrateError;
use super::expected::{ALL_APPLIED, Schema, created_by};
use super::history::{Migration, State, compare};
use super::renames::{Renamed, undo_renames};
use super::state::{found_by, history_by, history_of, history_of_files};

/// Tables with this prefix belong to todoctl: one that no migration creates is a difference.
const OWN_TABLES: &str = "table todoctl_";

/// A part of the schema that differs from the migrations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The table, view, type or function, such as `table tasks`.
    pub object: String,
    /// The part of it, such as `column title`; `None` is the whole object.
    pub part: Option<String>,
    /// The definition by the migrations; `None` if they do not create it.
    pub expected: Option<String>,
    /// The definition in the database; `None` if it is not there.
    pub found: Option<String>,
}

/// Indexes that may be there or not.
const OPTIONAL: [(&str, &str); 3] = [
    // Where the server has pg_trgm, the daemon builds it.
    ("table tasks", "index tasks_search_idx"),
    // Scripts of the previous service made them beside its migrations. They do no harm and its
    // own tools expect them.
    ("table notifications", "index idx_notifications_user_id"),
    (
        "table notifications",
        "index idx_notifications_user_is_read",
    ),
];

/// The outcome of [`compare_with_migrations`].
#[derive(Debug)]
pub struct Compared {
    /// All migrations of the program and of the database.
    pub migrations: Vec<Migration>,
    /// `None` if a newer program migrated the database: its migrations are not known here.
    pub differences: Option<Vec<Difference>>,
}

/// A schema, what it should be, and how they differ.
#[derive(Debug)]
pub(crate) struct Drift {
    pub(crate) expected: Schema,
    pub(crate) found: Schema,
    pub(crate) differences: Vec<Difference>,
    /// What has another name, and is compared as if it had its own.
    pub(crate) renamed: Vec<Renamed>,
}

impl Drift {
    fn new(expected: Schema, found: Schema, renamed: Vec<Renamed>) -> Self {
        Self {
            differences: between(&expected, &found),
            expected,
            found,
            renamed,
        }
    }

    /// Of a PostgreSQL schema, after all migrations.
    pub(in crate::store) fn of_server(found: Schema) -> Self {
        let (found, renamed) = undo_renames(&ALL_APPLIED, found);
        Self::new(ALL_APPLIED.clone(), found, renamed)
    }

    /// Of a SQLite file, after all migrations.
    pub(crate) async fn of_file(found: Schema) -> Result<Self, MigrateError> {
        Ok(Self::new(expected_in_file().await?, found, Vec::new()))
    }
}

/// The schema of a SQLite file after all migrations.
pub(crate) async fn expected_in_file() -> Result<Schema, MigrateError> {
    Ok(created_by(history_of_files().await?.values()))
}

/// What each migration changes in an empty database, as `history.json` has it. The migrations are
/// rolled back.
///
/// # Errors
/// If the database is not empty, or cannot be migrated.
pub async fn history_as_json(target: &DatabaseTarget) -> Result<String, MigrateError> {
    let mut connection = MigrationConnection::open(target).await?;
    connection.begin().await?;
    let history = history_by(&mut connection, migrator(target)).await?;
    connection.rollback().await?;
    connection.close().await;
    let text = serde_json::to_string_pretty(&history);
    text.map_err(|error| MigrateError::Query(sqlx::Error::Encode(Box::new(error))))
}

/// Compares a database with its migrations. Changes nothing.
pub async fn compare_with_migrations(target: &DatabaseTarget) -> Result<Compared, MigrateError> {
    let Some(mut connection) = MigrationConnection::open_to_read(target).await? else {
        return Ok(Compared {
            migrations: compare(migrator(target), Vec::new()),
            differences: Some(Vec::new()),
        });
    };
    let read = async {
        let migrations = found_by(&mut connection, target).await?.migrations;
        Ok::<_, MigrateError>((migrations, connection.own_schema().await?))
    };
    let read = read.await;
    connection.close().await;
    let (migrations, found) = read?;
    let is_known = migrations.iter().all(|one| one.state != State::Missing);
    let history = history_of(target).await?;
    let in_schema = migrations
        .iter()
        .filter(|one| !matches!(one.state, State::Pending | State::Dirty))
        .filter_map(|one| history.get(&one.version));
    let differences = is_known.then(|| between(&created_by(in_schema), &found));
    Ok(Compared {
        migrations,
        differences,
    })
}

/// The differences by name. Tables of other services are ignored.
fn between(expected: &Schema, found: &Schema) -> Vec<Difference> {
    let mut differences = Vec::new();
    let objects: BTreeSet<&String> = expected
        .keys()
        .chain(found.keys().filter(|object| object.starts_with(OWN_TABLES)))
        .collect();
    for object in objects {
        let whole = |expected: bool| Difference {
            object: object.clone(),
            part: None,
            expected: expected.then(|| object.clone()),
            found: (!expected).then(|| object.clone()),
        };
        match (expected.get(object), found.get(object)) {
            (Some(_), None) => differences.push(whole(true)),
            (None, Some(_)) => differences.push(whole(false)),
            (Some(expected), Some(found)) => {
                let parts: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
                let mut here: Vec<Difference> = parts
                    .into_iter()
                    .filter(|part| expected.get(*part) != found.get(*part))
                    .filter(|part| !OPTIONAL.contains(&(object.as_str(), part.as_str())))
                    .map(|part| Difference {
                        object: object.clone(),
                        part: Some(part.clone()),
                        expected: expected.get(part).cloned(),
                        found: found.get(part).cloned(),
                    })
                    .collect();
                // The definition differs whenever another part does, and says less clearly how.
                if here.len() > 1 {
                    here.retain(|one| one.part.as_deref() != Some(DEFINITION));
                }
                differences.extend(here);
            }
            (None, None) => {}
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(objects: &[(&str, &[(&str, &str)])]) -> Schema {
        let part = |(name, what): &(&str, &str)| ((*name).to_owned(), (*what).to_owned());
        objects
            .iter()
            .map(|(object, parts)| ((*object).to_owned(), parts.iter().map(part).collect()))
            .collect()
    }

    #[test]
    fn differing_parts_are_listed_and_foreign_tables_are_not() {
        let expected = schema(&[
            ("table tasks", &[("column id", "bigint"), (DEFINITION, "a")]),
            ("table gone", &[]),
        ]);
        let found = schema(&[
            (
                "table tasks",
                &[("column id", "integer"), (DEFINITION, "b")],
            ),
            ("table user", &[("column id", "text")]),
            ("table todoctl_old", &[]),
        ]);
        let told: Vec<String> = between(&expected, &found)
            .into_iter()
            .map(|one| {
                let part = one.part.unwrap_or_default();
                format!("{} {part} {:?} {:?}", one.object, one.expected, one.found)
            })
            .collect();
        assert_eq!(
            told,
            [
                r#"table gone  Some("table gone") None"#,
                r#"table tasks column id Some("bigint") Some("integer")"#,
                r#"table todoctl_old  None Some("table todoctl_old")"#,
            ]
        );
    }

    #[test]
    fn the_definition_is_listed_if_nothing_else_differs() {
        let expected = schema(&[("table tasks", &[(DEFINITION, "CHECK (a > 0)")])]);
        let found = schema(&[("table tasks", &[(DEFINITION, "CHECK (a > 1)")])]);
        assert_eq!(between(&expected, &found).len(), 1);
    }
}
