//! Refuses to migrate through a pooler.

use std::time::Instant;

use crate::config::PostgresTarget;
use crate::store::connect::open_postgres;
use crate::store::server::{close_quietly, is_pooled};

use super::error::MigrateError;

/// Fails behind a pooler in transaction mode, which neither keeps a session's lock nor resets
/// its settings for the next client.
///
/// Where the address does not tell, two open connections are compared.
pub(super) async fn refuse(server: &PostgresTarget) -> Result<(), MigrateError> {
    if !server.pooled {
        let started = Instant::now();
        let mut first = open_postgres(server).await?;
        let pooled = is_pooled(&mut first, server, started.elapsed()).await;
        close_quietly(first).await;
        if !pooled? {
            return Ok(());
        }
    }
    Err(MigrateError::ThroughPooler {
        host_port: server.host_port(),
    })
}
