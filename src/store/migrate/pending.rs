//! The check for pending migrations that `/health/ready` makes.

use crate::store::arg::args;
use crate::store::database::Store;
use crate::store::dialect::Dialect;
use crate::store::error::StoreError;
use crate::store::sql::Sql;

use super::embedded::{POSTGRES, SQLITE, ups};

/// The versions whose migrations finished.
static APPLIED_VERSIONS: Sql = Sql::Common("SELECT version FROM _sqlx_migrations WHERE success");

impl Store {
    /// Whether the database lacks a migration that this program has.
    ///
    /// A newer database lacks none, so a running daemon stays ready while a newer
    /// program migrates.
    pub async fn migrations_pending(&self) -> Result<bool, StoreError> {
        let migrations = match self.dialect() {
            Dialect::Postgres => &POSTGRES,
            Dialect::Sqlite => &SQLITE,
        };
        match self.read(&APPLIED_VERSIONS, &args![]).await {
            Ok(result) => {
                let applied: Vec<i64> = result.column("version")?;
                Ok(ups(migrations).any(|one| !applied.contains(&one.version)))
            }
            Err(error) if error.needs_migration() => Ok(true),
            Err(error) => Err(error),
        }
    }
}
