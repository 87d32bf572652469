//! The embedded migrations: where a database stands, and how it is moved.
//!
//! sqlx's migration files and its table `_sqlx_migrations` are used, so that
//! `sqlx migrate` and todoctl agree about a database. They are applied here
//! rather than by sqlx's `Migrator`, which takes a lock that blocks, returns
//! before it unlocks when something fails, and cannot tell which statement that
//! was. Migrating runs on a connection of its own, never through a pooler, and
//! under a lock (`lock`) that any number of starting replicas share.
//!
//! [`drift`] compares a schema with what its migrations make, [`lint`] reads
//! new migrations for what would hurt, [`preview`] tells what a way down drops,
//! [`repair`] mends the notes, and [`files`] looks after the files of a checkout.

use std::time::Duration;

use sqlx::migrate::Migrator;

use crate::clock::Clock;
use crate::config::DatabaseTarget;

use super::{Engine, Store, StoreError, reading};

mod catalog;
mod connection;
pub mod drift;
mod error;
pub mod files;
mod history;
pub mod lint;
mod lock;
mod pooler;
pub mod preview;
pub mod repair;

use connection::MigrationConnection;
pub use error::{FailedStatement, MigrateError};
pub use history::{Down, Migration, State, plan_down};
use history::{check_history, compare};
pub use lock::Patience;

static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// How often a migration is tried that other sessions' locks keep waiting.
const LOCK_TRIES: u32 = 5;

/// For the queue behind a table's lock to drain before the next try.
const LOCK_PAUSE: Duration = Duration::from_secs(2);

/// How far `up` goes, and when it does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Up {
    /// The last version to apply; all of them without it.
    pub to: Option<i64>,
    /// Whether a database that a newer program migrated is left as it is, rather than refused.
    pub allow_newer: bool,
}

/// What `up` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What was applied now, in order.
    pub migrations: Vec<Migration>,
    /// Both versions, where the database is newer than the program and nothing was done.
    pub newer: Option<Newer>,
}

/// A database and an older program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newer {
    /// The database's newest version.
    pub database: i64,
    /// The program's newest version.
    pub program: i64,
}

/// A pending migration and what it would run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Planned {
    /// Which one.
    #[serde(flatten)]
    pub migration: Migration,
    /// Its statements, in order, with their comments.
    pub statements: Vec<&'static str>,
}

/// Compares the database's migrations with the program's, in their order.
///
/// Changes nothing: no table is made, and a missing SQLite file stays missing.
pub async fn status(target: &DatabaseTarget) -> Result<Vec<Migration>, MigrateError> {
    let mut rows = Vec::new();
    if let Some(mut connection) = MigrationConnection::open_to_read(target).await? {
        let read = connection.applied().await;
        connection.close().await;
        rows = read?;
    }
    Ok(compare(migrator(target), rows))
}

/// Applies every pending migration, each in a transaction of its own, and returns them.
///
/// Waits while another process migrates. Where the database is newer than the
/// program, or what was applied has changed, nothing is done.
pub async fn up(target: &DatabaseTarget, clock: &Clock) -> Result<Vec<Migration>, MigrateError> {
    let applied = up_with(target, clock, Up::default(), Patience::default()).await?;
    Ok(applied.migrations)
}

