//! What `down` would drop, found out by reverting in a transaction that is rolled back.

use serde::Serialize;

use crate::config::DatabaseTarget;
use crate::store::arg::args;
use crate::store::sql::{Sql, quoted_name};

use super::catalog::Schema;
use super::connection::MigrationConnection;
use super::embedded::{Direction, migrator, reverting};
use super::error::MigrateError;
use super::history::{Down, Migration, compare, plan_down};
use super::lock::LockWait;
use super::run::open_locked;

/// Something that would be dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Its kind and name, such as `table tasks` or `index tasks_user_newest_idx`.
    pub what: String,
    /// The table that it belongs to, unless it is a table itself.
    pub of: Option<String>,
    /// The rows of a table, or the rows that have a value in a column.
    pub rows: Option<i64>,
}

/// What `down` would revert and drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// What would be reverted, newest first.
    pub migrations: Vec<Migration>,
    /// What would be dropped, tables first.
    pub dropped: Vec<Dropped>,
}

/// Reverts migrations in a transaction that is rolled back, and compares the
/// schema before and after.
///
/// This is exact, where reading the files would be a guess, and it finds out what would make
/// `down` fail. The tables are locked meanwhile.
pub async fn down(
    target: &DatabaseTarget,
    down: Down,
    wait: LockWait<'_>,
) -> Result<Preview, MigrateError> {
    let (mut connection, _lock) = open_locked(target, wait).await?;
    let outcome = rehearsed(&mut connection, target, down).await;
    connection.close().await;
    outcome
}

async fn rehearsed(
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
        let migration = reverting(migrator(target), one.version)?;
        connection.rehearse(migration, Direction::Down).await?;
    }
    let after = connection.schema().await?;
    connection.execute("ROLLBACK TO before_down").await?;
    let mut dropped = gone(&before, &after);
    for one in &mut dropped {
        if let Some(query) = count(one) {
            let counted = connection
                .query(&Sql::Built(query.into()), &args![])
                .await?;
            one.rows = Some(counted.value("rows")?);
        }
    }
    connection.undo().await?;
    Ok(Preview {
        migrations,
        dropped,
    })
}

/// What is in `before` and not in `after`; the parts of a dropped table go with it.
fn gone(before: &Schema, after: &Schema) -> Vec<Dropped> {
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

fn count(dropped: &Dropped) -> Option<String> {
    if let Some(table) = dropped.what.strip_prefix("table ") {
        return Some(format!(
            "SELECT count(*) AS rows FROM {}",
            quoted_name(table)
        ));
    }
    let column = quoted_name(dropped.what.strip_prefix("column ")?);
    let table = quoted_name(dropped.of.as_deref()?);
    Some(format!("SELECT count({column}) AS rows FROM {table}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_dropped_table_go_with_it() {
        let parts = |names: &[&str]| {
            let part = |name: &&str| ((*name).to_owned(), String::new());
            names.iter().map(part).collect()
        };
        let before = Schema::from([
            ("table a".to_owned(), parts(&["column x", "index i"])),
            ("table b".to_owned(), parts(&["column y", "column z"])),
        ]);
        let after = Schema::from([("table b".to_owned(), parts(&["column z"]))]);
        let gone = gone(&before, &after);
        let names: Vec<&str> = gone.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(names, ["table a", "column y"]);
        assert_eq!(
            count(&gone[1]).as_deref(),
            Some(r#"SELECT count("y") AS rows FROM "b""#)
        );
    }
}
