//! The load generator: many clients, each with a keep-alive connection, on at most two threads, as
//! pgbench has them here. A thread for each client would cost a switch of threads for each answer.
//!
//! With [`Pace::Closed`] a client sends its next request after the last answer: that finds the
//! highest rate. With [`Pace::Open`] requests are due at fixed times, and the latency counts from
//! then, also while the client still waits for the answer before: an answer that is late delays
//! those behind it, and all of that is measured (no coordinated omission).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::connection::{Connection, TIMEOUT};

/// Also of pgbench.
pub const MOST_THREADS: usize = 2;

/// How often a thread looks for answers that do not come, while nothing else happens.
const CHECK: Duration = Duration::from_secs(1);

/// A thread that waited may go on late because of the timer alone. Up to here, that is not the
/// daemon's latency.
const LATE_TIMER: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy)]
pub enum Pace {
    Closed,
    /// Requests a second, of all clients together.
    Open(f64),
}

/// Makes the requests of all clients.
pub trait Requests: Sync {
    /// Writes the next request to `into` and returns the status that is right; `None` if there
    /// are no more.
    fn next(&self, into: &mut Vec<u8>) -> Option<u16>;
}

pub struct Load {
    pub address: SocketAddr,
    pub clients: usize,
    pub pace: Pace,
    pub duration: Duration,
}

pub struct Outcome {
    pub answered: u64,
    /// Requests with another status than expected, or without an answer.
    pub failed: u64,
    /// Until the last answer.
    pub elapsed: Duration,
    /// In nanoseconds.
    pub latency: Histogram<u64>,
}

impl Outcome {
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds.
    pub fn percentile(&self, percent: f64) -> f64 {
        self.latency.value_at_quantile(percent / 100.0) as f64 / 1e3
    }
}

impl Load {
    pub fn run(&self, requests: &dyn Requests) -> Result<Outcome> {
        let threads = self.clients.min(MOST_THREADS);
        let start = Barrier::new(threads);
        let parts = thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|thread| {
                    let start = &start;
                    scope.spawn(move || {
                        let clients = (thread..self.clients).step_by(threads);
                        let group = Group::connect(self, clients, requests);
                        start.wait();
                        group?.run()
                    })
                })
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().map_err(|_| anyhow!("a client panicked"))?
            };
            running.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        let mut parts = parts.into_iter();
        let mut all = parts.next().context("a load has at least one client")?;
        for part in parts {
            all.answered += part.answered;
            all.failed += part.failed;
            all.elapsed = all.elapsed.max(part.elapsed);
            all.latency.add(&part.latency)?;
        }
        Ok(all)
    }
}

struct Client {
    number: usize,
    /// How many requests were due before the next one.
    turn: u32,
    connection: Connection,
    asked: Option<Asked>,
}

/// A request that is not answered yet.
struct Asked {
    /// The latency counts from then.
    due: Instant,
    /// The status that is right.
    expected: u16,
}

/// The clients of one thread.
struct Group<'a> {
    load: &'a Load,
    requests: &'a dyn Requests,
    clients: Vec<Client>,
    epoll: OwnedFd,
    /// When clients that wait for their turn send their next request.
    turns: BinaryHeap<Reverse<(Instant, usize)>>,
    /// How many clients wait for an answer.
    asked: usize,
    started: Instant,
    outcome: Outcome,
    request: Vec<u8>,
}

impl<'a> Group<'a> {
    fn connect(
        load: &'a Load,
        numbers: impl Iterator<Item = usize>,
        requests: &'a dyn Requests,
    ) -> Result<Self> {
        let mut group = Self {
            load,
            requests,
            clients: Vec::new(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            turns: BinaryHeap::new(),
            asked: 0,
            started: Instant::now(),
            outcome: Outcome {
                answered: 0,
                failed: 0,
                elapsed: Duration::ZERO,
                // Three significant digits, up to a minute.
                latency: Histogram::new_with_bounds(1, 60_000_000_000, 3)?,
            },
            request: Vec::new(),
        };
        for number in numbers {
            let connection = group.open(group.clients.len())?;
            group.clients.push(Client {
                number,
                turn: 0,
                connection,
                asked: None,
            });
        }
        Ok(group)
    }

    /// Opens the connection of the client at `index`.
    fn open(&self, index: usize) -> Result<Connection> {
        let connection = Connection::open(self.load.address)?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &connection, data, epoll::EventFlags::IN)?;
        Ok(connection)
    }

