//! How a unit of work runs, for every method of the store: connection, transaction, retries, and
//! whether the connection is reused or closed.

use std::io;
use std::pin::pin;
use std::time::Instant;

use super::admission::Kind;
use super::arg::Arg;
use super::client::client_has_left;
use super::deadline;
use super::error::{StoreError, is_connection_lost, is_of_old_schema, is_rolled_back, is_stale};
use super::late::is_late;
use super::pool::{Condition, Lease, Pool};
use super::row::QueryResult;
use super::session::{Backend, Session};
use super::sql::Sql;

/// Runs one read-only statement. If its connection is lost or out of date, runs it again on a new
/// one, so that callers do not notice a restart of the server.
pub(super) async fn read(
    pool: &Pool,
    sql: &Sql,
    args: &[Arg<'_>],
) -> Result<QueryResult, StoreError> {
    again_if(is_lost_or_stale, || statement(pool, sql, args, false)).await
}

/// Runs one statement that may write, and returns after its commit. It is run again where it
/// certainly did nothing, because its connection was out of date.
///
/// The server refuses it after the deadline of the work: a request that was answered does not
/// take effect later.
pub(super) async fn write(
    pool: &Pool,
    sql: &Sql,
    args: &[Arg<'_>],
) -> Result<QueryResult, StoreError> {
    again_if(is_stale_error, || statement(pool, sql, args, true)).await
}

async fn statement(
    pool: &Pool,
    sql: &Sql,
    args: &[Arg<'_>],
    writes: bool,
) -> Result<QueryResult, StoreError> {
    if pool.prepares_statements() {
        let lease = pool.lease().await?;
        return unbracketed(pool, lease, sql, args, writes).await;
    }
    // Boxed, to keep this rare case out of every statement's future.
    let work = async |session: &mut Session| {
        if !writes && is_search() {
            return match search(pool, session, sql, args).await {
                Search::Ended(outcome) => Ok(outcome?),
                Search::Stopped | Search::Abandoned => Err(StoreError::ClientLeft),
            };
        }
        Ok(session.run(sql, args).await?)
    };
    Box::pin(in_transaction(pool, work)).await
}

fn is_search() -> bool {
    deadline::claim_of_this_work().kind == Kind::Search
}

/// How a statement of a search ended.
enum Search {
    Ended(Result<QueryResult, sqlx::Error>),
    /// The client left, and the database has stopped the statement.
    Stopped,
    /// The client left, and the connection may still be waiting for the answer.
    Abandoned,
}

/// Runs a statement as long as the client waits for it, so that what nobody wants does not occupy
/// the database.
async fn search(pool: &Pool, session: &mut Session, sql: &Sql, args: &[Arg<'_>]) -> Search {
    let (interrupt, backend) = (session.interrupt(), session.backend());
    let mut running = pin!(session.run(sql, args));
    tokio::select! {
        biased;
        outcome = &mut running => return Search::Ended(outcome),
        () = client_has_left() => {}
    }
    match (interrupt, backend) {
        (Some(interrupt), _) => interrupt.set(Instant::now()),
        (None, Some(backend)) => {
            if let Err(error) = pool.cancel(backend).await {
                tracing::warn!(%error, "a search whose client has left could not be cancelled");
                return Search::Abandoned;
            }
        }
        (None, None) => return Search::Abandoned,
    }
    match running.await {
        Err(error) if is_connection_lost(&error) => Search::Abandoned,
        _ => Search::Stopped,
    }
}

/// Runs one statement on a connection.
pub(super) async fn on(
    pool: &Pool,
    lease: Lease<'_>,
    sql: &Sql,
    args: &[Arg<'_>],
    writes: bool,
) -> Result<QueryResult, StoreError> {
    if pool.prepares_statements() {
        return unbracketed(pool, lease, sql, args, writes).await;
    }
    let lease = begin(lease).await.map_err(nothing_done)?;
    let work = async |session: &mut Session| Ok(session.run(sql, args).await?);
    Box::pin(end(pool, lease, work)).await
}

/// A statement of a group, and when it must have ended.
pub(super) struct Statement {
    pub sql: Sql,
    pub args: Vec<Arg<'static>>,
    pub deadline: Instant,
}

/// Runs several statements in one transaction of SQLite and returns after its commit.
///
/// If one of them fails, all are rolled back.
pub(super) async fn group(
    pool: &Pool,
    lease: Lease<'_>,
    group: &[&Statement],
) -> Result<Vec<QueryResult>, StoreError> {
    let lease = begin(lease).await.map_err(nothing_done)?;
    let work = async |session: &mut Session| {
        let mut results = Vec::with_capacity(group.len());
        for Statement {
            sql,
            args,
            deadline,
        } in group
        {
            session.limit(*deadline);
            results.push(session.run(sql, args).await?);
        }
        // The commit is refused after the earliest deadline.
        if let Some(earliest) = group.iter().map(|one| one.deadline).min() {
            session.limit(earliest);
        }
        Ok(results)
    };
    end(pool, lease, work).await
}

/// Runs one statement by itself: its commit is part of it.
///
/// sqlx parses a statement in one exchange and runs it in the next. In between, a pooler in
/// transaction mode may lend the server connection to another client, whose statement would
/// run with these arguments. So if statements are not kept prepared, even a single one runs
/// between BEGIN and COMMIT instead.
async fn unbracketed(
    pool: &Pool,
    mut lease: Lease<'_>,
    sql: &Sql,
    args: &[Arg<'_>],
    writes: bool,
) -> Result<QueryResult, StoreError> {
    let outcome = if writes {
        lease.run_in_time(sql, args).await
    } else if is_search() {
        // Boxed, as above.
        match Box::pin(search(pool, &mut lease, sql, args)).await {
            Search::Ended(outcome) => outcome,
            Search::Stopped => {
                lease.settle(Condition::Reusable);
                return Err(StoreError::ClientLeft);
            }
            // The connection is closed, and PostgreSQL notices that.
            Search::Abandoned => return Err(StoreError::ClientLeft),
        }
    } else {
        lease.run(sql, args).await
    };
    let error = match outcome {
        Ok(result) => {
            lease.settle(Condition::Reusable);
            return Ok(result);
        }
        Err(error) => error,
    };
    let sent = Sent::on(&lease);
    if sent.is_refused_early(&error) {
        lease.settle(Condition::Stale);
        return Err(StoreError::Stale(error));
    }
    lease.settle(condition_after(&error));
    Err(Box::pin(lost(pool, sent, error, writes)).await)
}

/// Runs any number of statements in one transaction: `Ok` is committed before it is returned,
/// `Err` is rolled back. Where its connection was out of date, the work is made and run again.
///
/// `work` must not turn the error of a statement into `Ok`: PostgreSQL would accept the
/// COMMIT and roll back. If the future is dropped, the connection is closed, and the server
/// rolls back.
pub(super) async fn transaction<T, W>(pool: &Pool, work: impl Fn() -> W) -> Result<T, StoreError>
where
    W: AsyncFnOnce(&mut Session) -> Result<T, StoreError>,
{
    match in_transaction(pool, work()).await {
        Err(StoreError::Stale(_)) => in_transaction(pool, work()).await,
        outcome => outcome,
    }
}

async fn in_transaction<T>(
    pool: &Pool,
    work: impl AsyncFnOnce(&mut Session) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    // If the connection is lost at BEGIN, nothing has been done yet.
    let lease = again_if(is_lost_or_stale, || async {
        begin(pool.lease().await?).await
    })
    .await?;
    end(pool, lease, work).await
}

/// Runs the rest of a transaction, and ends it.
async fn end<T>(
    pool: &Pool,
    mut lease: Lease<'_>,
    work: impl AsyncFnOnce(&mut Session) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let outcome = work(&mut lease).await;
    let ended = lease.end(outcome.is_ok()).await;
    let sent = Sent::on(&lease);
    let is_refused_early = ended
        .as_ref()
        .is_err_and(|error| sent.is_refused_early(error));
    let has_old_schema = |error: &StoreError| {
        let StoreError::Query(error) = error else {
            return false;
        };
        is_of_old_schema(error)
    };
    let is_stale = is_refused_early
        || (outcome.as_ref()).is_err_and(|error| is_stale_error(error) || has_old_schema(error));
    lease.settle(if is_stale {
        Condition::Stale
    } else {
        after_end(&ended)
    });
    match (outcome, ended) {
        (Ok(_), Err(error)) if is_refused_early => Err(StoreError::Stale(error)),
        (Ok(_), Err(error)) => Err(Box::pin(lost(pool, sent, error, true)).await),
        (Err(StoreError::ConnectionLost(error)), _) => {
            Err(Box::pin(lost(pool, sent, error, false)).await)
        }
        (outcome, _) => outcome,
    }
}

/// What is known of a change that was sent to a server.
#[derive(Clone, Copy)]
struct Sent {
    backend: Option<Backend>,
    /// When the server no longer accepts it.
    last_change: Instant,
}

impl Sent {
    fn on(lease: &Lease<'_>) -> Self {
        Self {
            backend: lease.backend(),
            last_change: lease.last_change(),
        }
    }

    /// Whether it was refused as late before it was: the server's clock was set, and nothing was
    /// done.
    fn is_refused_early(self, error: &sqlx::Error) -> bool {
        is_late(error) && Instant::now() < self.last_change
    }
}

async fn begin(mut lease: Lease<'_>) -> Result<Lease<'_>, StoreError> {
    match lease.begin().await {
        Ok(()) => Ok(lease),
        Err(error) => {
            lease.settle(condition_after(&error));
            Err(error.into())
        }
    }
}

/// The error of work whose connection may be lost.
///
/// Where its server may still work on it, that session is ended: it would hold its locks and
/// its place among the server's connections, and a change could be committed later. A change
/// whose session cannot be ended is waited for until the server no longer accepts it, because the
/// error is answered, and what was answered must not take effect later.
async fn lost(pool: &Pool, sent: Sent, error: sqlx::Error, writes: bool) -> StoreError {
    if !is_connection_lost(&error) || is_rolled_back(&error) {
        return error.into();
    }
    let timed_out =
        matches!(&error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut);
    if !writes && !timed_out {
        return error.into();
    }
    let until = if writes {
        sent.last_change
    } else {
        Instant::now()
    };
    if pool.end_session(sent.backend, until).await || !writes {
        StoreError::ConnectionLost(error)
    } else {
        StoreError::Undecided(error)
    }
}

/// Tries once more after certain errors.
async fn again_if<T, F>(
    is_worth_it: fn(&StoreError) -> bool,
    attempt: impl Fn() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    match attempt().await {
        Err(error) if is_worth_it(&error) => attempt().await,
        outcome => outcome,
    }
}

/// The error of a BEGIN: even if the connection was lost, nothing was done.
fn nothing_done(error: StoreError) -> StoreError {
    match error {
        StoreError::ConnectionLost(cause) => StoreError::Stale(cause),
        other => other,
    }
}

/// Whether a change that failed with `error` may have taken place, or may still do so.
pub(super) fn may_be_done(error: &StoreError) -> bool {
    match error {
        StoreError::Undecided(_) => true,
        StoreError::ConnectionLost(cause) => !is_rolled_back(cause),
        _ => false,
    }
}

/// Whether a statement that failed with `error` is run again, on another connection.
pub(super) fn is_worth_repeating(error: &StoreError, writes: bool) -> bool {
    if writes {
        is_stale_error(error)
    } else {
        is_lost_or_stale(error)
    }
}

fn is_stale_error(error: &StoreError) -> bool {
    matches!(error, StoreError::Stale(_))
}

fn is_lost_or_stale(error: &StoreError) -> bool {
    match error {
        // Work that took too long would take too long again.
        StoreError::ConnectionLost(sqlx::Error::Io(error)) => {
            error.kind() != io::ErrorKind::TimedOut
        }
        StoreError::ConnectionLost(_) | StoreError::Stale(_) => true,
        _ => false,
    }
}

/// The condition of a connection after a statement outside a transaction failed.
fn condition_after(error: &sqlx::Error) -> Condition {
    if is_connection_lost(error) {
        Condition::Lost
    } else if is_stale(error) || is_of_old_schema(error) {
        Condition::Stale
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
