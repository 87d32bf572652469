//! Recording migrations that a schema already has.

use crate::config::DatabaseTarget;

use super::connection::MigrationConnection;
use super::embedded::{Direction, find, migrator};
use super::error::MigrateError;
use super::history::{Migration, State, check_history};
use super::lock::LockWait;
use super::state::found_by;

/// Records the migrations whose whole effect is in the schema, in one transaction, and returns
/// them. Refuses where only a part of one is there.
pub async fn stamp(
    target: &DatabaseTarget,
    wait: LockWait<'_>,
) -> Result<Vec<Migration>, MigrateError> {
    let (mut connection, _lock) = MigrationConnection::open_locked(target, wait).await?;
    let outcome = record_unrecorded(&mut connection, target).await;
    connection.close().await;
    outcome
}

async fn record_unrecorded(
    connection: &mut MigrationConnection,
    target: &DatabaseTarget,
) -> Result<Vec<Migration>, MigrateError> {
    let state = found_by(connection, target).await?;
    check_history(migrator(target), &state.migrations)?;
    state.check_parts()?;
    state.check_schema()?;
    let mut migrations = state.migrations;
    migrations.retain(|one| one.state == State::Unrecorded);
    if migrations.is_empty() {
        return Ok(migrations);
    }
    let files = migrations
        .iter()
        .filter_map(|one| find(migrator(target), one.version, Direction::Up));
    connection.record_all(files).await?;
    Ok(migrations)
}
