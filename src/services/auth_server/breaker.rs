//! Leaves a server alone that fails again and again, so that nobody waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Timestamp;

use super::has_passed;

/// Failures in a row after which the server is left alone.
const FAILURES: u32 = 5;

/// How long it is left alone before one question tries it again.
const REST: Duration = Duration::from_secs(5);

/// Closed: everything passes. Open: nothing does. After [`REST`] one question passes,
/// and its outcome closes the breaker or keeps it open.
///
/// It goes by the injected clock, as everything does that may expire.
pub(super) struct Breaker {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    opened_at: Option<Timestamp>,
    probing: bool,
}

/// Leave to ask once. Dropped without an outcome it tells nothing about the server.
pub(super) struct Leave<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Breaker {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    /// Whether a question may be put now.
    pub fn leave(&self) -> Option<Leave<'_>> {
        let mut state = self.state();
        let probe = state.opened_at.is_some();
        if probe {
            if self.rests(&state) {
                return None;
            }
            state.probing = true;
        }
        Some(Leave {
            breaker: self,
            probe,
        })
    }

    /// Whether there is no point in waiting for one's turn.
    pub fn is_open(&self) -> bool {
        self.rests(&self.state())
    }

    fn rests(&self, state: &State) -> bool {
        state
            .opened_at
            .is_some_and(|at| state.probing || !has_passed(at, REST, self.clock.now()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment or complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leave<'_> {
    /// The server answered.
    pub fn succeeded(self) {
        let mut state = self.breaker.state();
        state.failures = 0;
        if state.opened_at.take().is_some() {
            tracing::info!("the auth server answers again");
        }
    }

    /// It did not.
    pub fn failed(self) {
        let mut state = self.breaker.state();
        state.failures = state.failures.saturating_add(1);
        if self.probe || state.failures >= FAILURES {
            if state.opened_at.is_none() {
                tracing::warn!(
                    failures = state.failures,
                    "the auth server fails and is left alone for {} s at a time",
                    REST.as_secs()
                );
            }
            state.opened_at = Some(self.breaker.clock.now());
        }
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.state().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Breaker) {
        breaker.leave().unwrap().failed();
    }

    #[test]
    fn opens_probes_and_closes() {
        let start = Timestamp::from_micros(0).unwrap();
        let clock = Clock::fixed(start);
        let breaker = Breaker::new(clock.clone());
        for _ in 1..FAILURES {
            fail(&breaker);
        }
        // A success in between starts the count anew.
        breaker.leave().unwrap().succeeded();
        for _ in 0..FAILURES {
            assert!(!breaker.is_open());
            fail(&breaker);
        }
        assert!(breaker.is_open() && breaker.leave().is_none());

        clock.set(start.saturating_add(REST));
        let probe = breaker.leave().unwrap();
        // One probe at a time; one that is given up makes room for the next.
        assert!(breaker.is_open() && breaker.leave().is_none());
        drop(probe);
        fail(&breaker);
        assert!(breaker.leave().is_none());

        clock.set(start.saturating_add(REST * 2));
        breaker.leave().unwrap().succeeded();
        assert!(breaker.leave().is_some_and(|leave| !leave.probe));
    }

    #[test]
    fn a_clock_set_back_does_not_keep_it_open() {
        let start = Timestamp::from_micros(3_600_000_000).unwrap();
        let clock = Clock::fixed(start);
        let breaker = Breaker::new(clock.clone());
        for _ in 0..FAILURES {
            fail(&breaker);
        }
        clock.set(Timestamp::from_micros(0).unwrap());
        assert!(breaker.leave().is_some());
    }
}
