//! Refuses to migrate through a pooler.

use crate::config::{DatabaseTarget, PostgresTarget};
use crate::store::connect::open_postgres;
use crate::store::connect_error::ConnectError;
use crate::store::server::{close_quietly, share_a_process};

use super::error::MigrateError;

/// Fails behind a pooler in transaction mode, which neither keeps a session's lock nor resets
/// its settings for the next client.
///
/// Where the address does not tell, two open connections are compared.
pub(super) async fn refuse(server: &PostgresTarget) -> Result<(), MigrateError> {
    if !server.pooled {
        let (mut first, mut second) = (open_postgres(server).await?, open_postgres(server).await?);
        let shared = share_a_process(&mut first, &mut second).await;
        close_quietly(first).await;
        close_quietly(second).await;
        let target = DatabaseTarget::Postgres(server.clone());
        let shared = shared.map_err(|error| ConnectError::from_sqlx(&target, &error))?;
        if !shared {
            return Ok(());
        }
    }
    Err(MigrateError::ThroughPooler {
        host_port: server.host_port(),
    })
}
