//! The listener: connection limits, timeouts, graceful shutdown.
//!
//! hyper-util serves warp's filter, because warp's own server has none of these.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::Service as _;

use crate::config::Config;

use super::context::ApiContext;
use super::endpoint::Listener;
use super::endpoints::{ENDPOINTS, SUBTREES};
use super::pipeline::App;
use super::router::{RouteError, Router};

/// Connections beyond this wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 8192;

/// Files and sockets that are not client connections: databases, logs, listeners.
const RESERVED_FILES: u64 = 256;

/// A connection has this long to send a request's head. It also bounds how long
/// an idle connection is kept, so it is above the 60 s after which load
/// balancers close theirs: the side that closes first decides whether a request
/// can get lost.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// The largest head, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// At a stop, the queue counts as empty if no connection arrives within this time.
const QUEUE_TIMEOUT: Duration = Duration::from_millis(1);

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
        /// The system's error.
        source: io::Error,
    },
    /// The table of endpoints is not valid, which is a bug.
    #[error("the table of endpoints is not valid: {0}")]
    Routes(#[from] RouteError),
}

impl ServeError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let Self::Listen { address, source } = self else {
            return "report this as a bug".to_owned();
        };
        let port = address.port();
        match source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "another process listens on port {port}: stop it (find it: ss -ltnp 'sport = :{port}'), or choose another port: PORT={}",
                port.checked_add(1).unwrap_or(8000)
            ),
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges: choose another one, such as PORT=8000".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => {
                "HOST is not an address of this machine: use HOST=127.0.0.1, or HOST=0.0.0.0 for all addresses".to_owned()
            }
            _ => "check HOST and PORT".to_owned(),
        }
    }
}

/// A daemon that listens but does not answer yet.
pub struct Server {
    /// Each listener and what it serves.
    listeners: Vec<(TcpListener, App)>,
    context: ApiContext,
    shutdown_delay: Duration,
    shutdown_grace: Duration,
}

impl Server {
    /// Listens on the port, and on `METRICS_ADDR` if it is set.
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
        let mut listeners = vec![(listen(address)?, public)];
        if let Some(address) = metrics_addr {
            let metrics = app(&|listener| listener == Listener::Metrics)?;
            listeners.push((listen(address)?, metrics));
        }
        Ok(Self {
            listeners,
            context,
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

    /// Answers until `stop` completes, then lets requests in progress end.
    ///
    /// Returns whether all of them ended within the grace period.
    pub async fn run(self, stop: impl Future<Output = ()>) -> bool {
        let Self {
            listeners,
            context,
            shutdown_delay,
            shutdown_grace,
        } = self;
        let limit = connection_limit();
        let (stopping, stopped) = tokio::sync::watch::channel(false);
        let mut loops = tokio::task::JoinSet::new();
        for (listener, app) in listeners {
            loops.spawn(accept(
                listener,
                app,
                limit,
                stopped.clone(),
                shutdown_grace,
            ));
        }
        stop.await;
        context.start_draining();
        tokio::time::sleep(shutdown_delay).await;
        let deadline = Instant::now() + shutdown_grace;
        // Every loop holds a receiver, so this cannot fail.
        let _ = stopping.send(true);
        let mut drained = true;
        while let Some(ended) = loops.join_next().await {
            drained &= ended.unwrap_or(false);
        }
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

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let open = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restarted daemon need not wait for connections of its predecessor.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| ServeError::Listen { address, source })
}

/// The number of files that the process may open, less a reserve.
fn connection_limit() -> usize {
    let files = rlimit::increase_nofile_limit(MAX_CONNECTIONS as u64 + RESERVED_FILES)
        .unwrap_or(1024)
        .saturating_sub(RESERVED_FILES)
        .max(64);
    usize::try_from(files).map_or(MAX_CONNECTIONS, |files| files.min(MAX_CONNECTIONS))
}

/// Accepts until `stopped` turns true, then waits for its connections.
async fn accept(
    listener: TcpListener,
    app: App,
    limit: usize,
    mut stopped: tokio::sync::watch::Receiver<bool>,
    grace: Duration,
) -> bool {
    let slots = Arc::new(Semaphore::new(limit));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => break,
            accepted = next_connection(&listener, &slots) => accepted,
        };
        match accepted {
            Ok(accepted) => serve_connection(&app, &graceful, accepted),
            Err(error) => {
                // Mostly "too many open files", which does not end at once.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // The kernel has accepted connections that this loop has not taken: their clients may have
    // sent a request already. There are at most as many as its queue holds.
    for _ in 0..BACKLOG {
        let queued = tokio::time::timeout(QUEUE_TIMEOUT, next_connection(&listener, &slots));
        let Ok(Ok(accepted)) = queued.await else {
            break;
        };
        serve_connection(&app, &graceful, accepted);
    }
    drop(listener);
    tokio::time::timeout(grace, graceful.shutdown())
        .await
        .is_ok()
}

/// A client's connection, its address, and its place among those that may be open.
type Accepted = (TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit);

fn serve_connection(app: &App, graceful: &GracefulShutdown, accepted: Accepted) {
    let (stream, peer, slot) = accepted;
    let watcher = graceful.watcher();
    let app = app.clone();
    tokio::spawn(async move {
        let connections = app.connections();
        connections.inc();
        let filter = warp::service(app.filter());
        let service = service_fn(|request| filter.clone().call(app.receive(peer, request)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended early");
        }
        connections.dec();
        drop(slot);
    });
}

async fn next_connection(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<Accepted> {
    // The semaphore is never closed.
    let slot = slots
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer.ip(), slot))
}
