//! Refuses to migrate through a pooler.

use crate::config::PostgresTarget;
use crate::store::server::find_pooler;

use super::error::MigrateError;

/// Fails behind a pooler in transaction mode, which neither keeps a session's lock nor resets
/// its settings for the next client.
///
/// Where the address does not tell, two open connections are compared.
pub(super) async fn refuse(server: &PostgresTarget) -> Result<(), MigrateError> {
    if !server.pooled && !find_pooler(server).await? {
        return Ok(());
    }
    Err(MigrateError::ThroughPooler {
        host_port: server.host_port(),
    })
}
