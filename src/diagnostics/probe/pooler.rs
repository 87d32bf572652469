//! Whether there is a pooler, and whether it keeps prepared statements.

use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::time::timeout;

use crate::config::PostgresTarget;
use crate::store::{StoreError, backend_pid, open_postgres_within};

use super::connection::close;

/// How often something is tried at most.
const TRIES: u32 = 3;

/// How many connections are opened to find one that a pooler had before, and the pause between two.
const BACKENDS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(50);

/// The server's clock may run a little faster than this machine's.
const CLOCK_JITTER: Duration = Duration::from_millis(20);

const BACKEND_AGE: &str =
    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp() - backend_start) AS double precision) AS age
     FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()";

/// Prepared by name in one transaction, run again in the next.
const PREPARED: &str = "SELECT 1 + $1";

/// Whether prepared statements survive from one transaction to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PreparedStatements {
    /// The pooler keeps them (PgBouncer 1.21 and newer, Neon).
    Kept,
    /// They are lost when the next transaction lands on another server connection.
    Lost,
    /// No second server connection was free, so it could not be tried.
    Untried,
}

/// Whether a new connection is served by a process that is older than it, as only a pooler makes
/// it. A pooler may open new server connections for the first ones.
pub(crate) async fn reuses_backend(
    server: &PostgresTarget,
    limit: Duration,
) -> Result<bool, StoreError> {
    for number in 0..BACKENDS {
        if number > 0 {
            // Until the pooler has taken back the server connection of the one before.
            tokio::time::sleep(PAUSE).await;
        }
        let begun = Instant::now();
        let mut connection = open_postgres_within(server, limit).await?;
        let question = sqlx::raw_sql(BACKEND_AGE);
        let row = question.fetch_one(&mut connection).await?;
        close(connection).await;
        let age: f64 = row.try_get("age")?;
        if age > (begun.elapsed() + CLOCK_JITTER).as_secs_f64() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tries prepared statements, again if other clients of a busy pooler interfered. All tries
/// together wait `limit` for a second server connection.
pub(crate) async fn prepared_statements(
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
/// open transaction forces onto another server connection. Removes what it has prepared.
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

/// Removes the statement, by the driver's first name, from a server connection that other
/// clients will use.
async fn forget(connection: &mut PgConnection) {
    let leave = sqlx::raw_sql("DEALLOCATE sqlx_s_1");
    let _ = leave.execute(connection).await;
}
