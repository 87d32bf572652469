//! The time until which a unit of work may use the database.
//!
//! A request's deadline is ahead of the answer to its client, so that the outcome of every
//! statement is known by then. It belongs to the task that works on the request
//! ([`within`]); work of nobody in particular, such as a job's, has a limit for each unit.

use std::time::{Duration, Instant};

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `work`, whose client is answered after `limit`: its statements end before that.
pub(crate) async fn within<F: Future>(limit: Duration, work: F) -> F::Output {
    let ahead = (limit / 20).min(Duration::from_secs(1));
    until(Instant::now() + limit.saturating_sub(ahead), work).await
}

/// Runs `work`, whose statements end by `deadline`.
pub(super) async fn until<F: Future>(deadline: Instant, work: F) -> F::Output {
    DEADLINE.scope(deadline, work).await
}

/// The deadline of the unit of work that begins now; `longest` applies where there is none.
pub(super) fn of_this_work(longest: Duration) -> Instant {
    DEADLINE
        .try_with(|deadline| *deadline)
        .unwrap_or_else(|_| Instant::now() + longest)
}
