//! The load generator: one thread and one blocking keep-alive connection for each client.
//!
//! With [`Pace::Closed`] a client sends its next request after the last answer: that finds the
//! highest rate. With [`Pace::Open`] requests are due at fixed times, and the latency counts from
//! then, also while the client still waits for the answer before: an answer that is late delays
//! those behind it, and all of that is measured (no coordinated omission).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;

/// Longer than every time limit of the daemon.
const TIMEOUT: Duration = Duration::from_secs(40);

/// A thread that slept may wake late because of the timer alone. Up to here, that is not the
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
        let start = Barrier::new(self.clients);
        let parts = thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|number| {
                    let start = &start;
                    scope.spawn(move || self.client(number, start, requests))
                })
                .collect();
            let join = |client: thread::ScopedJoinHandle<'_, _>| {
                client.join().map_err(|_| anyhow!("a client panicked"))?
            };
            clients.into_iter().map(join).collect::<Result<Vec<_>>>()
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

    fn client(&self, number: usize, start: &Barrier, requests: &dyn Requests) -> Result<Outcome> {
        // Three significant digits, up to a minute.
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        let mut outcome = Outcome {
            answered: 0,
            failed: 0,
            elapsed: Duration::ZERO,
            latency,
        };
        let mut request = Vec::new();
        let connection = Connection::open(self.address);
        start.wait();
        let mut connection = connection?;
        let started = Instant::now();
        for turn in 0.. {
            let Some(due) = self.await_turn(started, number, turn) else {
                break;
            };
            request.clear();
            let Some(expected) = requests.next(&mut request) else {
                break;
            };
            match connection.exchange(&request) {
                Ok(status) => {
                    outcome.answered += 1;
                    outcome.failed += u64::from(status != expected);
                    let taken = due.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
                    outcome.latency.saturating_record(taken);
                }
                Err(_) => {
                    outcome.failed += 1;
                    connection = Connection::open(self.address)?;
                }
            }
        }
        outcome.elapsed = started.elapsed();
        Ok(outcome)
    }

    /// Waits until the client's next request is due and returns when that was; `None` at the end.
    fn await_turn(&self, started: Instant, client: usize, turn: u32) -> Option<Instant> {
        let end = started + self.duration;
        let Pace::Open(rate) = self.pace else {
            let now = Instant::now();
            return (now < end).then_some(now);
        };
        let number = f64::from(turn) * self.clients as f64 + client as f64;
        let due = started + Duration::from_secs_f64(number / rate);
        if due >= end {
            return None;
        }
        let early = due.saturating_duration_since(Instant::now());
        if early.is_zero() {
            return Some(due);
        }
        thread::sleep(early);
        let late = due.elapsed();
        Some(if late < LATE_TIMER { due + late } else { due })
    }
}

/// A keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connecting to the daemon")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self {
            stream,
            received: vec![0; 64 * 1024],
        })
    }

    /// Sends a request, reads the whole answer, and returns its status.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            if filled == self.received.len() {
                self.received.resize(2 * filled, 0);
            }
            match self.stream.read(&mut self.received[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
            if let Some((status, length)) = head(&self.received[..filled])? {
                let missing = length.saturating_sub(filled);
                if self.received.len() < length {
                    self.received.resize(length, 0);
                }
                self.stream
                    .read_exact(&mut self.received[filled..filled + missing])?;
                return Ok(status);
            }
        }
    }
}

/// The status and the length of the whole answer, if its head has arrived. Every answer of the
/// daemon to these requests has its length in the head.
fn head(bytes: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let httparse::Status::Complete(size) = response.parse(bytes).map_err(invalid)? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    let status = response.code.unwrap_or_default();
    Ok(Some((status, size + length.unwrap_or(0))))
}
