//! Whether there is a pooler, and whether it keeps prepared statements.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::time::timeout;

use crate::config::PostgresTarget;
use crate::store::{StoreError, backend_pid, open_postgres_within};

use super::connection::close;

/// How often something is tried at most.
const TRIES: u32 = 3;

const BACKEND_START: &str =
    "SELECT CAST(EXTRACT(EPOCH FROM backend_start) AS double precision) AS started,
            CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision) AS now
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

/// Whether a new connection is served by a process that was there before it, as only a pooler
/// makes it.
pub(crate) async fn reuses_backend(
    server: &PostgresTarget,
    limit: Duration,
) -> Result<bool, StoreError> {
    // By the server's clock, in seconds since 1970.
    let mut first: Option<f64> = None;
    for _ in 0..TRIES {
        let mut connection = open_postgres_within(server, limit).await?;
        let question = sqlx::query(BACKEND_START).persistent(false);
        let row = question.fetch_one(&mut connection).await?;
        close(connection).await;
        let (started, now): (f64, f64) = (row.try_get("started")?, row.try_get("now")?);
        if first.is_some_and(|first| started < first) {
            return Ok(true);
        }
        first.get_or_insert(now);
    }
    Ok(false)
}

/// How many server connections PgBouncer has for the database and the role. Asks its console
/// (PgBouncer's manual, "Admin console"); `None` if there is none, or this role may not use it.
pub(crate) async fn pgbouncer_pool_size(server: &PostgresTarget, limit: Duration) -> Option<usize> {
    let console = PostgresTarget {
        database: "pgbouncer".to_owned(),
        options: None,
        ..server.clone()
    };
    let mut connection = open_postgres_within(&console, limit).await.ok()?;
    let answer = timeout(limit, ask_console(&mut connection, &server.database)).await;
    close(connection).await;
    answer.ok()?.ok()?
}

async fn ask_console(
    console: &mut PgConnection,
    database: &str,
) -> Result<Option<usize>, sqlx::Error> {
    // The database's own setting, or the default; a database that matches `*` has a row while a
    // client uses it.
    let rows = sqlx::raw_sql("SHOW DATABASES").fetch_all(console).await?;
    for row in rows {
        if row.try_get::<&str, _>("name")? == database {
            let size: i32 = row.try_get("pool_size")?;
            return Ok(usize::try_from(size).ok());
        }
    }
    Ok(None)
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
