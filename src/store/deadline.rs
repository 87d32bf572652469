//! What the store knows about the work that uses it: until when, and on whose behalf.
//!
//! A request's deadline is ahead of the answer to its client, so that the outcome of every
//! statement is known by then. It belongs to the task that works on the request
//! ([`within`]); work of nobody in particular, such as a job's, has a limit for each unit.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::client::{ClientWatch, on_behalf_of_client};
use super::shares::Share;

struct Work {
    deadline: Instant,
    /// The share of the pools that it uses.
    share: Cell<Option<Share>>,
}

tokio::task_local! {
    static WORK: Work;
}

/// Runs `work`, whose `client` is answered after `limit`, counted from now: its statements end
/// before that.
///
/// Not an async function: its future would have room for `work` twice.
pub(crate) fn within<F: Future>(
    limit: Duration,
    client: ClientWatch,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    let ahead = (limit / 20).min(Duration::from_secs(1));
    let deadline = Instant::now() + limit.saturating_sub(ahead);
    on_behalf_of_client(client, until(deadline, work))
}

/// Runs `work`, whose statements end by `deadline`, on nobody's behalf.
pub(super) fn until<F: Future>(
    deadline: Instant,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    let share = Cell::new(None);
    WORK.scope(Work { deadline, share }, work)
}

/// From now on the present work uses the connections of `share`.
pub(crate) fn on_behalf_of(share: Share) {
    // Work without a deadline is nobody's.
    let _ = WORK.try_with(|work| work.share.set(Some(share)));
}

/// The deadline of the unit of work that begins now; `longest` applies where there is none.
pub(super) fn of_this_work(longest: Duration) -> Instant {
    WORK.try_with(|work| work.deadline)
        .unwrap_or_else(|_| Instant::now() + longest)
}

/// The share of the pools that the present work uses, if it is a user's.
pub(super) fn share_of_this_work() -> Option<Share> {
    WORK.try_with(|work| work.share.get()).ok().flatten()
}
