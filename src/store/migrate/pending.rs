//! The check for pending migrations that `/health/ready` makes.

use crate::store::{Engine, Store, StoreError, reading};

use super::connection::APPLIED_VERSIONS;
use super::embedded::{POSTGRES, SQLITE, ups};

impl Store {
    /// Whether the database lacks a migration that this program has.
    ///
    /// A newer database lacks none, so a running daemon stays ready while a newer
    /// program migrates.
    pub async fn migrations_pending(&self) -> Result<bool, StoreError> {
        let migrations = match &self.engine {
            Engine::Postgres(_) => &POSTGRES,
            Engine::Sqlite(_) => &SQLITE,
        };
        let applied: Result<Vec<i64>, StoreError> = reading!(self, |connection| {
            sqlx::query_scalar::<_, i64>(APPLIED_VERSIONS)
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
