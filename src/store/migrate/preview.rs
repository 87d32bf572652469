//! What `migrate down` would drop.

use serde::Serialize;

use crate::config::{DatabaseTarget, sql_name};

use super::connection::MigrationConnection;
use super::embedded::{Direction, migrator};
use super::error::MigrateError;
use super::expected::Schema;
use super::history::{Down, Migration, compare, down_file, plan_down};
use super::lock::LockWait;

/// A table, a part of one, or another object that would be dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Kind and name, such as `table tasks` or `index tasks_user_newest_idx`.
    pub what: String,
    /// The table of an index, column or trigger.
    pub of: Option<String>,
    /// Rows of a table, or rows with a value in a column.
    pub rows: Option<i64>,
}

/// What `migrate down` would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The migrations, newest first.
    pub migrations: Vec<Migration>,
    /// Tables first.
    pub dropped: Vec<Dropped>,
}

/// Reverts migrations in a transaction that is rolled back, and compares the schema before
/// and after. Fails where the migrations could not be reverted.
///
/// Locks the affected tables for a moment.
pub async fn down(
    target: &DatabaseTarget,
    down: Down,
    wait: LockWait<'_>,
) -> Result<Preview, MigrateError> {
    let (mut connection, _lock) = MigrationConnection::open_locked(target, wait).await?;
    let outcome = preview(&mut connection, target, down).await;
    connection.close().await;
    outcome
}

async fn preview(
    connection: &mut MigrationConnection,
    target: &DatabaseTarget,
    down: Down,
) -> Result<Preview, MigrateError> {
    let found = compare(migrator(target), connection.applied().await?);
    let migrations = plan_down(&found, down)?;
    connection.begin().await?;
    let before = connection.schema().await?;
    connection.execute("SAVEPOINT before_down").await?;
    for one in &migrations {
        let migration = down_file(migrator(target), one.version)?;
        connection
            .run_statements(migration, Direction::Down)
            .await?;
    }
    let after = connection.schema().await?;
    connection.execute("ROLLBACK TO before_down").await?;
    let mut dropped = missing(&before, &after);
    for one in &mut dropped {
        if let Some(query) = count_query(one) {
            one.rows = Some(connection.fetch_number(&query).await?);
        }
    }
    connection.rollback().await?;
    Ok(Preview {
        migrations,
        dropped,
    })
}

/// What is in `before` and not in `after`, without the parts of dropped tables.
fn missing(before: &Schema, after: &Schema) -> Vec<Dropped> {
    let mut whole = Vec::new();
    let mut parts = Vec::new();
    for (object, had) in before {
        let Some(has) = after.get(object) else {
            whole.push(Dropped {
                what: object.clone(),
                of: None,
                rows: None,
            });
            continue;
        };
        let lost = had.keys().filter(|part| !has.contains_key(*part));
        parts.extend(lost.map(|part| Dropped {
            what: part.clone(),
            of: object.strip_prefix("table ").map(str::to_owned),
            rows: None,
        }));
    }
    whole.sort_by_key(|one| !one.what.starts_with("table "));
    whole.append(&mut parts);
    whole
}

fn count_query(dropped: &Dropped) -> Option<String> {
    if let Some(table) = dropped.what.strip_prefix("table ") {
        return Some(format!("SELECT count(*) FROM {}", sql_name(table)));
    }
    let column = sql_name(dropped.what.strip_prefix("column ")?);
    let table = sql_name(dropped.of.as_deref()?);
    Some(format!("SELECT count({column}) FROM {table}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_dropped_tables_are_not_listed() {
        let parts = |names: &[&str]| {
            let part = |name: &&str| ((*name).to_owned(), String::new());
            names.iter().map(part).collect()
        };
        let before = Schema::from([
            ("table a".to_owned(), parts(&["column x", "index i"])),
            ("table b".to_owned(), parts(&["column y", "column z"])),
        ]);
        let after = Schema::from([("table b".to_owned(), parts(&["column z"]))]);
        let dropped = missing(&before, &after);
        let names: Vec<&str> = dropped.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(names, ["table a", "column y"]);
        assert_eq!(
            count_query(&dropped[1]).as_deref(),
            Some(r#"SELECT count("y") FROM "b""#)
        );
    }
}
