//! Reverting migrations.

use crate::config::DatabaseTarget;

use super::embedded::{Direction, migrator, reverting};
use super::error::MigrateError;
use super::history::{Down, Migration, compare, plan_down};
use super::lock::LockWait;
use super::run::{open_locked, run};

/// Reverts migrations, newest first, each in a transaction of its own, and returns them.
pub async fn down(target: &DatabaseTarget, down: Down) -> Result<Vec<Migration>, MigrateError> {
    down_with(target, down, LockWait::default()).await
}

/// Like [`down`], waiting for other processes as `wait` says.
pub async fn down_with(
    target: &DatabaseTarget,
    down: Down,
    wait: LockWait<'_>,
) -> Result<Vec<Migration>, MigrateError> {
    let migrations = migrator(target);
    let (mut connection, _lock) = open_locked(target, wait).await?;
    let outcome = async {
        // Planned again under the lock: what the caller saw may have changed.
        let found = compare(migrations, connection.applied().await?);
        let planned = plan_down(&found, down)?;
        for one in &planned {
            let migration = reverting(migrations, one.version)?;
            run(&mut connection, migration, Direction::Down, wait).await?;
        }
        Ok(planned)
    }
    .await;
    connection.close().await;
    outcome
}