    fn run(mut self) -> Result<Outcome> {
        self.started = Instant::now();
        for index in 0..self.clients.len() {
            self.next(index);
        }
        let mut events = Vec::with_capacity(self.clients.len());
        while self.asked > 0 || !self.turns.is_empty() {
            let pause = match self.turns.peek() {
                Some(Reverse((turn, _))) => turn.saturating_duration_since(Instant::now()),
                None => CHECK,
            };
            events.clear();
            let pause = Timespec::try_from(pause)?;
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&pause)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.take_turns();
            for event in &events {
                self.receive(usize::try_from(event.data.u64())?)?;
            }
            if events.is_empty() {
                self.give_up()?;
            }
        }
        self.outcome.elapsed = self.started.elapsed();
        Ok(self.outcome)
    }

    /// Sends a client's next request, or plans it, if there is time for one.
    fn next(&mut self, index: usize) {
        let now = Instant::now();
        let client = &mut self.clients[index];
        let due = match self.load.pace {
            Pace::Closed => now,
            Pace::Open(rate) => {
                let before = f64::from(client.turn) * self.load.clients as f64;
                let before = before + client.number as f64;
                self.started + Duration::from_secs_f64(before / rate)
            }
        };
        client.turn += 1;
        if due >= self.started + self.load.duration {
            return;
        }
        if due > now {
            self.turns.push(Reverse((due, index)));
        } else {
            self.ask(index, due);
        }
    }

    /// Sends the requests whose turn has come.
    fn take_turns(&mut self) {
        while let Some(Reverse((due, index))) = self.turns.peek().copied() {
            let now = Instant::now();
            if due > now {
                break;
            }
            self.turns.pop();
            let is_late = now - due >= LATE_TIMER;
            self.ask(index, if is_late { due } else { now });
        }
    }

    /// Sends a request whose latency counts from `due`.
    fn ask(&mut self, index: usize, due: Instant) {
        self.request.clear();
        let Some(expected) = self.requests.next(&mut self.request) else {
            return;
        };
        let client = &mut self.clients[index];
        // An error is found again where the answer is read.
        let _ = client.connection.send(&self.request);
        client.asked = Some(Asked { due, expected });
        self.asked += 1;
    }

    /// Reads what has arrived for a client.
    fn receive(&mut self, index: usize) -> Result<()> {
        let client = &mut self.clients[index];
        let status = match client.connection.receive() {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => status,
            Err(_) => return self.fail(index),
        };
        if let Some(Asked { due, expected }) = client.asked.take() {
            self.asked -= 1;
            self.outcome.answered += 1;
            self.outcome.failed += u64::from(status != expected);
            let taken = due.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
            self.outcome.latency.saturating_record(taken);
            self.next(index);
        }
        Ok(())
    }

    /// The connection of a client is of no further use: its request is not answered.
    fn fail(&mut self, index: usize) -> Result<()> {
        let connection = self.open(index)?;
        let client = &mut self.clients[index];
        client.connection = connection;
        if client.asked.take().is_some() {
            self.asked -= 1;
            self.outcome.failed += 1;
            self.next(index);
        }
        Ok(())
    }

    /// Does not wait for answers any longer that are overdue.
    fn give_up(&mut self) -> Result<()> {
        for index in 0..self.clients.len() {
            let asked = self.clients[index].asked.as_ref();
            if asked.is_some_and(|asked| asked.due.elapsed() > TIMEOUT) {
                self.fail(index)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
