//! Up and down.

use std::time::Duration;

use backon::{ConstantBuilder, RetryableWithContext as _};
use sqlx::migrate::Migrator;

use crate::clock::Clock;
use crate::config::DatabaseTarget;

use super::connection::MigrationConnection;
use super::embedded::{Direction, FIRST, find, migrator, newest, statements, ups};
use super::error::MigrateError;
use super::history::{Down, Migration, State, check_history, compare, down_file, plan_down};
use super::lock::LockWait;
use super::state::{Found, found_by, found_in};

/// How often a migration is retried that waits too long for a table's lock.
const LOCK_RETRIES: usize = 4;

/// Time for the sessions that queue for the table, before the next try.
const LOCK_PAUSE: Duration = Duration::from_secs(2);

/// Options of [`up_with`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Up {
    /// The last version to apply; `None` applies all.
    pub to: Option<i64>,
    /// Do nothing, instead of failing, if a newer program migrated the database.
    pub allow_newer: bool,
}

/// What [`up_with`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The migrations applied by this call, in order.
    pub migrations: Vec<Migration>,
    /// Both versions, if the database is newer than the program and nothing was done.
    pub newer: Option<Newer>,
}

/// A database that a newer program migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newer {
    /// The database's newest version.
    pub database: i64,
    /// The program's newest version.
    pub program: i64,
}

/// A pending migration and its statements.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Planned {
    /// In state `pending`.
    #[serde(flatten)]
    pub migration: Migration,
    /// In order, with their comments.
    pub statements: Vec<&'static str>,
}

/// The migrations of the program and of the database, by version.
///
/// Changes nothing: creates no table and no SQLite file.
pub async fn status(target: &DatabaseTarget) -> Result<Vec<Migration>, MigrateError> {
    Ok(found_in(target).await?.migrations)
}

/// Applies all pending migrations, each in its own transaction, and returns them.
///
/// Waits while another process migrates. Does nothing if the database is newer than
/// the program, or if an applied migration was changed.
pub async fn up(target: &DatabaseTarget, clock: &Clock) -> Result<Vec<Migration>, MigrateError> {
    let applied = up_with(target, clock, Up::default(), LockWait::default()).await?;
    Ok(applied.migrations)
}

/// Like [`up`], with options.
pub async fn up_with(
    target: &DatabaseTarget,
    clock: &Clock,
    up: Up,
    wait: LockWait<'_>,
) -> Result<Applied, MigrateError> {
    let (mut connection, lock) = MigrationConnection::open_locked(target, wait).await?;
    let applied = apply(&mut connection, target, clock, up, wait).await;
    connection.close().await;
    if let Some(lock) = &lock
        && applied.is_ok()
        && let Err(error) = lock.mark_migrated()
    {
        tracing::debug!(%error, "the lock file could not be written");
    }
    match applied {
        Ok(migrations) => Ok(Applied {
            migrations,
            newer: None,
        }),
        Err(
            MigrateError::Newer { database, program }
            | MigrateError::OtherRecords {
                database, program, ..
            },
        ) if up.allow_newer => Ok(Applied {
            migrations: Vec::new(),
            newer: Some(Newer { database, program }),
        }),
        Err(error) => Err(error),
    }
}

async fn apply(
    connection: &mut MigrationConnection,
    target: &DatabaseTarget,
    clock: &Clock,
    up: Up,
    wait: LockWait<'_>,
) -> Result<Vec<Migration>, MigrateError> {
    let migrations = migrator(target);
    let found = found_by(connection, target).await?;
    let tables = found.check_tables();
    let planned = plan_up(migrations, found, up)?;
    if planned.first().is_some_and(|one| one.version == FIRST) {
        tables?;
    }
    let mut applied = Vec::new();
    for mut one in planned {
        connection.ensure_table().await?;
        let Some(file) = find(migrations, one.version, Direction::Up) else {
            continue;
        };
        run(connection, file, Direction::Up, wait).await?;
        one.state = State::Applied;
        one.applied_at = Some(clock.now());
        applied.push(one);
    }
    Ok(applied)
}

