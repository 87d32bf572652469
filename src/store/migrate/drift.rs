//! The differences between a database's schema and its migrations.
//!
//! The schema that all migrations create on PostgreSQL is part of the program
//! ([`ALL_APPLIED`]). Otherwise the applied migrations are run again: for SQLite in memory,
//! for PostgreSQL in a new schema, in a transaction that is rolled back.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::config::{DatabaseTarget, PostgresTarget};
use crate::store::sql::quoted_name;

use super::catalog::DEFINITION;
use super::connection::MigrationConnection;
use super::embedded::{Direction, SQLITE, find, migrator, ups};
use super::error::MigrateError;
use super::expected::{ALL_APPLIED, Schema};
use super::history::{Migration, State, compare};

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
    pub differences: Result<Option<Vec<Difference>>, MigrateError>,
}

/// A schema, what it should be, and how they differ.
#[derive(Debug)]
pub(crate) struct Drift {
    pub(crate) expected: Schema,
    pub(crate) found: Schema,
    pub(crate) differences: Vec<Difference>,
}

impl Drift {
    fn new(expected: Schema, found: Schema) -> Self {
        Self {
            differences: between(&expected, &found),
            expected,
            found,
        }
    }

    /// Of a PostgreSQL schema, after all migrations.
    pub(in crate::store) fn of_server(found: Schema) -> Self {
        Self::new(ALL_APPLIED.clone(), found)
    }

    /// Of a SQLite file, after all migrations; `None` if the file does not exist.
    pub(crate) async fn of_file(target: &DatabaseTarget) -> Result<Option<Self>, MigrateError> {
        let Some(mut connection) = MigrationConnection::open_to_read(target).await? else {
            return Ok(None);
        };
        let found = connection.schema().await;
        connection.close().await;
        Ok(Some(Self::new(in_memory(ups(&SQLITE)).await?, found?)))
    }
}

/// The schema of a database as `all_applied.json` has it.
///
/// # Errors
/// If the database cannot be read.
pub async fn schema_as_json(target: &DatabaseTarget) -> Result<String, MigrateError> {
    let mut connection = MigrationConnection::open(target).await?;
    let schema = connection.own_schema().await;
    connection.close().await;
    let text = serde_json::to_string_pretty(&schema?);
    text.map_err(|error| MigrateError::Query(sqlx::Error::Encode(Box::new(error))))
}

/// Compares a database with its migrations. Changes nothing.
pub async fn compare_with_migrations(target: &DatabaseTarget) -> Result<Compared, MigrateError> {
    let Some(mut connection) = MigrationConnection::open_to_read(target).await? else {
        return Ok(Compared {
            migrations: compare(migrator(target), Vec::new()),
            differences: Ok(Some(Vec::new())),
        });
    };
    let outcome = compared(&mut connection, target).await;
    connection.close().await;
    outcome
}

async fn compared(
    connection: &mut MigrationConnection,
    target: &DatabaseTarget,
) -> Result<Compared, MigrateError> {
    let migrations = compare(migrator(target), connection.applied().await?);
    let found = connection.own_schema().await?;
    let are_all = |state: State| migrations.iter().all(|one| one.state == state);
    let differences = if migrations.iter().any(|one| one.state == State::Missing) {
        Ok(None)
    } else if connection.is_postgres() && are_all(State::Applied) {
        Ok(Some(between(&ALL_APPLIED, &found)))
    } else {
        let expected = expected(connection, target, &migrations).await;
        expected.map(|expected| Some(between(&expected, &found)))
    };
    Ok(Compared {
        migrations,
        differences,
    })
}

/// The schema that the applied migrations create in an empty database.
async fn expected(
    connection: &mut MigrationConnection,
    target: &DatabaseTarget,
    migrations: &[Migration],
) -> Result<Schema, MigrateError> {
    let applied = migrations
        .iter()
        .filter(|one| matches!(one.state, State::Applied | State::Changed))
        .filter_map(|one| find(migrator(target), one.version, Direction::Up));
    match target {
        DatabaseTarget::Postgres(server) => {
            connection.begin().await?;
            create_scratch_schema(connection, server).await?;
            for migration in applied {
                connection.run_statements(migration, Direction::Up).await?;
            }
            let schema = connection.schema().await?;
            connection.rollback().await?;
            Ok(schema)
        }
        DatabaseTarget::Sqlite(_) => in_memory(applied).await,
    }
}

/// The schema that SQLite's migrations create.
async fn in_memory(
    migrations: impl Iterator<Item = &'static sqlx::migrate::Migration>,
) -> Result<Schema, MigrateError> {
    let mut memory = MigrationConnection::open_in_memory().await?;
    for migration in migrations {
        memory.run_statements(migration, Direction::Up).await?;
    }
    let schema = memory.schema().await?;
    memory.close().await;
    Ok(schema)
}

/// Creates an empty schema and makes it the only one in the search path.
async fn create_scratch_schema(
    connection: &mut MigrationConnection,
    server: &PostgresTarget,
) -> Result<(), MigrateError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| sqlx::Error::Io(std::io::Error::other(error.to_string())))?;
    let name = quoted_name(&format!("todoctl_check_{}", hex::encode(random)));
    connection
        .execute(&format!("CREATE SCHEMA {name}"))
        .await
        .map_err(|error| scratch_schema_error(server, error))?;
    connection
        .execute(&format!(
            "SET LOCAL search_path = {name}; SET LOCAL statement_timeout = 0"
        ))
        .await?;
    Ok(())
}

/// PostgreSQL, appendix A: 42501 `insufficient_privilege`, 25006 `read_only_sql_transaction`.
fn scratch_schema_error(server: &PostgresTarget, error: sqlx::Error) -> MigrateError {
    let is_refused = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| matches!(code.as_ref(), "42501" | "25006"));
    if !is_refused {
        return MigrateError::Query(error);
    }
    let (database, role) = (quoted_name(&server.database), quoted_name(&server.user));
    MigrateError::NoScratchSchema {
        grant: format!("GRANT CREATE ON DATABASE {database} TO {role}"),
        source: error,
    }
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
