//! Where a database stands.

use crate::config::DatabaseTarget;
use crate::store::arg::args;
use crate::store::database::Store;
use crate::store::dialect::Dialect;
use crate::store::error::StoreError;
use crate::store::sql::Sql;

use super::connection::MigrationConnection;
use super::embedded::{POSTGRES, SQLITE, migrator, ups};
use super::error::MigrateError;
use super::history::{Migration, compare};

/// The versions that were applied completely.
static APPLIED_VERSIONS: Sql = Sql::Common("SELECT version FROM _sqlx_migrations WHERE success");

/// Compares the database's migrations with the program's, in their order.
///
/// Changes nothing: no table is created, and a missing SQLite file stays missing.
pub async fn status(target: &DatabaseTarget) -> Result<Vec<Migration>, MigrateError> {
    let mut rows = Vec::new();
    if let Some(mut connection) = MigrationConnection::open_to_read(target).await? {
        let read = connection.applied().await;
        connection.close().await;
        rows = read?;
    }
    Ok(compare(migrator(target), rows))
}

impl Store {
    /// Whether the database lacks a migration of this program.
    ///
    /// A database that is newer lacks none, so a daemon that already runs stays ready.
    pub async fn migrations_pending(&self) -> Result<bool, StoreError> {
        let migrations = match self.dialect() {
            Dialect::PostgresIcu | Dialect::PostgresLocale => &POSTGRES,
            Dialect::SqliteFolded => &SQLITE,
        };
        match self.read(&APPLIED_VERSIONS, &args![]).await {
            Ok(result) => {
                let applied: Vec<i64> = result.column("version")?;
                Ok(ups(migrations).any(|one| !applied.contains(&one.version)))
            }
            Err(error) if error.wants_migration() => Ok(true),
            Err(error) => Err(error),
        }
    }
}
