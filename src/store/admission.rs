//! Turns of work that shares connections: who waits, who is next, and who is refused.
//!
//! How long a caller will wait is known when it arrives, by the number of those before it and by
//! the time that work of their kind took lately. Who would wait for longer than [`LONGEST_WAIT`]
//! is refused at once, so what is queued when a load ends is soon done. Where the time was not known
//! yet, or has become longer, those that have waited for so long give way at their turn until the
//! rest of the line is within the limit.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::client::while_client_waits;

mod lanes;

use lanes::Lanes;
pub(super) use lanes::{Kind, LONGEST_WAIT};

/// What a caller may expect of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Standing {
    /// The daemon's own work, such as a job's. It is never refused.
    #[default]
    Own,
    /// A request that has not begun. It is refused if it would wait too long.
    New,
    /// A request that has had a turn. It gets the next one before others begin.
    Begun,
}

/// Why a caller gets no turn.
#[derive(Debug)]
pub(super) enum NoTurn {
    /// It would have to wait for so long.
    Refused(Duration),
    /// Its time is over. It has waited for so long.
    TimedOut(Duration),
    /// Its client has left.
    ClientLeft,
}

/// So many callers have a turn at a time. Cheap to clone.
#[derive(Clone)]
pub(super) struct Admission(Arc<Mutex<Lanes<oneshot::Sender<Turn>>>>);

impl Admission {
    pub fn new(turns: usize) -> Self {
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        Self(Arc::new(Mutex::new(Lanes::new(turns))))
    }

    /// Whether there is a turn that nobody waits for.
    pub fn is_free(&self) -> bool {
        self.lock().free() > 0
    }

    /// A turn that nobody waits for, if there is one.
    pub fn try_turn(&self, kind: Kind) -> Option<Turn> {
        let is_free = self.lock().take_free(kind);
        is_free.then(|| self.begin(kind))
    }

    /// How long a caller that arrives now will wait; zero if a turn is free.
    pub fn expected_wait(&self, kind: Kind) -> Duration {
        self.lock().expected_wait(kind)
    }

    /// Waits for a turn, at most until `deadline` and as long as the client does.
    pub async fn turn(
        &self,
        kind: Kind,
        standing: Standing,
        deadline: Option<Instant>,
    ) -> Result<Turn, NoTurn> {
        let (mut turn, waited) = match self.enter(kind, standing)? {
            Entered::Free(turn) => (turn, Duration::ZERO),
            Entered::Waiting(place) => place.turn(deadline).await?,
        };
        if standing == Standing::New && self.lock().gives_way(kind, waited) {
            return Err(NoTurn::Refused(waited));
        }
        turn.goes_on = standing == Standing::Begun;
        Ok(turn)
    }

    fn enter(&self, kind: Kind, standing: Standing) -> Result<Entered, NoTurn> {
        let mut lanes = self.lock();
        if lanes.take_free(kind) {
            return Ok(Entered::Free(self.begin(kind)));
        }
        if standing == Standing::New
            && let Some(wait) = lanes.refuses(kind)
        {
            return Err(NoTurn::Refused(wait));
        }
        let (sender, turn) = oneshot::channel();
        let number = lanes.join(kind, sender, standing == Standing::Begun);
        Ok(Entered::Waiting(Place {
            line: self.clone(),
            kind,
            number,
            since: Instant::now(),
            has_turn: false,
            turn,
        }))
    }

    fn begin(&self, kind: Kind) -> Turn {
        Turn {
            line: self.clone(),
            kind,
            goes_on: false,
            started: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes<oneshot::Sender<Turn>>> {
        // Nobody panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entered {
    Free(Turn),
    Waiting(Place),
}

/// A place in the line. It is given up when this is dropped. If the turn has come meanwhile, it is
/// dropped too, and passes on.
struct Place {
    line: Admission,
    kind: Kind,
    number: u64,
    since: Instant,
    has_turn: bool,
    turn: oneshot::Receiver<Turn>,
}

impl Place {
    /// The turn, and how long it was waited for.
    async fn turn(mut self, deadline: Option<Instant>) -> Result<(Turn, Duration), NoTurn> {
        let turn = &mut self.turn;
        let turn = pin!(async {
            match deadline {
                Some(deadline) => timeout_at(deadline.into(), turn).await.ok(),
                None => Some(turn.await),
            }
        });
        let turn = while_client_waits(turn).await;
        let waited = self.since.elapsed();
        match turn {
            Ok(Some(Ok(turn))) => {
                self.has_turn = true;
                Ok((turn, waited))
            }
            Ok(_) => Err(NoTurn::TimedOut(waited)),
            Err(_) => Err(NoTurn::ClientLeft),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        let mut lanes = self.line.lock();
        lanes.leave(self.kind, self.number, waited, self.has_turn);
    }
}

/// A turn. The next caller has it when this is dropped.
pub(super) struct Turn {
    line: Admission,
    kind: Kind,
    /// Whether its caller has had one before.
    goes_on: bool,
    started: Option<Instant>,
}

impl Turn {
    /// The work of the turn starts now: what it takes from now on is expected of the next ones. To
    /// open a connection is not part of it.
    pub fn start(&mut self) {
        self.started = Some(Instant::now());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut lanes = self.line.lock();
            if let Some(started) = self.started {
                lanes.record(self.kind, started.elapsed(), self.goes_on);
            }
            lanes.pass_on(self.kind)
        };
        if let Some((kind, caller)) = next {
            // If the caller is gone meanwhile, the turn that comes back passes on as well.
            let _ = caller.send(self.line.begin(kind));
        }
    }
}

#[cfg(test)]
mod tests;
