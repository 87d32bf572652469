//! One statement, or one transaction, for several requests.
//!
//! Requests wait while the connections in use are busy ([`requests`]). As soon as a connection is
//! free, those that do the same run together, and with them those that have arrived by then but
//! were not begun:
//!
//! - on PostgreSQL by one statement ([`statement`]), so with one exchange and one commit. Its
//!   arguments are arrays, so its text, and with it the prepared statement, is the same for any
//!   number of requests.
//! - on SQLite by one transaction, so with one fsync. Creates are one statement in it, or by
//!   itself, so with one exchange with the connection's thread.
//!
//! A request that is by itself runs its statement at once. Under load the number of requests that
//! share a statement grows by itself.
//!
//! Shared statements run on the runtime that opened the store, which has the sockets of their
//! connections, so no other thread is woken to read an answer. The requests of another runtime are
//! woken together.
//!
//! **How many connections are in use** follows from the time that the quickest statements take
//! ([`width`]): one or two where the database is near, more where an answer takes milliseconds, never
//! more than the pool has. A few requests wait for others before they use one more, for a millisecond
//! at most. If no connection becomes free within the usual time, one more is used than should be: a
//! statement may be waiting for a lock, or all are on the way to a distant database.
//!
//! **What holds for a request** is the same as if it had run alone:
//!
//! - It is answered after the commit. Rows that arrived before prove nothing.
//! - If the statement for several requests, or one of the transaction, fails, nothing was done, and
//!   each runs its own, so that only the faulty one fails. The same applies if their connection was out of date.
//! - If the connection is lost during a change, the outcome is as uncertain as for one
//!   request, and none is repeated.
//! - The statement, or the commit, is refused after the earliest deadline. Requests that have
//!   less than half of the time of the others run alone, so their deadlines do not end what
//!   others wait for.
//! - A request without a row in the answer of a change runs alone: rows that another transaction
//!   has locked are skipped (`SKIP LOCKED`), and so are deletes that take notifications with them,
//!   so that nobody waits for somebody else's row and statements for several rows do not block each
//!   other.
//! - Two changes of one task never share a statement: the second one begins when the first has
//!   ended ([`super::task_turns`]).
//! - A request whose caller or client is gone before its statement is sent is left out. A statement
//!   that was sent runs to its end or to its deadline, also if all of its callers are gone.
//! - If more requests wait than fit in one statement, the places go round among the users. On
//!   PostgreSQL, a user's requests that share a statement also use one of the user's turns
//!   ([`super::shares`]); those of a user without a free one wait for it by themselves.
//! - New requests are refused while the others wait for long ([`Pool::join_sharing`]).
//! - A panic in a statement for several requests ends none of them, and not the batching: reads run
//!   alone, and the outcome of changes is uncertain.
//!
//! Transactions of several statements take connections from the pool themselves.

mod line;
mod metrics;
mod requests;
mod run;
mod statement;
#[cfg(test)]
mod tests;
mod width;

use std::collections::HashMap;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::admission::Turn;
use super::arg::Arg;
use super::client::while_client_waits;
use super::deadline;
use super::dialect::Dialect;
use super::error::StoreError;
use super::pool::{Lease, Pool};
use super::row::QueryResult;
use super::shares::Share;
use super::sql::Sql;
use super::work;

pub(super) use metrics::BatchMetrics;
pub(super) use statement::{Answers, Batched};

use line::{Line, Place};
use requests::{Outcome, Request, Work, end, split_hurried};

/// How often waiting requests are checked for having waited too long.
const EXPIRY_CHECK: Duration = Duration::from_millis(10);

/// The pause after a connection could not be opened.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Runs the statements of many requests on the connections of one pool.
pub(super) struct Batcher {
    pool: Arc<Pool>,
    dialect: Dialect,
    metrics: BatchMetrics,
    line: Arc<Line>,
    /// Where statements run.
    runtime: Handle,
}

/// The number of a request that waits, and its outcome.
type Entered = (u64, oneshot::Receiver<Outcome>);

