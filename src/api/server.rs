//! The listeners: connection limits, graceful shutdown.
//!
//! hyper serves warp's filter ([`super::connection`]), because warp's own server has neither.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::config::{Config, Remedy};

use super::connection;
use super::context::ApiContext;
use super::endpoint::Listener;
use super::endpoints::{ENDPOINTS, SUBTREES};
use super::pipeline::App;
use super::router::{RouteError, Router};
use super::slots::{SPARE, Slots};
use super::unsent::Unsent;
use super::workers::Workers;

/// Connections beyond this are for probes only.
const MAX_CONNECTIONS: usize = 12_288;

/// Files and sockets that are not client connections: databases, logs, listeners.
const RESERVED_FILES: u64 = 256;

/// So much of an answer the kernel takes before the client does, in bytes; it would take megabytes.
const SEND_BUFFER: u32 = 128 * 1024;

/// How many connections the kernel queues while all workers are busy.
const BACKLOG: u32 = 1024;

/// Why the daemon could not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// `HOST` and `PORT`, or `METRICS_ADDR`.
        address: SocketAddr,
        /// Whether it is `METRICS_ADDR`.
        is_metrics: bool,
        /// The system's error.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start the worker threads: {0}")]
    Threads(#[source] io::Error),
    /// The table of endpoints is not valid, which is a bug.
    #[error("the table of endpoints is not valid: {0}")]
    Routes(#[from] RouteError),
}

impl ServeError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        let (address, is_metrics, source) = match self {
            Self::Listen {
                address,
                is_metrics,
                source,
            } => (address, *is_metrics, source),
            Self::Threads(_) => return Remedy::set("WORKERS", 1),
            Self::Routes(_) => return Remedy::note("report this as a bug"),
        };
        let port = address.port();
        let next = port.checked_add(1).unwrap_or(8000);
        if is_metrics {
            return metrics_remedy(*address, next, source.kind());
        }
        match source.kind() {
            io::ErrorKind::AddrInUse => Remedy::note(format!(
                "to keep the port, stop the program that ss -ltnp 'sport = :{port}' names; otherwise:"
            ))
            .then(Remedy::set("PORT", next)),
            io::ErrorKind::PermissionDenied => {
                Remedy::note("ports below 1024 need privileges").then(Remedy::set("PORT", 8000))
            }
            io::ErrorKind::AddrNotAvailable => {
                Remedy::note("HOST is not an address of this machine; 0.0.0.0 are all of them, 127.0.0.1 is for this machine only")
                    .then(Remedy::set("HOST", "0.0.0.0"))
            }
            _ => Remedy::note("correct HOST and PORT"),
        }
    }
}

/// For `METRICS_ADDR`, which must not move the API.
fn metrics_remedy(address: SocketAddr, next: u16, kind: io::ErrorKind) -> Remedy {
    let (note, other) = match kind {
        io::ErrorKind::AddrInUse => (
            "METRICS_ADDR needs a port of its own, which neither PORT nor another program has",
            SocketAddr::new(address.ip(), next),
        ),
        io::ErrorKind::PermissionDenied => (
            "ports below 1024 need privileges",
            SocketAddr::new(address.ip(), 9090),
        ),
        io::ErrorKind::AddrNotAvailable => (
            "METRICS_ADDR is not an address of this machine",
            SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port()),
        ),
        _ => return Remedy::note("correct METRICS_ADDR"),
    };
    Remedy::note(note).then(Remedy::set("METRICS_ADDR", other))
}

/// A daemon that listens but does not answer yet.
pub struct Server {
    /// Each listener and what it serves.
    listeners: Vec<(TcpListener, App)>,
    workers: Arc<Workers>,
    context: ApiContext,
    keepalive: Duration,
    proxies: Vec<IpNet>,
    shutdown_delay: Duration,
    shutdown_grace: Duration,
}

