//! What a way down would drop, found out by going it and coming back.

use serde::Serialize;

use crate::config::DatabaseTarget;

use super::catalog::{Schema, quoted};
use super::connection::MigrationConnection;
use super::{Direction, Down, MigrateError, Migration, Patience};
use super::{begin, compare, migrator, plan_down, reverting};

/// What would be gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// What kind of thing and its name, such as `table tasks` or `index tasks_user_newest_idx`.
    pub what: String,
    /// The table that it belongs to, unless it is one.
    pub of: Option<String>,
    /// Rows of a table, or rows that have a value in a column.
    pub rows: Option<i64>,
}

/// A way down and what is lost on it.
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
/// That is the truth where a reading of the files would be a guess, and it finds
/// out what would stop it. The tables in question are locked for that moment.
pub async fn down(
    target: &DatabaseTarget,
    down: Down,
    patience: Patience<'_>,
) -> Result<Preview, MigrateError> {
    let (mut connection, _lock) = begin(target, patience).await?;
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
            one.rows = Some(connection.number(&query).await?);
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
        return Some(format!("SELECT count(*) FROM {}", quoted(table)));
    }
    let column = quoted(dropped.what.strip_prefix("column ")?);
    let table = quoted(dropped.of.as_deref()?);
    Some(format!("SELECT count({column}) FROM {table}"))
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
            Some(r#"SELECT count("y") FROM "b""#)
        );
    }
}
