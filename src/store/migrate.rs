//! The embedded migrations: where a database stands, and how it is moved.
//!
//! sqlx's migration files and its table `_sqlx_migrations` are used, so that
//! `sqlx migrate` and todoctl agree about a database. They are applied here
//! rather than by sqlx's `Migrator`, which takes a lock that blocks, returns
//! before it unlocks when something fails, and cannot tell which statement that
//! was. Migrating runs on a connection of its own, never through a pooler, and
//! under a lock (`lock`) that any number of starting replicas share.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::migrate::Migrator;

use crate::clock::Clock;
use crate::config::DatabaseTarget;
use crate::domain::Timestamp;

use super::{Engine, Store, StoreError, reading};

mod connection;
mod error;
mod lock;

use connection::MigrationConnection;
pub use error::MigrateError;

static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// How often a migration is tried that other sessions' locks keep waiting.
const LOCK_TRIES: u32 = 5;

/// For the queue behind a table's lock to drain before the next try.
const LOCK_PAUSE: Duration = Duration::from_secs(2);

/// How one migration and one database go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In the database, as this program has it.
    Applied,
    /// Not in the database yet.
    Pending,
    /// In the database, and not in this program: a newer one applied it.
    Missing,
    /// In the database, but its file has changed since.
    Changed,
    /// Begun by another tool, and not finished.
    Dirty,
}

/// One migration of the program, of the database, or of both.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub description: String,
    /// How it stands.
    pub state: State,
    /// When it was applied, if it was.
    pub applied_at: Option<Timestamp>,
}

/// How far `down` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// So many migrations.
    Steps(usize),
    /// Until this one is the newest; 0 is an empty database.
    To(i64),
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
    let migrations = migrator(target);
    let (mut connection, _lock) = begin(target).await?;
    let outcome = async {
        let found = compare(migrations, connection.applied().await?);
        check_history(migrations, &found)?;
        let mut done = Vec::new();
        for mut one in found {
            if one.state != State::Pending {
                continue;
            }
            connection.ensure_table().await?;
            let Some(migration) = find(migrations, one.version, Direction::Up) else {
                continue;
            };
            patiently(&mut connection, migration, Direction::Up).await?;
            one.state = State::Applied;
            one.applied_at = Some(clock.now());
            done.push(one);
        }
        Ok(done)
    }
    .await;
    connection.close().await;
    outcome
}

/// The migrations that `down` would revert, newest first.
///
/// Fails where one of them is not this program's to revert.
pub fn plan_down(found: &[Migration], down: Down) -> Result<Vec<Migration>, MigrateError> {
    let mut applied: Vec<&Migration> = found
        .iter()
        .filter(|one| one.state != State::Pending)
        .collect();
    applied.sort_by_key(|one| std::cmp::Reverse(one.version));
    let planned: Vec<Migration> = match down {
        Down::Steps(steps) => applied.into_iter().take(steps).cloned().collect(),
        Down::To(version) => applied
            .into_iter()
            .take_while(|one| one.version > version)
            .cloned()
            .collect(),
    };
    match planned.iter().find(|one| one.state == State::Missing) {
        Some(unknown) => Err(MigrateError::NotOurs {
            version: unknown.version,
        }),
        None => Ok(planned),
    }
}

