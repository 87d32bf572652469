//! Running a migration under the lock.

use std::time::Duration;

use crate::config::DatabaseTarget;

use super::connection::MigrationConnection;
use super::embedded::Direction;
use super::error::MigrateError;
use super::lock::{FileLock, LockWait};
use super::pooler;

/// How many times a migration is tried while locks of other sessions block it.
const TRIES: u32 = 5;

/// The pause before the next try, in which the queue for the table's lock drains.
const PAUSE: Duration = Duration::from_secs(2);

/// Opens a connection that holds the migration lock for as long as both values live.
pub(super) async fn open_locked(
    target: &DatabaseTarget,
    wait: LockWait<'_>,
) -> Result<(MigrationConnection, Option<FileLock>), MigrateError> {
    match target {
        DatabaseTarget::Postgres(server) => {
            pooler::refuse(server).await?;
            let mut connection = MigrationConnection::open(target).await?;
            if let Err(error) = connection.take_lock(wait).await {
                connection.close().await;
                return Err(error);
            }
            Ok((connection, None))
        }
        DatabaseTarget::Sqlite(file) => {
            let lock = FileLock::take(file, wait).await?;
            Ok((MigrationConnection::open(target).await?, Some(lock)))
        }
    }
}

/// Runs a migration. Where another session holds a table for too long it is tried again: a
/// migration that kept waiting would block every later query of that table.
pub(super) async fn run(
    connection: &mut MigrationConnection,
    migration: &sqlx::migrate::Migration,
    direction: Direction,
    wait: LockWait<'_>,
) -> Result<(), MigrateError> {
    let mut tries = 1;
    loop {
        match connection.run(migration, direction).await {
            Err(error) if error.is_lock_timeout() && tries < TRIES => {
                tries += 1;
                wait.notify(&format!(
                    "another session holds a lock that migration {} needs; try {tries} of {TRIES} follows",
                    migration.version,
                ));
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}
