//! Who is next, and how long a caller will wait.
//!
//! Nothing here waits or looks at a clock, so tests can play any load.

use std::collections::VecDeque;
use std::time::Duration;

/// Who would wait longer for a turn is refused. Clients give up after some seconds, and what they
/// no longer wait for is the work that overloads a service.
pub(in crate::store) const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The same of who has to wait and would be done later than this.
const LONGEST_STAY: Duration = Duration::from_secs(4);

/// A statement that took longer than usual and than this has probably waited for a lock, which must
/// not count for a long time.
const UNUSUAL: Duration = Duration::from_millis(20);

/// One of so many turns may be a search's. Searches keep the processors of the database busy: more of
/// them at a time would all take longer, and those that have begun cannot be refused any more.
const SHARE_OF_SEARCHES: u32 = 4;

/// What is done in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::store) enum Kind {
    /// A statement that reads or changes some rows, or a transaction of a few.
    #[default]
    Statement,
    /// A search, which may read all tasks of a user.
    Search,
}

/// The callers that wait, each kind in a lane of its own.
///
/// If both lanes have callers, each gets half of the time, so a statement does not wait for the
/// searches that came before it.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    turns: u32,
    free: u32,
    by_kind: [Lane<T>; 2],
    last: u64,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<Waiting<T>>,
    /// Turns in use.
    running: u32,
    /// A moving average of the time for which a caller uses turns.
    average: Duration,
    /// The time that was given to the lane. Only the difference to the other lane has a meaning.
    given: Duration,
    /// How long the caller waited whose wait ended last, if that was in vain or unexpectedly long.
    last_wait: Duration,
}

#[derive(Debug)]
struct Waiting<T> {
    number: u64,
    /// Whether it has had a turn before.
    goes_on: bool,
    caller: T,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            running: 0,
            average: Duration::ZERO,
            given: Duration::ZERO,
            last_wait: Duration::ZERO,
        }
    }
}

impl<T> Lane<T> {
    /// The time that those take together which wait.
    fn work(&self) -> Duration {
        let count = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        self.average * count
    }
}

impl<T> Lanes<T> {
    /// `turns` callers have a turn at a time.
    pub fn new(turns: u32) -> Self {
        Self {
            turns,
            free: turns,
            by_kind: Default::default(),
            last: 0,
        }
    }

    pub fn free(&self) -> u32 {
        self.free
    }

    /// How many callers of a kind have a turn at a time at most.
    fn most(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Statement => self.turns,
            Kind::Search => self.turns.div_ceil(SHARE_OF_SEARCHES),
        }
    }

    fn may_run(&self, kind: Kind) -> bool {
        self.by_kind[kind as usize].running < self.most(kind)
    }

    /// Takes a turn, if there is one that nobody of this kind waits for.
    pub fn take_free(&mut self, kind: Kind) -> bool {
        let is_free = self.free > 0 && self.may_run(kind);
        self.free -= u32::from(is_free);
        self.by_kind[kind as usize].running += u32::from(is_free);
        is_free
    }

    /// How long a caller that arrives now will wait: for the work of its kind before it, or as long
    /// as the last one had to.
    pub fn expected_wait(&self, kind: Kind) -> Duration {
        let lane = &self.by_kind[kind as usize];
        if self.free > 0 && self.may_run(kind) {
            return Duration::ZERO;
        }
        // Until the first of those that have a turn is done.
        let most = self.most(kind);
        let first = lane.average * lane.running / (most * (most + 1));
        if lane.waiting.is_empty() {
            return first;
        }
        (first + self.work_before(kind)).max(lane.last_wait)
    }

    /// Whether a caller that arrives now would wait too long, and how long.
    pub fn refuses(&self, kind: Kind) -> Option<Duration> {
        let longest = LONGEST_STAY.saturating_sub(self.by_kind[kind as usize].average);
        let wait = self.expected_wait(kind);
        (wait > longest.min(LONGEST_WAIT)).then_some(wait)
    }

    /// Whether a caller that has waited for `waited` gives way at its turn, because those behind it
    /// would wait too long as well. That happens where less work was expected than there was.
    pub fn gives_way(&self, kind: Kind, waited: Duration) -> bool {
        waited > LONGEST_WAIT && self.work_before(kind) > LONGEST_WAIT
    }

    fn work_before(&self, kind: Kind) -> Duration {
        let own = self.by_kind[kind as usize].work();
        let all: Duration = self.by_kind.iter().map(Lane::work).sum();
        // The other lane gets as much time as this one, if it has that much work.
        (own.saturating_mul(2).min(all) / self.turns).max(own / self.most(kind))
    }

    /// Adds a caller, and returns its number. One that goes on gets its turn before those that
    /// have not begun.
    pub fn join(&mut self, kind: Kind, caller: T, goes_on: bool) -> u64 {
        let busiest = self.by_kind.iter().filter(|lane| !lane.waiting.is_empty());
        let given = busiest.map(|lane| lane.given).max().unwrap_or_default();
        let lane = &mut self.by_kind[kind as usize];
        if lane.waiting.is_empty() {
            // The time that it did not use is not made up for.
            lane.given = lane.given.max(given);
        }
        self.last += 1;
        let waiting = Waiting {
            number: self.last,
            goes_on,
            caller,
        };
        if goes_on {
            lane.waiting.push_front(waiting);
        } else {
            lane.waiting.push_back(waiting);
        }
        self.last
    }

    /// A caller's wait has ended, after `waited`: with a turn, or in vain.
    pub fn leave(&mut self, kind: Kind, number: u64, waited: Duration, has_turn: bool) {
        // The other lane may have taken half of the time.
        let is_expected = has_turn && waited <= LONGEST_WAIT * 2;
        let lane = &mut self.by_kind[kind as usize];
        lane.waiting.retain(|waiting| waiting.number != number);
        lane.last_wait = if is_expected { Duration::ZERO } else { waited };
    }

    /// Passes the turn of a caller that is done on to the next; if nobody may have it, it is free.
    pub fn pass_on(&mut self, done: Kind) -> Option<(Kind, T)> {
        self.by_kind[done as usize].running -= 1;
        let [statements, searches] = &self.by_kind;
        let no_statement = statements.waiting.is_empty();
        let no_search = searches.waiting.is_empty() || !self.may_run(Kind::Search);
        if no_statement && no_search {
            self.free += 1;
            return None;
        }
        let kind = if no_statement || !no_search && searches.given < statements.given {
            Kind::Search
        } else {
            Kind::Statement
        };
        let lane = &mut self.by_kind[kind as usize];
        let next = lane.waiting.pop_front()?;
        lane.running += 1;
        if !next.goes_on {
            // Where nothing is known yet, the lanes take turns.
            lane.given += lane.average.max(Duration::from_nanos(1));
        }
        Some((kind, next.caller))
    }

    /// A turn was used for `taken`, by a caller that had none before, or by one that goes on.
    pub fn record(&mut self, kind: Kind, taken: Duration, goes_on: bool) {
        let average = &mut self.by_kind[kind as usize].average;
        let counted = match kind {
            Kind::Statement => taken.min(average.saturating_mul(8).max(UNUSUAL)),
            Kind::Search => taken,
        };
        *average = if goes_on {
            *average + counted / 4
        } else if average.is_zero() {
            counted
        } else {
            (*average * 3 + counted) / 4
        };
    }
}

#[cfg(test)]
mod tests;
