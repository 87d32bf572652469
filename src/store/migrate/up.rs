//! Applying migrations.

use sqlx::migrate::Migrator;

use crate::clock::Clock;
use crate::config::DatabaseTarget;

use super::embedded::{Direction, find, migrator, newest, statements, ups};
use super::error::MigrateError;
use super::history::{Migration, State, check_history, compare};
use super::lock::LockWait;
use super::run::{open_locked, run};
use super::status::status;

/// How far `up` goes, and whether a newer database is an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Up {
    /// The last version to apply; all of them without it.
    pub to: Option<i64>,
    /// Whether a database that a newer program migrated is left as it is instead of refused.
    pub allow_newer: bool,
}

/// What `up` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What was applied now, in order.
    pub migrations: Vec<Migration>,
    /// Both versions, if the database is newer than the program and nothing was done.
    pub newer: Option<Newer>,
}

/// A database and an older program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newer {
    /// The newest version in the database.
    pub database: i64,
    /// The newest version in the program.
    pub program: i64,
}

/// A pending migration and what it would run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Planned {
    /// Pending, with its version and description.
    #[serde(flatten)]
    pub migration: Migration,
    /// Its statements, in order, with their comments.
    pub statements: Vec<&'static str>,
}

/// Applies every pending migration, each in a transaction of its own, and returns them.
///
/// Waits while another process migrates. If the database is newer than the program, or an
/// applied migration has changed since, nothing is done.
pub async fn up(target: &DatabaseTarget, clock: &Clock) -> Result<Vec<Migration>, MigrateError> {
    let applied = up_with(target, clock, Up::default(), LockWait::default()).await?;
    Ok(applied.migrations)
}

/// Like [`up`], as far as `up` says, waiting for other processes as `wait` says.
pub async fn up_with(
    target: &DatabaseTarget,
    clock: &Clock,
    up: Up,
    wait: LockWait<'_>,
) -> Result<Applied, MigrateError> {
    let migrations = migrator(target);
    let (mut connection, _lock) = open_locked(target, wait).await?;
    let outcome = async {
        let found = compare(migrations, connection.applied().await?);
        let planned = match plan_up(migrations, found, up) {
            Err(MigrateError::Newer { database, program }) if up.allow_newer => {
                return Ok(Applied {
                    migrations: Vec::new(),
                    newer: Some(Newer { database, program }),
                });
            }
            planned => planned?,
        };
        let mut done = Vec::new();
        for mut one in planned {
            connection.ensure_table().await?;
            let Some(migration) = find(migrations, one.version, Direction::Up) else {
                continue;
            };
            run(&mut connection, migration, Direction::Up, wait).await?;
            one.state = State::Applied;
            one.applied_at = Some(clock.now());
            done.push(one);
        }
        Ok(Applied {
            migrations: done,
            newer: None,
        })
    }
    .await;
    connection.close().await;
    outcome
}

/// What `up` would run. Changes nothing, and takes no lock.
pub async fn dry_up(target: &DatabaseTarget, up: Up) -> Result<Vec<Planned>, MigrateError> {
    let migrations = migrator(target);
    let planned = match plan_up(migrations, status(target).await?, up) {
        Err(MigrateError::Newer { .. }) if up.allow_newer => Vec::new(),
        planned => planned?,
    };
    let with_statements = |migration: Migration| {
        let file = find(migrations, migration.version, Direction::Up)?;
        Some(Planned {
            statements: statements(file.sql.as_str()).collect(),
            migration,
        })
    };
    Ok(planned.into_iter().filter_map(with_statements).collect())
}

/// The pending migrations that `up` reaches, where the history allows it.
fn plan_up(
    migrations: &Migrator,
    found: Vec<Migration>,
    up: Up,
) -> Result<Vec<Migration>, MigrateError> {
    check_history(migrations, &found)?;
    if let Some(version) = up.to
        && !ups(migrations).any(|one| one.version == version)
    {
        let newest = newest(migrations);
        return Err(MigrateError::NoSuchVersion { version, newest });
    }
    let reached = |one: &Migration| {
        one.state == State::Pending && up.to.is_none_or(|version| one.version <= version)
    };
    Ok(found.into_iter().filter(reached).collect())
}
