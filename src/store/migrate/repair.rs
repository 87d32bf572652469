//! Mending the notes about applied migrations. The schema is not touched.

use crate::config::DatabaseTarget;

use super::{Direction, LockWait, MigrateError, Migration, State};
use super::{compare, find, migrator, open_locked};

/// Notes this program's checksum for each migration that has changed since it
/// was applied, and returns those.
///
/// Right where a file changed without its meaning (line endings, a comment).
/// One that is unfinished or not known is left alone: only a person can tell.
pub async fn checksums(
    target: &DatabaseTarget,
    wait: LockWait<'_>,
) -> Result<Vec<Migration>, MigrateError> {
    let (mut connection, _lock) = open_locked(target, wait).await?;
    let outcome = async {
        let found = compare(migrator(target), connection.applied().await?);
        let mut mended = Vec::new();
        connection.begin().await?;
        for mut one in found {
            let ours = find(migrator(target), one.version, Direction::Up);
            let (State::Changed, Some(ours)) = (one.state, ours) else {
                continue;
            };
            connection.set_checksum(one.version, &ours.checksum).await?;
            one.state = State::Applied;
            mended.push(one);
        }
        connection.execute("COMMIT").await?;
        Ok(mended)
    }
    .await;
    connection.close().await;
    outcome
}
