//! Recording migrations that a schema already has.

use crate::config::DatabaseTarget;

use super::connection::MigrationConnection;
use super::embedded::{Direction, find, migrator};
use super::error::MigrateError;
use super::history::{Migration, State};
use super::lock::LockWait;
use super::state::{Found, found_by};

/// What [`stamp`] did.
#[derive(Debug)]
pub struct Stamped {
    /// Their whole effect is in the schema.
    pub recorded: Vec<Migration>,
    /// They were recorded wrongly, and nothing of them is in the schema.
    pub forgotten: Vec<Migration>,
}

/// Records the migrations whose whole effect is in the schema and that are not recorded, or not as
/// this program has them, or as unfinished; forgets wrong records of those of which nothing is
/// there. All in one transaction. Refuses where only a part of one is there. Records of newer
/// programs stay.
pub async fn stamp(target: &DatabaseTarget, wait: LockWait<'_>) -> Result<Stamped, MigrateError> {
    let (mut connection, _lock) = MigrationConnection::open_locked(target, wait).await?;
    let outcome = correct_records(&mut connection, target).await;
    connection.close().await;
    outcome
}

async fn correct_records(
    connection: &mut MigrationConnection,
    target: &DatabaseTarget,
) -> Result<Stamped, MigrateError> {
    let found = usable_record(connection, target).await?;
    found.check_record()?;
    found.check_parts()?;
    let is_wrong = |one: &&Migration| one.state == State::Unrecorded || one.is_misrecorded();
    let wrong: Vec<Migration> = found.migrations.iter().filter(is_wrong).cloned().collect();
    if !wrong.is_empty() {
        found.check_schema()?;
    }
    let misrecorded = wrong.iter().filter(|one| one.is_misrecorded());
    let removed: Vec<i64> = misrecorded.map(|one| one.version).collect();
    let (forgotten, recorded): (Vec<_>, Vec<_>) =
        wrong.into_iter().partition(|one| found.is_absent(one));
    let files = recorded
        .iter()
        .filter_map(|one| find(migrator(target), one.version, Direction::Up));
    if !recorded.is_empty() || !forgotten.is_empty() {
        connection.record_all(removed.into_iter(), files).await?;
    }
    Ok(Stamped {
        recorded,
        forgotten,
    })
}

/// What the database has. A table of records that lacks a column is set aside.
async fn usable_record(
    connection: &mut MigrationConnection,
    target: &DatabaseTarget,
) -> Result<Found, MigrateError> {
    match found_by(connection, target).await {
        Err(MigrateError::BrokenRecord { .. }) => {
            connection.set_record_aside().await?;
            found_by(connection, target).await
        }
        found => found,
    }
}