/// Reverts migrations, newest first, each in a transaction of its own, and returns them.
pub async fn down(target: &DatabaseTarget, down: Down) -> Result<Vec<Migration>, MigrateError> {
    let migrations = migrator(target);
    let (mut connection, _lock) = begin(target).await?;
    let outcome = async {
        // Again under the lock: what the caller saw may be gone by now.
        let found = compare(migrations, connection.applied().await?);
        let planned = plan_down(&found, down)?;
        for one in &planned {
            let migration = find(migrations, one.version, Direction::Down).ok_or(
                MigrateError::Irreversible {
                    version: one.version,
                },
            )?;
            patiently(&mut connection, migration, Direction::Down).await?;
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

/// A connection that holds the lock for as long as both values live.
async fn begin(
    target: &DatabaseTarget,
) -> Result<(MigrationConnection, Option<lock::FileLock>), MigrateError> {
    match target {
        DatabaseTarget::Postgres(server) => {
            if server.pooled {
                return Err(MigrateError::ThroughPooler {
                    place: server.place(),
                });
            }
            let mut connection = MigrationConnection::open(target).await?;
            if let Err(error) = connection.take_lock().await {
                connection.close().await;
                return Err(error);
            }
            Ok((connection, None))
        }
        DatabaseTarget::Sqlite(file) => {
            let lock = lock::FileLock::take(file).await?;
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
) -> Result<(), MigrateError> {
    let mut tries = 1;
    loop {
        match connection.run(migration, direction).await {
            Err(error) if error.is_lock_timeout() && tries < LOCK_TRIES => {
                tracing::warn!(
                    version = migration.version,
                    tries,
                    "another session holds a table that the migration wants; trying again"
                );
                tokio::time::sleep(LOCK_PAUSE).await;
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// A row of `_sqlx_migrations`.
struct Applied {
    version: i64,
    description: String,
    installed_on: Timestamp,
    success: bool,
    checksum: Vec<u8>,
}

fn compare(migrations: &Migrator, rows: Vec<Applied>) -> Vec<Migration> {
    let mut all: BTreeMap<i64, Migration> = ups(migrations)
        .map(|one| {
            let pending = Migration {
                version: one.version,
                description: one.description.to_string(),
                state: State::Pending,
                applied_at: None,
            };
            (one.version, pending)
        })
        .collect();
    for row in rows {
        let ours = ups(migrations).find(|one| one.version == row.version);
        let state = match ours {
            _ if !row.success => State::Dirty,
            None => State::Missing,
            Some(ours) if *ours.checksum != *row.checksum => State::Changed,
            Some(_) => State::Applied,
        };
        all.insert(
            row.version,
            Migration {
                version: row.version,
                description: row.description,
                state,
                applied_at: Some(row.installed_on),
            },
        );
    }
    all.into_values().collect()
}

/// Whether the program may go on where the database stands.
fn check_history(migrations: &Migrator, found: &[Migration]) -> Result<(), MigrateError> {
    for one in found {
        let version = one.version;
        match one.state {
            State::Applied | State::Pending => {}
            State::Dirty => return Err(MigrateError::Dirty { version }),
            State::Changed => {
                return Err(MigrateError::Changed {
                    version,
                    description: one.description.clone(),
                });
            }
            State::Missing => {
                let newest = |all: &mut dyn Iterator<Item = i64>| all.max().unwrap_or(0);
                return Err(MigrateError::Newer {
                    database: newest(&mut found.iter().map(|one| one.version)),
                    program: newest(&mut ups(migrations).map(|one| one.version)),
                });
            }
        }
    }
    Ok(())
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

    fn found(states: &[State]) -> Vec<Migration> {
        (1..)
            .zip(states)
            .map(|(version, &state)| Migration {
                version,
                description: String::new(),
                state,
                applied_at: None,
            })
            .collect()
    }

    fn planned(states: &[State], down: Down) -> Option<Vec<i64>> {
        let plan = plan_down(&found(states), down).ok()?;
        Some(plan.iter().map(|one| one.version).collect())
    }

    #[test]
    fn what_down_reverts() {
        use State::{Applied, Changed, Missing, Pending};
        let all = [Applied, Changed, Applied, Pending];
        assert_eq!(planned(&all, Down::Steps(1)), Some(vec![3]));
        assert_eq!(planned(&all, Down::Steps(9)), Some(vec![3, 2, 1]));
        assert_eq!(planned(&all, Down::To(2)), Some(vec![3]));
        assert_eq!(planned(&all, Down::To(0)), Some(vec![3, 2, 1]));
        assert_eq!(planned(&[Pending], Down::Steps(1)), Some(vec![]));
        assert_eq!(planned(&[Applied, Missing], Down::Steps(1)), None);
    }

    #[test]
    fn a_history_that_does_not_fit_stops() {
        use State::{Applied, Changed, Dirty, Missing, Pending};
        let checked = |states: &[State]| check_history(&POSTGRES, &found(states));
        assert!(checked(&[Applied, Pending]).is_ok());
        assert!(matches!(
            checked(&[Applied, Dirty]),
            Err(MigrateError::Dirty { version: 2 })
        ));
        assert!(matches!(
            checked(&[Changed]),
            Err(MigrateError::Changed { version: 1, .. })
        ));
        let Err(MigrateError::Newer { database, .. }) = checked(&[Applied, Applied, Missing])
        else {
            panic!("a newer database is refused");
        };
        assert_eq!(database, 3);
    }
}
