//! Requests that wait for a connection.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::store::arg::Arg;
use crate::store::error::StoreError;
use crate::store::queue::{Waiting, leave_together};
use crate::store::row::QueryResult;
use crate::store::shares::Share;
use crate::store::sql::Sql;

use super::statement::{Batched, Several};

/// The most requests that share a transaction.
const MOST_GROUPED: usize = 64;

/// A statement that waits.
pub(super) struct Request {
    /// Given by [`Requests::push`].
    pub number: u64,
    pub work: Work,
    /// Whose it is.
    pub share: Option<Share>,
    /// The arguments of the statement for one request.
    pub args: Vec<Arg<'static>>,
    /// When it must have ended.
    pub deadline: Instant,
    /// When it gives up waiting.
    pub expires: Instant,
    /// Where its caller is.
    pub runtime: Handle,
    pub answer: oneshot::Sender<Outcome>,
}

/// What is to be done together with other requests.
pub(super) enum Work {
    /// One statement for all of them, on PostgreSQL.
    Shared(&'static Batched),
    /// One transaction for all of them, on SQLite.
    Grouped(Sql, Option<&'static Batched>),
}

impl Work {
    /// The most requests that run together.
    fn most(&self) -> usize {
        match self {
            Self::Shared(batched) => batched.most,
            Self::Grouped(..) => MOST_GROUPED,
        }
    }

    fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Shared(one), Self::Shared(other)) => std::ptr::eq(*one, *other),
            (Self::Grouped(..), Self::Grouped(..)) => true,
            _ => false,
        }
    }

    pub fn writes(&self) -> bool {
        match self {
            Self::Shared(batched) => batched.writes,
            Self::Grouped(..) => true,
        }
    }

    /// The statement for several requests, if there is one.
    pub fn several(&self) -> Option<Several> {
        match self {
            Self::Shared(batched) => Some(batched.several()),
            Self::Grouped(_, batched) => batched.and_then(Batched::several_in_json),
        }
    }

    /// The statement for one request.
    pub fn single(&self) -> Sql {
        match self {
            Self::Shared(batched) => batched.single.clone(),
            Self::Grouped(sql, _) => sql.clone(),
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

/// Ends requests. Those of another runtime are ended by one task there: to wake each of them from
/// here would take a system call for each.
pub(super) fn end(outcomes: impl Iterator<Item = (Request, Outcome)>) {
    let here = Handle::current().id();
    let (own, others): (Vec<_>, Vec<_>) =
        outcomes.partition(|(request, _)| request.runtime.id() == here);
    let mut elsewhere: HashMap<_, Vec<_>> = HashMap::new();
    for (request, outcome) in others {
        let of_runtime = elsewhere.entry(request.runtime.id()).or_default();
        of_runtime.push((request, outcome));
    }
    for of_runtime in elsewhere.into_values() {
        let runtime = of_runtime[0].0.runtime.clone();
        runtime.spawn(async move { end_all(of_runtime) });
    }
    end_all(own);
}

fn end_all(outcomes: Vec<(Request, Outcome)>) {
    for (request, outcome) in outcomes {
        request.end(outcome);
    }
}

/// Separates the requests that have less than half of the time that others have.
pub(super) fn split_hurried(requests: Vec<Request>, now: Instant) -> (Vec<Request>, Vec<Request>) {
    let left = |request: &Request| request.deadline.saturating_duration_since(now);
    let longest = requests.iter().map(left).max().unwrap_or_default();
    requests
        .into_iter()
        .partition(|request| left(request) < longest / 2)
}

/// The requests, and each one's wait.
#[derive(Default)]
pub(super) struct Requests {
    line: VecDeque<(Waiting, Request)>,
    last: u64,
}

impl Requests {
    /// Adds a request, and returns its number.
    pub fn push(&mut self, waiting: Waiting, mut request: Request) -> u64 {
        self.last += 1;
        request.number = self.last;
        self.line.push_back((waiting, request));
        self.last
    }

    /// Takes a request out, if it still waits.
    pub fn withdraw(&mut self, number: u64) -> bool {
        let place = self.line.iter().position(|(_, one)| one.number == number);
        place.and_then(|place| self.line.remove(place)).is_some()
    }

    pub fn len(&self) -> usize {
        self.line.len()
    }

    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
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
    /// If they are too many, each user gets a place before another gets a second one.
    pub fn take_batch(&mut self) -> Vec<Request> {
        self.line.retain(|(_, request)| !request.answer.is_closed());
        let mut chosen: Vec<_> = (0..self.line.len())
            .filter(|&index| self.line[index].1.work.fits(&self.line[0].1.work))
            .collect();
        let most = self.line.front().map_or(0, |(_, first)| first.work.most());
        if chosen.len() > most {
            let mut turns: HashMap<_, usize> = HashMap::new();
            chosen.sort_by_cached_key(|index| {
                let turn = turns.entry(self.line[*index].1.share).or_default();
                *turn += 1;
                *turn
            });
            chosen.truncate(most);
            chosen.sort_unstable();
        }
        let mut chosen = chosen.into_iter().peekable();
        self.take_if(|index, _| chosen.next_if_eq(&index).is_some())
    }

    fn take_if(&mut self, mut condition: impl FnMut(usize, &Request) -> bool) -> Vec<Request> {
        let (mut waits, mut taken) = (Vec::new(), Vec::new());
        for (index, (waiting, request)) in std::mem::take(&mut self.line).into_iter().enumerate() {
            if condition(index, &request) {
                waits.push(waiting);
                taken.push(request);
            } else {
                self.line.push_back((waiting, request));
            }
        }
        leave_together(waits.into_iter());
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::UserId;
    use crate::store::batch::statement::Answers;
    use crate::store::queue::Queue;

    static READ: Batched = Batched {
        single: Sql::Common("read"),
        several: "read several",
        several_in_json: None,
        most: 4,
        writes: false,
        answers: Answers::Numbered,
    };

    static CHANGE: Batched = Batched {
        single: Sql::Common("change"),
        several: "change several",
        several_in_json: None,
        most: 4,
        writes: true,
        answers: Answers::NumberedIfFree,
    };

    #[derive(Default)]
    struct Line {
        requests: Requests,
        queue: Queue,
        callers: Vec<oneshot::Receiver<Outcome>>,
    }

    impl Line {
        /// Adds a request; its number is its only argument.
        fn add(&mut self, statement: &'static Batched, owner: &str) {
            let (answer, caller) = oneshot::channel();
            let number = i64::try_from(self.callers.len()).unwrap();
            self.callers.push(caller);
            let now = Instant::now();
            let request = Request {
                number: 0,
                work: Work::Shared(statement),
                share: Some(Share::of(&UserId::new(owner).unwrap())),
                args: vec![number.into()],
                deadline: now + Duration::from_secs(19),
                expires: now + Duration::from_secs(5),
                runtime: Handle::current(),
                answer,
            };
            self.requests.push(self.queue.enter(), request);
        }

        fn take(&mut self) -> Vec<i64> {
            numbers(self.requests.take_batch())
        }
    }

    fn numbers(requests: Vec<Request>) -> Vec<i64> {
        let number = |request: Request| match request.args[..] {
            [Arg::Int(Some(number))] => number,
            _ => unreachable!("each has a number"),
        };
        requests.into_iter().map(number).collect()
    }

    #[tokio::test]
    async fn those_that_do_the_same_run_together_in_their_order() {
        let mut line = Line::default();
        for statement in [&READ, &CHANGE, &READ, &CHANGE, &READ] {
            line.add(statement, "a");
        }
        assert_eq!(line.take(), [0, 2, 4]);
        assert_eq!(line.queue.waiting(), 2);
        assert_eq!(line.take(), [1, 3]);
        assert!(line.requests.is_empty() && line.take().is_empty());
        assert_eq!(line.queue.waiting(), 0);
    }

    #[tokio::test]
    async fn a_flood_of_one_user_leaves_places_for_the_others() {
        let mut line = Line::default();
        for _ in 0..100 {
            line.add(&READ, "flood");
        }
        line.add(&READ, "b");
        line.add(&READ, "c");
        assert_eq!(line.take(), [0, 1, 100, 101]);
        assert_eq!(line.take(), [2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn callers_that_are_gone_are_left_out() {
        let mut line = Line::default();
        for _ in 0..4 {
            line.add(&READ, "a");
        }
        line.callers.remove(2);
        line.callers.remove(0);
        assert_eq!(line.take(), [1, 3]);
        assert_eq!(line.queue.waiting(), 0);
    }

    #[tokio::test]
    async fn one_that_waits_can_be_withdrawn() {
        let mut line = Line::default();
        for _ in 0..6 {
            line.add(&READ, "a");
        }
        // Their numbers count from one.
        assert!(line.requests.withdraw(2));
        assert!(!line.requests.withdraw(2), "only once");
        assert_eq!(line.take(), [0, 2, 3, 4]);
        assert!(!line.requests.withdraw(1), "it has begun");
        assert_eq!(line.queue.waiting(), 1);
    }

    #[tokio::test]
    async fn those_that_waited_too_long_are_told() {
        let mut line = Line::default();
        line.add(&READ, "a");
        assert!(line.requests.take_expired(Instant::now()).is_empty());
        let later = Instant::now() + Duration::from_secs(6);
        assert_eq!(numbers(line.requests.take_expired(later)), [0]);
        assert!(line.requests.is_empty());
    }
}
