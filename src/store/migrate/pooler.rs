//! Finding out whether a pooler is in between, before anything relies on a session.

use crate::config::{DatabaseTarget, PostgresTarget};
use crate::store::connect::open_postgres;
use crate::store::connect_error::ConnectError;
use crate::store::server::{close_quietly, share_a_process};

use super::error::MigrateError;

/// Refuses a pooler in transaction mode: it loses a session's lock, and one session's settings
/// leak into others.
///
/// The address may show it. Otherwise two open connections are compared.
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
        place: server.place(),
    })
}
