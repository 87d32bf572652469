//! Requests that wait for a connection.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::domain::TaskId;
use crate::store::arg::Arg;
use crate::store::error::StoreError;
use crate::store::row::QueryResult;
use crate::store::sql::Sql;
use crate::store::waits::Waiting;

use super::statement::Batched;

/// The most requests that share a statement or a transaction.
pub(super) const LARGEST: usize = 64;

/// A statement that waits.
pub(super) struct Request {
    pub work: Work,
    /// Whose it is; nobody's if empty.
    pub owner: String,
    /// The task that it changes. Two changes of a task do not share a statement, which would make
    /// only one of them.
    pub task: Option<TaskId>,
    /// The arguments of the statement for one request.
    pub args: Vec<Arg<'static>>,
    /// When it must have ended.
    pub deadline: Instant,
    /// When it gives up waiting.
    pub expires: Instant,
    pub answer: oneshot::Sender<Outcome>,
}

/// What is to be done together with other requests.
pub(super) enum Work {
    /// One statement for all of them, on PostgreSQL.
    Shared(&'static Batched),
    /// One transaction for all of them, on SQLite.
    Grouped(Sql),
}

impl Work {
    fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Shared(one), Self::Shared(other)) => std::ptr::eq(*one, *other),
            (Self::Grouped(_), Self::Grouped(_)) => true,
            _ => false,
        }
    }
}

/// What became of a request that waited.
pub(super) enum Outcome {
    Done(QueryResult),
    Failed(StoreError),
    /// Nothing was done; it runs its statement by itself.
    Alone,
}

impl Request {
    pub fn end(self, outcome: Outcome) {
        // A caller that is gone does not want to know.
        let _ = self.answer.send(outcome);
    }
}

/// The requests, and each one's wait.
#[derive(Default)]
pub(super) struct Queue(VecDeque<(Waiting, Request)>);

impl Queue {
    pub fn push(&mut self, waiting: Waiting, request: Request) {
        self.0.push_back((waiting, request));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all requests.
    pub fn take_all(&mut self) -> Vec<Request> {
        self.take_if(|_, _| true)
    }

    /// Takes those that have waited for too long.
    pub fn take_expired(&mut self, now: Instant) -> Vec<Request> {
        self.take_if(|_, request| request.expires <= now)
    }

    /// Takes the requests that run together next: those that do the same as the first one, in
    /// their order.
    ///
    /// If they are too many, each owner gets a place before another gets a second one.
    pub fn take_batch(&mut self) -> Vec<Request> {
        self.0.retain(|(_, request)| !request.answer.is_closed());
        let mut chosen = Vec::new();
        let mut changed = HashSet::new();
        for (index, (_, request)) in self.0.iter().enumerate() {
            let is_first_change = request
                .task
                .is_none_or(|task| changed.insert((request.owner.as_str(), task)));
            if is_first_change && request.work.fits(&self.0[0].1.work) {
                chosen.push(index);
            }
        }
        if chosen.len() > LARGEST {
            let mut turns: HashMap<&str, usize> = HashMap::new();
            chosen.sort_by_cached_key(|index| {
                let turn = turns.entry(self.0[*index].1.owner.as_str()).or_default();
                *turn += 1;
                *turn
            });
            chosen.truncate(LARGEST);
            chosen.sort_unstable();
        }
        let mut chosen = chosen.into_iter().peekable();
        self.take_if(|index, _| chosen.next_if_eq(&index).is_some())
    }

    fn take_if(&mut self, mut condition: impl FnMut(usize, &Request) -> bool) -> Vec<Request> {
        let mut taken = Vec::new();
        for (index, (waiting, request)) in std::mem::take(&mut self.0).into_iter().enumerate() {
            if condition(index, &request) {
                waiting.end();
                taken.push(request);
            } else {
                self.0.push_back((waiting, request));
            }
        }
        taken
    }
}