/// Like [`up`], as far as `up` says, and as long as `patience` lasts.
pub async fn up_with(
    target: &DatabaseTarget,
    clock: &Clock,
    up: Up,
    patience: Patience<'_>,
) -> Result<Applied, MigrateError> {
    let migrations = migrator(target);
    let (mut connection, _lock) = begin(target, patience).await?;
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
            patiently(&mut connection, migration, Direction::Up, patience).await?;
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

/// Reverts migrations, newest first, each in a transaction of its own, and returns them.
pub async fn down(target: &DatabaseTarget, down: Down) -> Result<Vec<Migration>, MigrateError> {
    down_with(target, down, Patience::default()).await
}

/// Like [`down`], as long as `patience` lasts.
pub async fn down_with(
    target: &DatabaseTarget,
    down: Down,
    patience: Patience<'_>,
) -> Result<Vec<Migration>, MigrateError> {
    let migrations = migrator(target);
    let (mut connection, _lock) = begin(target, patience).await?;
    let outcome = async {
        // Again under the lock: what the caller saw may be gone by now.
        let found = compare(migrations, connection.applied().await?);
        let planned = plan_down(&found, down)?;
        for one in &planned {
            let migration = reverting(migrations, one.version)?;
            patiently(&mut connection, migration, Direction::Down, patience).await?;
        }
        Ok(planned)
    }
    .await;
    connection.close().await;
    outcome
}

impl Store {
    /// Whether the database lacks a migration that this program has.
    ///
    /// A database that is newer lacks nothing: a daemon that runs already stays ready.
    pub async fn migrations_pending(&self) -> Result<bool, StoreError> {
        let migrations = match &self.engine {
            Engine::Postgres(_) => &POSTGRES,
            Engine::Sqlite(_) => &SQLITE,
        };
        let applied: Result<Vec<i64>, StoreError> = reading!(self, |connection| {
            sqlx::query_scalar::<_, i64>(connection::APPLIED_VERSIONS)
                .persistent(connection.persistent())
                .fetch_all(&mut *connection)
                .await
        } => |versions| Ok(versions));
        match applied {
            Ok(applied) => Ok(ups(migrations).any(|one| !applied.contains(&one.version))),
            Err(error) if error.wants_migration() => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Which way a migration is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

fn migrator(target: &DatabaseTarget) -> &'static Migrator {
    match target {
        DatabaseTarget::Postgres(_) => &POSTGRES,
        DatabaseTarget::Sqlite(_) => &SQLITE,
    }
}

fn ups(migrations: &Migrator) -> impl Iterator<Item = &sqlx::migrate::Migration> {
    migrations
        .iter()
        .filter(|one| one.migration_type.is_up_migration())
}

fn newest(migrations: &Migrator) -> i64 {
    ups(migrations).map(|one| one.version).max().unwrap_or(0)
}

fn find(
    migrations: &'static Migrator,
    version: i64,
    direction: Direction,
) -> Option<&'static sqlx::migrate::Migration> {
    migrations.iter().find(|one| {
        one.version == version
            && one.migration_type.is_up_migration() == (direction == Direction::Up)
    })
}

fn reverting(
    migrations: &'static Migrator,
    version: i64,
) -> Result<&'static sqlx::migrate::Migration, MigrateError> {
    find(migrations, version, Direction::Down).ok_or(MigrateError::Irreversible { version })
}

/// The statements of a migration file: they are separated by an empty line, and hold none.
///
/// One by one they are sent, so that the one that fails can be named.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split("\n\n").map(str::trim).filter(|text| {
        text.lines()
            .any(|line| !line.is_empty() && !line.trim_start().starts_with("--"))
    })
}

/// A connection that holds the lock for as long as both values live.
async fn begin(
    target: &DatabaseTarget,
    patience: Patience<'_>,
) -> Result<(MigrationConnection, Option<lock::FileLock>), MigrateError> {
    match target {
        DatabaseTarget::Postgres(server) => {
            pooler::refuse(server).await?;
            let mut connection = MigrationConnection::open(target).await?;
            if let Err(error) = connection.take_lock(patience).await {
                connection.close().await;
                return Err(error);
            }
            Ok((connection, None))
        }
        DatabaseTarget::Sqlite(file) => {
            let lock = lock::FileLock::take(file, patience).await?;
            Ok((MigrationConnection::open(target).await?, Some(lock)))
        }
    }
}

/// Runs a migration, again where other sessions held a table for too long: it
/// gives way each time, so that nobody queues behind it.
async fn patiently(
    connection: &mut MigrationConnection,
    migration: &sqlx::migrate::Migration,
    direction: Direction,
    patience: Patience<'_>,
) -> Result<(), MigrateError> {
    let mut tries = 1;
    loop {
        match connection.run(migration, direction).await {
            Err(error) if error.is_lock_timeout() && tries < LOCK_TRIES => {
                patience.tell(&format!(
                    "another session holds a table that migration {} wants; try {} of {LOCK_TRIES} follows",
                    migration.version,
                    tries + 1
                ));
                tokio::time::sleep(LOCK_PAUSE).await;
                tries += 1;
            }
            outcome => return outcome,
        }
    }
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
    fn files_fall_into_statements() {
        let sql = "-- About it.\n--\n-- More.\n\n-- One.\nSELECT 1;\n\n\nDO $$\nBEGIN\nEND $$;\n";
        let found: Vec<&str> = statements(sql).collect();
        assert_eq!(found, ["-- One.\nSELECT 1;", "DO $$\nBEGIN\nEND $$;"]);
    }
}
