//! What the store knows about the work that uses it: until when, on whose behalf, and of which kind.
//!
//! A request's deadline is ahead of the answer to its client, so that the outcome of every
//! statement is known by then. It belongs to the task that works on the request
//! ([`within`]); work of nobody in particular, such as a job's, has a limit for each unit.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::admission::{Kind, Standing};
use super::client::{ClientWatch, on_behalf_of_client};
use super::shares::Share;

struct Work {
    deadline: Instant,
    claim: Cell<Claim>,
}

/// What the present work may ask of the pools.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Claim {
    /// The share that it uses, if it is a user's.
    pub share: Option<Share>,
    pub kind: Kind,
    pub standing: Standing,
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
    let request = Claim {
        standing: Standing::New,
        ..Claim::default()
    };
    on_behalf_of_client(client, with(deadline, request, work))
}

/// Runs `work`, whose statements end by `deadline`, on nobody's behalf.
pub(super) fn until<F: Future>(
    deadline: Instant,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    let nobody = ClientWatch::default();
    on_behalf_of_client(nobody, with(deadline, Claim::default(), work))
}

fn with<F: Future>(
    deadline: Instant,
    claim: Claim,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    let claim = Cell::new(claim);
    WORK.scope(Work { deadline, claim }, work)
}

/// From now on the present request uses the connections of `share`.
pub(crate) fn on_behalf_of(share: Share) {
    change_claim(|claim| Claim {
        share: Some(share),
        // To find out who asks was a statement of its own.
        standing: Standing::New,
        ..claim
    });
}

/// The present work is a search.
pub(super) fn this_work_searches() {
    change_claim(|claim| Claim {
        kind: Kind::Search,
        ..claim
    });
}

/// The present work has a connection, or will have one: if it is a request, it is not refused any
/// more.
pub(super) fn this_work_has_begun() {
    change_claim(|claim| Claim {
        standing: match claim.standing {
            Standing::Own => Standing::Own,
            Standing::New | Standing::Begun => Standing::Begun,
        },
        ..claim
    });
}

/// Work without a deadline is nobody's.
fn change_claim(change: impl FnOnce(Claim) -> Claim) {
    let _ = WORK.try_with(|work| work.claim.set(change(work.claim.get())));
}

/// The deadline of the unit of work that begins now; `longest` applies where there is none.
pub(super) fn of_this_work(longest: Duration) -> Instant {
    WORK.try_with(|work| work.deadline)
        .unwrap_or_else(|_| Instant::now() + longest)
}

/// What the present work may ask of the pools.
pub(super) fn claim_of_this_work() -> Claim {
    WORK.try_with(|work| work.claim.get()).unwrap_or_default()
}
