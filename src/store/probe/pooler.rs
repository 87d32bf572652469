//! Whether a pooler answers, and whether it keeps prepared statements.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::timeout;

use crate::config::{DatabaseTarget, PostgresTarget};
use crate::store::connect::open_postgres_within;
use crate::store::server::{backend_pid, share_a_process};
use crate::store::{ConnectError, StoreError};

/// How often prepared statements are tried at most.
const TRIES: u32 = 3;

/// Prepared by name in one transaction, run again in the next.
const PREPARED: &str = "SELECT 1 + $1";

/// How prepared statements fare across two transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreparedStatements {
    /// The pooler brings them along (PgBouncer 1.21 and newer, Neon).
    Kept,
    /// They are lost when the next transaction lands on another server connection.
    Lost,
    /// No second server connection was free, so it could not be tried.
    Untried,
}

/// Whether two open connections share one server process, as only a pooler makes them.
pub async fn shares_backend(
    server: &PostgresTarget,
    limit: Duration,
) -> Result<bool, ConnectError> {
    let named = |error| ConnectError::from_sqlx(&DatabaseTarget::Postgres(server.clone()), &error);
    let mut one = open_postgres_within(server, limit).await?;
    let mut two = open_postgres_within(server, limit).await?;
    let shared = share_a_process(&mut one, &mut two).await.map_err(named)?;
    close(one).await;
    close(two).await;
    Ok(shared)
}

/// How prepared statements fare: tried again where others, on a busy pooler, were in the way.
/// All tries together wait `limit` for a second server connection.
pub async fn prepared_statements(
    server: &PostgresTarget,
    limit: Duration,
) -> Result<PreparedStatements, StoreError> {
    for _ in 1..TRIES {
        let kept = try_prepared_statements(server, limit).await?;
        if kept != PreparedStatements::Untried {
            return Ok(kept);
        }
    }
    try_prepared_statements(server, limit).await
}

/// Prepares a statement in one transaction and runs it in another, which a second client's
/// open transaction pushes onto another server connection. What is left is cleaned up.
async fn try_prepared_statements(
    server: &PostgresTarget,
    limit: Duration,
) -> Result<PreparedStatements, StoreError> {
    let mut one = open_postgres_within(server, limit).await?;
    let mut other = open_postgres_within(server, limit).await?;
    let mut begun = one.begin().await?;
    let first = backend_pid(&mut begun).await?;
    if let Err(error) = prepared(&mut begun).await {
        let code = error.as_database_error().and_then(DatabaseError::code);
        // 42P05: another client's statement has the name. A pooler that keeps statements gives
        // each of them a name of its own.
        return if code.as_deref() == Some("42P05") {
            Ok(PreparedStatements::Lost)
        } else {
            Err(error.into())
        };
    }
    begun.commit().await?;
    // Poolers hand out the newest idle server connection, which is the one just used.
    let mut holding = other.begin().await?;
    let held = backend_pid(&mut holding).await?;
    let tried = timeout(limit / TRIES, async {
        let mut begun = one.begin().await?;
        let second = backend_pid(&mut begun).await?;
        let outcome = prepared(&mut begun).await;
        if second == first {
            forget(&mut begun).await;
        }
        let _ = begun.rollback().await;
        Ok::<_, sqlx::Error>((second, outcome))
    })
    .await;
    let kept = match tried {
        Ok(Ok((second, Ok(())))) if second != first => PreparedStatements::Kept,
        Ok(Ok((_, Err(_)))) => PreparedStatements::Lost,
        _ => PreparedStatements::Untried,
    };
    if kept != PreparedStatements::Kept && held == first {
        forget(&mut holding).await;
    }
    let _ = holding.rollback().await;
    close(one).await;
    close(other).await;
    Ok(kept)
}

async fn prepared(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let query = sqlx::query(PREPARED).bind(1_i32).persistent(true);
    query.execute(connection).await.map(drop)
}

/// Takes back the driver's first name, left on a server connection that others will get.
async fn forget(connection: &mut PgConnection) {
    let leave = sqlx::raw_sql(AssertSqlSafe("DEALLOCATE sqlx_s_1".to_owned()));
    let _ = leave.execute(connection).await;
}

/// The other side may be gone, or stuck: nobody waits for its goodbye.
async fn close(connection: PgConnection) {
    let _ = timeout(super::CLOSE_TIMEOUT, connection.close()).await;
}
