//! Statements that restore a part of the schema.

use crate::config::DatabaseTarget;

use super::connection::MigrationConnection;
use super::error::MigrateError;
use super::lock::LockWait;

/// Runs statements of this program under the migration lock, each by itself, because
/// `CREATE INDEX CONCURRENTLY` cannot be part of a transaction. The first error ends it.
pub async fn repair(
    target: &DatabaseTarget,
    statements: &[String],
    wait: LockWait<'_>,
) -> Result<(), MigrateError> {
    let (mut connection, _lock) = MigrationConnection::open_locked(target, wait).await?;
    let mut outcome = Ok(());
    for statement in statements {
        outcome = connection.execute(statement).await;
        if outcome.is_err() {
            break;
        }
    }
    connection.close().await;
    Ok(outcome?)
}
