//! Finding out that a pooler answers, before anything relies on a session.

use sqlx::PgConnection;

use crate::config::{DatabaseTarget, PostgresTarget};
use crate::store::ConnectError;
use crate::store::connect::open_postgres;
use crate::store::server::{backend_pid, close_quietly};

use super::MigrateError;

/// A pooler under load hands its server connections out in any order.
const ROUNDS: usize = 3;

/// Refuses a pooler in transaction mode: it loses the lock of a session, and
/// lets the settings of one leak into others.
///
/// The address may tell. Otherwise two open connections are compared: those
/// that share a server process, or one that changes it, have a pooler in between.
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

async fn share_a_process(
    first: &mut PgConnection,
    second: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    let mut before = None;
    for _ in 0..ROUNDS {
        let now = (backend_pid(first).await?, backend_pid(second).await?);
        if now.0 == now.1 || before.is_some_and(|before| before != now) {
            return Ok(true);
        }
        before = Some(now);
    }
    Ok(false)
}
