//! The requests that wait, and the connections that they wait for.

use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::store::queue::Waiting;

use super::requests::{Request, Requests};
use super::width::{CONNECTION_WAIT, Load, Width};

pub(super) struct Line {
    state: Mutex<State>,
    /// Tells the collector that another connection may be used.
    has_room: Notify,
}

pub(super) struct State {
    pub requests: Requests,
    width: Width,
    pub load: Load,
    /// Whether a collector waits for a connection: always, if requests wait.
    pub is_collecting: bool,
}

impl State {
    /// Whether one more connection should be used, for requests of which the first has waited for
    /// `waited`.
    fn has_room(&self, waited: Duration) -> bool {
        let waiting = self.requests.len();
        self.width.has_room(self.load, waiting, waited)
    }
}

impl Line {
    /// A line for at most `most` connections.
    pub fn new(most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                requests: Requests::default(),
                width: Width::up_to(most),
                load: Load::default(),
                is_collecting: false,
            }),
            has_room: Notify::new(),
        }
    }

    /// Adds a request. Returns its number, and whether a collector has to be started.
    pub fn push(&self, waiting: Waiting, request: Request) -> (u64, bool) {
        let mut state = self.lock();
        let number = state.requests.push(waiting, request);
        let is_collecting = mem::replace(&mut state.is_collecting, true);
        let has_room = is_collecting && state.has_room(Duration::ZERO);
        drop(state);
        if has_room {
            self.has_room.notify_one();
        }
        (number, !is_collecting)
    }

    /// Waits until one more connection should be used, but not for long.
    pub async fn place(self: &Arc<Self>) -> Place {
        let begun = Instant::now();
        let mut time_passes = pin!(sleep(CONNECTION_WAIT));
        loop {
            let patience = {
                let mut state = self.lock();
                if state.has_room(begun.elapsed()) {
                    state.load.connections += 1;
                    return Place {
                        line: Arc::clone(self),
                        since: Instant::now(),
                        requests: 0,
                    };
                }
                state.width.patience()
            };
            // They have waited long enough for others, and wait for a connection.
            if time_passes.is_elapsed() {
                time_passes.as_mut().reset((begun + patience).into());
            }
            tokio::select! {
                () = self.has_room.notified() => {}
                () = &mut time_passes => {}
            }
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use.
pub(super) struct Place {
    line: Arc<Line>,
    since: Instant,
    /// For so many requests.
    requests: usize,
}

impl Place {
    /// The time before does not count.
    pub fn begin(&mut self) {
        self.since = Instant::now();
    }

    /// Takes the requests that use the connection.
    pub fn take_requests(&mut self) -> Vec<Request> {
        let mut state = self.line.lock();
        let requests = state.requests.take_batch();
        self.requests += requests.len();
        state.load.requests += requests.len();
        requests
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        state.load.connections -= 1;
        state.load.requests -= self.requests;
        state.width.record(self.since.elapsed());
        if state.is_collecting {
            self.line.has_room.notify_one();
        }
    }
}