/// One request's statement, and whose it is.
pub(super) struct Call<'a> {
    pub sql: &'a Sql,
    pub args: &'a [Arg<'a>],
    pub writes: bool,
    /// The statements for several requests.
    pub batched: Option<&'static Batched>,
}

impl Batcher {
    /// Statements run on the present runtime.
    pub fn new(pool: Arc<Pool>, dialect: Dialect, metrics: BatchMetrics) -> Arc<Self> {
        Arc::new(Self {
            line: Arc::new(Line::new(pool.limits().max)),
            pool,
            dialect,
            metrics,
            runtime: Handle::current(),
        })
    }

    /// Runs a statement, alone or with those of other requests.
    pub async fn run(self: &Arc<Self>, call: &Call<'_>) -> Result<QueryResult, StoreError> {
        if let Some((number, mut answer)) = self.enter(call)? {
            let answer = match while_client_waits(&mut answer).await {
                Ok(answer) => answer,
                Err(left) if self.line.lock().requests.withdraw(number) => return Err(left),
                // Its statement runs.
                Err(_) => answer.await,
            };
            match answer {
                Ok(Outcome::Done(result)) => return Ok(result),
                Ok(Outcome::Failed(error)) => return Err(error),
                // Without an answer the collector ended before the statement was sent.
                Ok(Outcome::Alone) | Err(_) => {}
            }
        }
        // Boxed, to keep this rare case out of every request's future.
        Box::pin(self.run_alone(call)).await
    }

    async fn run_alone(&self, call: &Call<'_>) -> Result<QueryResult, StoreError> {
        if call.writes {
            work::write(&self.pool, call.sql, call.args).await
        } else {
            work::read(&self.pool, call.sql, call.args).await
        }
    }

    /// Queues a request, and returns its number; `None` if its user uses its share of the
    /// connections.
    fn enter(self: &Arc<Self>, call: &Call<'_>) -> Result<Option<Entered>, StoreError> {
        let share = deadline::claim_of_this_work().share;
        let work = match (self.dialect, call.batched) {
            (Dialect::Postgres, Some(batched)) => Work::Shared(batched),
            (_, batched) => Work::Grouped(call.sql.clone(), batched),
        };
        // It waits for its turn by itself.
        if matches!(work, Work::Shared(_))
            && share.is_some_and(|share| !self.pool.shares().is_free(share))
        {
            return Ok(None);
        }
        let waiting = self.pool.join_sharing()?;
        let (sender, answer) = oneshot::channel();
        let request = Request {
            number: 0,
            work,
            share,
            args: call.args.iter().map(Arg::to_static).collect(),
            deadline: self.pool.deadline(),
            expires: self.pool.latest_start(),
            runtime: Handle::current(),
            answer: sender,
        };
        let (number, is_first) = self.line.push(waiting, request);
        if is_first {
            self.start_collecting();
        }
        Ok(Some((number, answer)))
    }

    fn start_collecting(self: &Arc<Self>) {
        self.runtime.spawn(Arc::clone(self).collect());
    }

    /// Waits for a connection, and runs those requests on it that wait by then.
    async fn collect(self: Arc<Self>) {
        let collecting = Collecting(Arc::clone(&self));
        let mut place = self.line.place().await;
        // Requests that have arrived by now run first, and share the statement.
        yield_now().await;
        place.begin();
        let Some(lease) = self.lease().await else {
            return;
        };
        let requests = place.take_requests();
        // The next requests are collected while these run.
        drop(collecting);
        self.run_together(requests, lease, place).await;
    }

