//! A circuit breaker: after repeated failures, requests fail at once instead of waiting for the
//! server.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Timestamp;

use super::age::has_passed;

/// Consecutive failures that open the breaker.
const FAILURES: u32 = 5;

/// How long the breaker stays open before it lets one request pass.
const OPEN_TIME: Duration = Duration::from_secs(5);

/// Closed: every request passes. Open: none does. After [`OPEN_TIME`] one request passes, whose
/// outcome closes the breaker or keeps it open.
///
/// It uses the injected clock, which published crates do not.
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

/// Permission for one request. Dropped without an outcome, it counts neither as success nor as
/// failure.
pub(super) struct Attempt<'a> {
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

    /// Permission for a request, if one may be sent now.
    pub fn attempt(&self) -> Option<Attempt<'_>> {
        let mut state = self.state();
        let probe = state.opened_at.is_some();
        if probe {
            if self.is_open_in(&state) {
                return None;
            }
            state.probing = true;
        }
        Some(Attempt {
            breaker: self,
            probe,
        })
    }

    pub fn is_open(&self) -> bool {
        self.is_open_in(&self.state())
    }

    /// Whether the newest requests failed: it is open, or the next request decides.
    pub fn has_opened(&self) -> bool {
        self.state().opened_at.is_some()
    }

    fn is_open_in(&self, state: &State) -> bool {
        state
            .opened_at
            .is_some_and(|at| state.probing || !has_passed(at, OPEN_TIME, self.clock.now()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The server answered.
    pub fn succeeded(self) {
        let mut state = self.breaker.state();
        state.failures = 0;
        if state.opened_at.take().is_some() {
            tracing::info!("the auth server answers again");
        }
    }

    /// The server failed.
    pub fn failed(self) {
        let mut state = self.breaker.state();
        state.failures = state.failures.saturating_add(1);
        if self.probe || state.failures >= FAILURES {
            if state.opened_at.is_none() {
                tracing::warn!(
                    failures = state.failures,
                    "the auth server keeps failing; retrying every {} s",
                    OPEN_TIME.as_secs()
                );
            }
            state.opened_at = Some(self.breaker.clock.now());
        }
    }
}

impl Drop for Attempt<'_> {
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
        breaker.attempt().unwrap().failed();
    }

    #[test]
    fn opens_probes_and_closes() {
        let start = Timestamp::from_micros(0).unwrap();
        let clock = Clock::fixed(start);
        let breaker = Breaker::new(clock.clone());
        for _ in 1..FAILURES {
            fail(&breaker);
        }
        // A success resets the count.
        breaker.attempt().unwrap().succeeded();
        for _ in 0..FAILURES {
            assert!(!breaker.is_open());
            fail(&breaker);
        }
        assert!(breaker.is_open() && breaker.attempt().is_none());
        assert!(breaker.has_opened());

        clock.set(start.saturating_add(OPEN_TIME));
        let probe = breaker.attempt().unwrap();
        // One request at a time; dropping it lets the next one pass.
        assert!(breaker.is_open() && breaker.attempt().is_none());
        drop(probe);
        fail(&breaker);
        assert!(breaker.attempt().is_none());

        clock.set(start.saturating_add(OPEN_TIME * 2));
        breaker.attempt().unwrap().succeeded();
        assert!(!breaker.has_opened());
        assert!(breaker.attempt().is_some_and(|attempt| !attempt.probe));
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
        assert!(breaker.attempt().is_some());
    }
}
