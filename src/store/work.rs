//! How a unit of work runs, for every method of the store: connection, transaction, retries, and
//! whether the connection is reused or closed.

use super::arg::Arg;
use super::connection::Connection;
use super::error::{StoreError, is_connection_lost};
use super::pool::{Condition, Lease, Pool};
use super::row::QueryResult;
use super::sql::Sql;

/// Runs one read-only statement. If its connection is lost, runs it again on a new one, so that
/// callers do not notice a restart of the server.
pub(super) async fn read(
    pool: &Pool,
    sql: &Sql,
    args: &[Arg<'_>],
) -> Result<QueryResult, StoreError> {
    again_if_lost(|| statement(pool, sql, args)).await
}

/// Runs one statement and returns after its commit.
///
/// sqlx parses a statement in one exchange and runs it in the next. In between, a pooler in
/// transaction mode may lend the server connection to another client, whose statement would
/// run with these arguments. So if statements are not kept prepared, even a single one runs
/// between BEGIN and COMMIT.
pub(super) async fn statement(
    pool: &Pool,
    sql: &Sql,
    args: &[Arg<'_>],
) -> Result<QueryResult, StoreError> {
    if !pool.prepares_statements() {
        // Boxed, to keep this rare case out of every statement's future.
        return Box::pin(transaction(pool, async |tx| Ok(tx.run(sql, args).await?))).await;
    }
    let mut lease = pool.lease().await?;
    let outcome = lease.run(sql, args).await;
    lease.settle(
        outcome
            .as_ref()
            .err()
            .map_or(Condition::Reusable, after_error),
    );
    Ok(outcome?)
}

/// Runs any number of statements in one transaction: `Ok` is committed before it is returned,
/// `Err` is rolled back.
///
/// `work` must not turn the error of a statement into `Ok`: PostgreSQL would accept the
/// COMMIT and roll back. If the future is dropped, the connection is closed, and the server
/// rolls back.
pub(super) async fn transaction<T>(
    pool: &Pool,
    work: impl AsyncFnOnce(&mut Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // If the connection is lost at BEGIN, nothing has been done yet.
    let mut lease = again_if_lost(|| begin(pool)).await?;
    let outcome = work(&mut lease).await;
    let ended = lease.end(outcome.is_ok()).await;
    lease.settle(after_end(&ended));
    match (outcome, ended) {
        (Ok(_), Err(error)) => Err(error.into()),
        (outcome, _) => outcome,
    }
}

async fn begin(pool: &Pool) -> Result<Lease<'_>, StoreError> {
    let mut lease = pool.lease().await?;
    match lease.begin().await {
        Ok(()) => Ok(lease),
        Err(error) => {
            lease.settle(after_error(&error));
            Err(error.into())
        }
    }
}

/// Tries once more if the connection was lost.
async fn again_if_lost<T, F>(attempt: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    match attempt().await {
        Err(StoreError::ConnectionLost(_)) => attempt().await,
        outcome => outcome,
    }
}

/// The condition of a connection after a statement outside a transaction failed.
fn after_error(error: &sqlx::Error) -> Condition {
    if is_connection_lost(error) {
        Condition::Lost
    } else {
        Condition::Reusable
    }
}

/// The condition of a connection after COMMIT or ROLLBACK: if that failed, the transaction may
/// still be open (SQLite).
fn after_end(ended: &Result<(), sqlx::Error>) -> Condition {
    match ended {
        Ok(()) => Condition::Reusable,
        Err(error) if is_connection_lost(error) => Condition::Lost,
        Err(_) => Condition::Unclean,
    }
}
