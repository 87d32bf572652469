//! Whether there is a pooler, and whether it keeps prepared statements.

use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
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
pub(super) const CLOCK_JITTER: Duration = Duration::from_millis(20);

const BACKEND_AGE: &str =
    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp() - backend_start) AS double precision) AS age
     FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()";

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
        // Hidden from the role that acts after `SET role`.
        let age: Option<f64> = row.try_get("age")?;
        if age.is_some_and(|age| age > (begun.elapsed() + CLOCK_JITTER).as_secs_f64()) {
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
    let number = getrandom::u32().unwrap_or(0);
    let mut begun = one.begin().await?;
    let first = backend_pid(&mut begun).await?;
    if let Err(error) = prepared(&mut begun, number).await {
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
    let tried = timeout(limit / TRIES, async {
        let mut begun = one.begin().await?;
        let second = backend_pid(&mut begun).await?;
        let answer = prepared(&mut begun, number).await;
        let _ = begun.rollback().await;
        Ok::<_, sqlx::Error>((second, answer))
    })
    .await;
    let kept = match tried {
        Ok(Ok((second, Ok(answer)))) if second != first => {
            // Another client's statement of this name gives another answer.
            if answer == Some(number) {
                PreparedStatements::Kept
            } else {
                PreparedStatements::Lost
            }
        }
        Ok(Ok((_, Err(_)))) => PreparedStatements::Lost,
        _ => PreparedStatements::Untried,
    };
    if kept != PreparedStatements::Kept {
        let forgotten = forget_on(first, &mut holding, &mut one);
        let _ = timeout(limit / TRIES, forgotten).await;
    }
    let _ = holding.rollback().await;
    close(one).await;
    close(other).await;
    Ok(kept)
}

/// Run with a name, as the driver does with a statement that it keeps. The answer is `number`,
/// or what another client's statement of the same name gives.
async fn prepared(connection: &mut PgConnection, number: u32) -> Result<Option<u32>, sqlx::Error> {
    let text = format!("SELECT CAST($1 + {number} AS text)");
    let query = sqlx::query(AssertSqlSafe(text))
        .bind(0_i64)
        .persistent(true);
    let row = query.fetch_one(connection).await?;
    let answer: Option<String> = row.try_get(0).unwrap_or_default();
    Ok(answer.and_then(|answer| answer.parse().ok()))
}

/// Removes the statement, by the driver's first name, from the server connection with the
/// process `first`, which other clients will use. One of the two clients gets it, unless a third
/// one has it.
async fn forget_on(first: i32, holding: &mut PgConnection, one: &mut PgConnection) {
    let forget = "DEALLOCATE sqlx_s_1";
    for client in [holding, one] {
        let Ok(mut begun) = client.begin().await else {
            continue;
        };
        if backend_pid(&mut begun).await.is_ok_and(|pid| pid == first) {
            let _ = sqlx::raw_sql(forget).execute(&mut *begun).await;
            let _ = begun.commit().await;
            return;
        }
        let _ = begun.rollback().await;
    }
}