impl Server {
    /// Listens on the port, and on `METRICS_ADDR` if it is set. The present runtime is the first of
    /// `WORKERS`.
    pub fn bind(config: &Config, context: ApiContext) -> Result<Self, ServeError> {
        let metrics_addr = config.telemetry.metrics_addr;
        let app = |serves: &dyn Fn(Listener) -> bool| {
            let endpoints = ENDPOINTS.iter().filter(|one| serves(one.options.listener));
            let router = Router::new(endpoints, SUBTREES)?;
            Ok::<_, RouteError>(App::new(context.clone(), router))
        };
        let address = SocketAddr::new(config.http.host, config.http.port);
        let is_split = metrics_addr.is_some();
        let public = app(&|listener| listener == Listener::Public || !is_split)?;
        let mut listeners = vec![(listen(address, false)?, public)];
        if let Some(address) = metrics_addr {
            let metrics = app(&|listener| listener == Listener::Metrics)?;
            listeners.push((listen(address, true)?, metrics));
        }
        let workers = Workers::start(config.http.workers).map_err(ServeError::Threads)?;
        Ok(Self {
            listeners,
            workers: Arc::new(workers),
            context,
            keepalive: config.http.keepalive,
            proxies: config.auth.trusted_proxies.clone(),
            shutdown_delay: config.http.shutdown_delay,
            shutdown_grace: config.http.shutdown_grace,
        })
    }

    /// The address of the public listener, with its real port if PORT is 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match self.listeners.first() {
            Some((listener, _)) => listener.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Answers until `stop_signal` completes, and then every request that has reached a socket.
    ///
    /// Returns whether all of them were answered within the grace period.
    pub async fn run(self, stop_signal: impl Future<Output = ()>) -> bool {
        let Self {
            listeners,
            workers,
            context,
            keepalive,
            proxies,
            shutdown_delay,
            shutdown_grace,
        } = self;
        let limit = connection_limit();
        let metrics = &context.metrics;
        let given_up = metrics.requests_shed.with_label_values(&["unsent"]);
        let unsent = Unsent::new(metrics.unsent_bytes.clone(), given_up);
        let (stopping, stop) = watch::channel(false);
        for (listener, app) in listeners {
            let server = connection::Server {
                app,
                unsent: unsent.clone(),
                keepalive,
                grace: shutdown_grace,
                stop: stop.clone(),
            };
            let slots = Slots::new(limit, &proxies);
            tokio::spawn(accept(server, listener, slots, Arc::clone(&workers)));
        }
        drop(stop);
        stop_signal.await;
        context.start_draining();
        tokio::time::sleep(shutdown_delay).await;
        let deadline = Instant::now() + shutdown_grace;
        stopping.send_replace(true);
        // The listeners and every connection hold a receiver.
        let drained = timeout_at(deadline, stopping.closed()).await.is_ok();
        // Handlers of clients that hung up continue without a connection.
        while context.metrics.in_flight.get() > 0 {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drained
    }
}

fn listen(address: SocketAddr, is_metrics: bool) -> Result<TcpListener, ServeError> {
    let open = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restarted daemon need not wait for connections of its predecessor.
        socket.set_reuseaddr(true)?;
        // Accepted sockets inherit it.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| ServeError::Listen {
        address,
        is_metrics,
        source,
    })
}

/// The number of files that the process may open, less a reserve.
fn connection_limit() -> usize {
    let reserved = RESERVED_FILES + SPARE as u64;
    let files = rlimit::increase_nofile_limit(MAX_CONNECTIONS as u64 + reserved)
        .unwrap_or(1024)
        .saturating_sub(reserved)
        .max(64);
    usize::try_from(files).map_or(MAX_CONNECTIONS, |files| files.min(MAX_CONNECTIONS))
}

/// Accepts connections until the stop, and then those that wait.
async fn accept(
    server: connection::Server,
    listener: TcpListener,
    slots: Slots,
    workers: Arc<Workers>,
) {
    let mut stop = server.stop.clone();
    let serve = |stream, peer| {
        let place = workers.place();
        let runtime = place.runtime();
        runtime.spawn(server.clone().serve(stream, peer, slots.admit(peer), place));
    };
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted
                .and_then(|(stream, peer)| prepared(stream.into_std()?, peer)),
        };
        match accepted {
            Ok((stream, peer)) => serve(stream, peer),
            Err(error) => {
                // Mostly "too many open files": the reason outlives this moment.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // The kernel has accepted connections that this loop has not taken: their clients may have
    // sent a request and count on its answer. There are no more of them than its queue holds.
    let Ok(listener) = listener.into_std() else {
        return;
    };
    for _ in 0..=BACKLOG {
        let accepted = listener.accept();
        let accepted = accepted.and_then(|(stream, peer)| prepared(stream, peer));
        match accepted {
            Ok((stream, peer)) => serve(stream, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => tracing::warn!(%error, "a waiting connection could not be accepted"),
        }
    }
}

/// A connection that the runtime of any worker can serve.
fn prepared(stream: TcpStream, peer: SocketAddr) -> io::Result<(TcpStream, IpAddr)> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok((stream, peer.ip()))
}
