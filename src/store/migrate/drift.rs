//! What differs between a database's schema and what its migrations make.
//!
//! The expected schema is not written down anywhere: the migrations that the database has run
//! again, on SQLite in memory, on PostgreSQL in a schema of their own within a transaction that
//! is rolled back.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::config::{DatabaseTarget, PostgresTarget};
use crate::store::sql::quoted_name;

use super::catalog::{Schema, TEXT};
use super::connection::MigrationConnection;
use super::embedded::{Direction, find, migrator};
use super::error::MigrateError;
use super::history::{Migration, State, compare};

/// Only todoctl has tables of this prefix: each is compared, expected or not.
const OURS: &str = "table todoctl_";

/// A part of the schema that is not as the migrations create it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it belongs to, such as `table tasks`.
    pub object: String,
    /// Which part, such as `column title`; `None` is the object itself.
    pub part: Option<String>,
    /// What the migrations create; `None` is nothing.
    pub expected: Option<String>,
    /// What the database has; `None` is nothing.
    pub found: Option<String>,
}

/// What a database has, compared with its migrations.
#[derive(Debug)]
pub struct Compared {
    /// How each migration stands.
    pub migrations: Vec<Migration>,
    /// What differs. `None` if a newer program migrated the database: its schema is unknown.
    pub differences: Result<Option<Vec<Difference>>, MigrateError>,
    /// The tables of the database, and its indexes.
    pub existing: Existing,
}

/// Names that new migrations may meet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Existing {
    /// Tables.
    pub tables: BTreeSet<String>,
    /// Indexes.
    pub indexes: BTreeSet<String>,
}

/// The tables that the migrations create on either engine.
const TABLES: [&str; 8] = [
    "tasks",
    "notifications",
    "user_api_keys",
    "todoctl_attempts",
    "todoctl_idempotency_keys",
    "todoctl_outbox",
    "todoctl_sessions",
    "todoctl_unread",
];

/// The tables that are missing although every migration is applied.
pub async fn missing_tables(target: &DatabaseTarget) -> Result<Vec<&'static str>, MigrateError> {
    let Some(mut connection) = MigrationConnection::open_to_read(target).await? else {
        return Ok(Vec::new());
    };
    let schema = connection.schema().await;
    connection.close().await;
    let tables = existing(&schema?).tables;
    Ok(TABLES
        .into_iter()
        .filter(|name| !tables.contains(*name))
        .collect())
}

/// Compares a database with its migrations. Nothing is changed.
pub async fn compare_with_migrations(target: &DatabaseTarget) -> Result<Compared, MigrateError> {
    let Some(mut connection) = MigrationConnection::open_to_read(target).await? else {
        return Ok(Compared {
            migrations: compare(migrator(target), Vec::new()),
            differences: Ok(Some(Vec::new())),
            existing: Existing::default(),
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
    let found = connection.schema().await?;
    let differences = if migrations.iter().any(|one| one.state == State::Missing) {
        Ok(None)
    } else {
        let expected = expected(connection, target, &migrations).await;
        expected.map(|expected| Some(between(&expected, &found)))
    };
    Ok(Compared {
        differences,
        existing: existing(&found),
        migrations,
    })
}

fn existing(schema: &Schema) -> Existing {
    let named = |name: &str, kind: &str| name.strip_prefix(kind).map(str::to_owned);
    Existing {
        tables: schema
            .keys()
            .filter_map(|object| named(object, "table "))
            .collect(),
        indexes: schema
            .values()
            .flat_map(|parts| parts.keys())
            .filter_map(|part| named(part, "index "))
            .collect(),
    }
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
            open_scratch(connection, server).await?;
            for migration in applied {
                connection.rehearse(migration, Direction::Up).await?;
            }
            let schema = connection.schema().await?;
            connection.undo().await?;
            Ok(schema)
        }
        DatabaseTarget::Sqlite(_) => {
            let mut memory = MigrationConnection::in_memory().await?;
            for migration in applied {
                memory.rehearse(migration, Direction::Up).await?;
            }
            let schema = memory.schema().await?;
            memory.close().await;
            Ok(schema)
        }
    }
}

/// Creates an empty schema and makes it the only one in the search path.
async fn open_scratch(
    connection: &mut MigrationConnection,
    server: &PostgresTarget,
) -> Result<(), MigrateError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| sqlx::Error::Io(std::io::Error::other(error.to_string())))?;
    let name = quoted_name(&format!("todoctl_check_{}", hex::encode(random)));
    let made = connection.execute(&format!("CREATE SCHEMA {name}")).await;
    made.map_err(|error| MigrateError::no_scratch(server, error))?;
    // Both settings end with the transaction.
    connection
        .execute(&format!(
            "SET LOCAL search_path = {name}; SET LOCAL statement_timeout = 0"
        ))
        .await?;
    Ok(())
}

/// What differs, in the order of the names. Tables of other programs are ignored.
fn between(expected: &Schema, found: &Schema) -> Vec<Difference> {
    let mut differences = Vec::new();
    let objects: BTreeSet<&String> = expected
        .keys()
        .chain(found.keys().filter(|object| object.starts_with(OURS)))
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
                    .map(|part| Difference {
                        object: object.clone(),
                        part: Some(part.clone()),
                        expected: expected.get(part).cloned(),
                        found: found.get(part).cloned(),
                    })
                    .collect();
                // The whole text differs whenever a part does; the parts say more.
                if here.len() > 1 {
                    here.retain(|one| one.part.as_deref() != Some(TEXT));
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
    use crate::config::SqliteTarget;
    use crate::store::migrate;

    /// The list has exactly the tables that the migrations create.
    #[tokio::test]
    async fn the_tables_are_those_of_the_migrations() {
        let directory = tempfile::tempdir().unwrap();
        let target = DatabaseTarget::Sqlite(SqliteTarget {
            path: directory.path().join("todo.db"),
        });
        migrate::up(&target, &crate::clock::Clock::system())
            .await
            .unwrap();
        let compared = compare_with_migrations(&target).await.unwrap();
        let mut made = compared.existing.tables;
        made.retain(|name| name != "_sqlx_migrations" && !name.starts_with("sqlite_"));
        assert_eq!(made, TABLES.map(str::to_owned).into());
        assert_eq!(missing_tables(&target).await.unwrap(), [""; 0]);
    }

    fn schema(objects: &[(&str, &[(&str, &str)])]) -> Schema {
        let part = |(name, what): &(&str, &str)| ((*name).to_owned(), (*what).to_owned());
        objects
            .iter()
            .map(|(object, parts)| ((*object).to_owned(), parts.iter().map(part).collect()))
            .collect()
    }

    #[test]
    fn parts_that_differ_are_told_and_foreign_tables_are_not() {
        let expected = schema(&[
            ("table tasks", &[("column id", "bigint"), (TEXT, "a")]),
            ("table gone", &[]),
        ]);
        let found = schema(&[
            ("table tasks", &[("column id", "integer"), (TEXT, "b")]),
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
    fn the_text_of_a_table_is_told_where_nothing_else_is() {
        let expected = schema(&[("table tasks", &[(TEXT, "CHECK (a > 0)")])]);
        let found = schema(&[("table tasks", &[(TEXT, "CHECK (a > 1)")])]);
        assert_eq!(between(&expected, &found).len(), 1);
    }
}