    /// A connection for the waiting requests; `None` if no request waits for it any longer.
    async fn lease(&self) -> Option<Lease<'_>> {
        let mut connecting = Box::pin(Arc::clone(&self.pool).connection());
        loop {
            match timeout(EXPIRY_CHECK, &mut connecting).await {
                Ok(Ok(connection)) => return Some(self.pool.lease_of_waiting(connection)),
                Ok(Err(error)) => {
                    if self.pool.status().size == 0 {
                        self.end_without_connection(error);
                        return None;
                    }
                    // No more can be opened, but those that are open do their work.
                    sleep(RETRY_PAUSE).await;
                    connecting = Box::pin(Arc::clone(&self.pool).connection());
                }
                Err(_) if self.pool.status().idle > 0 => {
                    // While a connection is opened, which may take long, another one has become
                    // free. The new one goes to the pool.
                    let free = Box::pin(Arc::clone(&self.pool).connection());
                    let opening = mem::replace(&mut connecting, free);
                    tokio::spawn(async move { drop(opening.await) });
                }
                Err(_) => {}
            }
            let expired = self.line.lock().requests.take_expired(Instant::now());
            for request in expired {
                request.end(Outcome::Failed(self.pool.timed_out()));
            }
            if self.line.lock().requests.is_empty() {
                return None;
            }
        }
    }

    /// Ends the waiting requests, for which no connection could be opened.
    fn end_without_connection(&self, error: StoreError) {
        let mut requests = self.line.lock().requests.take_all();
        if requests.len() > 1 {
            for request in requests {
                let outcome = match error {
                    StoreError::PoolTimeout { .. } => Outcome::Failed(self.pool.timed_out()),
                    // Each gets its own error from its own attempt.
                    _ => Outcome::Alone,
                };
                request.end(outcome);
            }
        } else if let Some(only) = requests.pop() {
            only.end(Outcome::Failed(error));
        }
    }

    async fn run_together(&self, requests: Vec<Request>, lease: Lease<'_>, place: Place) {
        let (hurried, requests) = split_hurried(requests, Instant::now());
        let mut turns = Turns::of(&self.pool);
        let (mut requests, refused): (Vec<_>, Vec<_>) = requests
            .into_iter()
            .partition(|request| turns.take(request));
        for request in hurried.into_iter().chain(refused) {
            request.end(Outcome::Alone);
        }
        #[allow(clippy::cast_precision_loss, reason = "it is at most 64")]
        self.metrics.requests.observe(requests.len() as f64);
        let running = run::together(&self.pool, lease, &mut requests);
        let outcomes = AssertUnwindSafe(running).catch_unwind().await;
        let outcomes = outcomes.unwrap_or_else(|_| run::after_panic(&requests));
        // Before the answers are sent: the next requests need the connection.
        drop((turns, place));
        let alone = outcomes.iter().filter(|one| matches!(one, Outcome::Alone));
        self.metrics.alone.inc_by(alone.count() as u64);
        end(requests.into_iter().zip(outcomes));
    }
}

/// A turn for each user whose requests share a statement.
struct Turns<'a> {
    pool: &'a Pool,
    taken: HashMap<Share, Option<Turn>>,
}

impl<'a> Turns<'a> {
    fn of(pool: &'a Pool) -> Self {
        Self {
            pool,
            taken: HashMap::new(),
        }
    }

    /// Whether the request may use the connection. In a transaction of SQLite the users take
    /// turns anyway.
    fn take(&mut self, request: &Request) -> bool {
        match (&request.work, request.share) {
            (Work::Shared(_), Some(share)) => self
                .taken
                .entry(share)
                .or_insert_with(|| self.pool.shares().try_turn(share))
                .is_some(),
            _ => true,
        }
    }
}

/// The task that waits for a connection, of which there is one at most. If requests wait when
/// it ends, another one begins.
struct Collecting(Arc<Batcher>);

impl Drop for Collecting {
    fn drop(&mut self) {
        let mut state = self.0.line.lock();
        if thread::panicking() {
            // The next one might panic as well.
            for request in state.requests.take_all() {
                request.end(Outcome::Alone);
            }
        }
        state.is_collecting = !state.requests.is_empty();
        let is_collecting = state.is_collecting;
        drop(state);
        if is_collecting {
            self.0.start_collecting();
        }
    }
}