/// What `up` would run. Changes nothing and takes no lock.
pub async fn dry_up(target: &DatabaseTarget, up: Up) -> Result<Vec<Planned>, MigrateError> {
    let migrations = migrator(target);
    let planned = match plan_up(migrations, found_in(target).await?, up) {
        Err(MigrateError::Newer { .. } | MigrateError::OtherRecords { .. }) if up.allow_newer => {
            Vec::new()
        }
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

/// The pending migrations up to `up.to`.
fn plan_up(migrations: &Migrator, found: Found, up: Up) -> Result<Vec<Migration>, MigrateError> {
    found.check_record()?;
    check_history(migrations, &found.migrations)?;
    found.check_parts()?;
    found.check_records()?;
    if let Some(version) = up.to
        && !ups(migrations).any(|one| one.version == version)
    {
        let newest = newest(migrations);
        return Err(MigrateError::NoSuchVersion { version, newest });
    }
    let is_planned = |one: &Migration| {
        one.state == State::Pending && up.to.is_none_or(|version| one.version <= version)
    };
    if found.migrations.iter().any(is_planned) {
        found.check_schema()?;
        found.check_names()?;
    }
    Ok(found.migrations.into_iter().filter(is_planned).collect())
}

/// Reverts migrations, newest first, each in its own transaction, and returns them.
pub async fn down(target: &DatabaseTarget, down: Down) -> Result<Vec<Migration>, MigrateError> {
    down_with(target, down, LockWait::default()).await
}

/// Like [`down`], with another [`LockWait`].
pub async fn down_with(
    target: &DatabaseTarget,
    down: Down,
    wait: LockWait<'_>,
) -> Result<Vec<Migration>, MigrateError> {
    let (mut connection, _lock) = MigrationConnection::open_locked(target, wait).await?;
    let reverted = revert(&mut connection, migrator(target), down, wait).await;
    connection.close().await;
    reverted
}

async fn revert(
    connection: &mut MigrationConnection,
    migrations: &'static Migrator,
    down: Down,
    wait: LockWait<'_>,
) -> Result<Vec<Migration>, MigrateError> {
    // Planned under the lock: another process may have migrated since the caller looked.
    let planned = plan_down(&compare(migrations, connection.applied().await?), down)?;
    for one in &planned {
        let file = down_file(migrations, one.version)?;
        run(connection, file, Direction::Down, wait).await?;
    }
    Ok(planned)
}

/// Runs a migration. One that waits too long for a table's lock is rolled back and retried
/// after a pause, so that other sessions do not queue behind it all the time.
async fn run(
    connection: &mut MigrationConnection,
    migration: &sqlx::migrate::Migration,
    direction: Direction,
    wait: LockWait<'_>,
) -> Result<(), MigrateError> {
    let attempt = |connection| run_once(connection, migration, direction);
    let retries = ConstantBuilder::new()
        .with_delay(LOCK_PAUSE)
        .with_max_times(LOCK_RETRIES);
    let (_, outcome) = attempt
        .retry(retries)
        .context(connection)
        .when(|error| matches!(error, MigrateError::TableLocked { .. }))
        .notify(|error, pause| {
            wait.report(&format!("{error}; retrying in {} s", pause.as_secs()));
        })
        .await;
    outcome
}

async fn run_once<'a>(
    connection: &'a mut MigrationConnection,
    migration: &sqlx::migrate::Migration,
    direction: Direction,
) -> (&'a mut MigrationConnection, Result<(), MigrateError>) {
    let mut outcome = connection.run(migration, direction).await;
    if let Err(MigrateError::Statement(failed)) = &outcome
        && failed.is_lock_timeout()
        && let Some(holder) = connection.table_lock_holder(&failed.statement).await
    {
        outcome = Err(MigrateError::TableLocked {
            version: migration.version,
            holder,
        });
    }
    (connection, outcome)
}
