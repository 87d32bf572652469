//! The listener: connection limits, timeouts, graceful shutdown.
//!
//! hyper-util serves warp's filter, because warp's own server has none of these.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryFutureExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutWriter;
use tower::Service as _;

use crate::config::{Config, Remedy};

use super::context::ApiContext;
use super::endpoint::Listener;
use super::endpoints::{ENDPOINTS, SUBTREES};
use super::head::Admission;
use super::pipeline::App;
use super::router::{RouteError, Router};
use super::slots::{SPARE, Slots};
use super::unsent::Unsent;

/// Connections beyond this are for probes only.
const MAX_CONNECTIONS: usize = 12_288;

/// Files and sockets that are not client connections: databases, logs, listeners.
const RESERVED_FILES: u64 = 256;

/// A new connection has this long to send the head of its first request. `KEEPALIVE_SECONDS`
/// bounds the later ones.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The same beyond the limits of connections.
const SPARE_HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// A client that takes nothing of its answer for so long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// So much of an answer the kernel takes before the client does, in bytes; it would take megabytes.
const SEND_BUFFER: u32 = 128 * 1024;

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
    pub fn remedy(&self) -> Remedy {
        let Self::Listen { address, source } = self else {
            return Remedy::note("report this as a bug");
        };
        let port = address.port();
        match source.kind() {
            io::ErrorKind::AddrInUse => Remedy::note(format!(
                "to keep the port, stop the program that ss -ltnp 'sport = :{port}' names; otherwise:"
            ))
            .then(Remedy::set("PORT", port.checked_add(1).unwrap_or(8000))),
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

/// A daemon that listens but does not answer yet.
pub struct Server {
    /// Each listener and what it serves.
    listeners: Vec<(TcpListener, App)>,
    context: ApiContext,
    keepalive: Duration,
    proxies: Vec<IpNet>,
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

    /// Answers until `stop` completes, then lets requests in progress end.
    ///
    /// Returns whether all of them ended within the grace period.
    pub async fn run(self, stop: impl Future<Output = ()>) -> bool {
        let Self {
            listeners,
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
        let (stopping, stopped) = tokio::sync::watch::channel(false);
        let mut loops = tokio::task::JoinSet::new();
        for (listener, app) in listeners {
            let connections = Connections {
                app,
                keepalive,
                slots: Slots::new(limit, &proxies),
                unsent: unsent.clone(),
                graceful: GracefulShutdown::new(),
            };
            loops.spawn(connections.accept(listener, stopped.clone(), shutdown_grace));
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
        // Accepted sockets inherit it.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| ServeError::Listen { address, source })
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

/// The connections of one listener.
struct Connections {
    app: App,
    keepalive: Duration,
    slots: Slots,
    unsent: Unsent,
    graceful: GracefulShutdown,
}

impl Connections {
    /// Accepts until `stopped` turns true, then waits for its connections.
    async fn accept(
        self,
        listener: TcpListener,
        mut stopped: tokio::sync::watch::Receiver<bool>,
        grace: Duration,
    ) -> bool {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => break,
                accepted = next_connection(&listener) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.serve(stream, peer),
                Err(error) => {
                    // Mostly "too many open files": the reason outlives this moment.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        // The kernel has accepted connections that this loop has not taken: their clients may have
        // sent a request and count on its answer. There are no more of them than its queue holds.
        for _ in 0..BACKLOG {
            let queued = tokio::time::timeout(QUEUE_TIMEOUT, next_connection(&listener));
            let Ok(Ok((stream, peer))) = queued.await else {
                break;
            };
            self.serve(stream, peer);
        }
        drop(listener);
        tokio::time::timeout(grace, self.graceful.shutdown())
            .await
            .is_ok()
    }

    /// Serves a connection in a task of its own.
    fn serve(&self, stream: TcpStream, peer: IpAddr) {
        let slot = self.slots.admit(peer);
        let admission = slot.admission();
        let (keepalive, first_head) = match admission {
            Admission::All => (self.keepalive, FIRST_HEAD_TIMEOUT.min(self.keepalive)),
            Admission::ProbesOnly => (SPARE_HEAD_TIMEOUT, SPARE_HEAD_TIMEOUT),
        };
        let watcher = self.graceful.watcher();
        let app = self.app.clone();
        let unsent = self.unsent.clone();
        let task = tokio::spawn(async move {
            let _slot = slot;
            let _counted = app.count_connection();
            let filter = warp::service(app.filter());
            let asked = AtomicBool::new(false);
            let must_close = Arc::new(Notify::new());
            let service = service_fn(|request| {
                asked.store(true, Ordering::Relaxed);
                let answer = filter.clone().call(app.receive(peer, admission, request));
                answer.map_ok(|answer| answer.map(|body| unsent.count(body, &must_close)))
            });
            let mut stream = TimeoutWriter::new(stream);
            stream.set_timeout(Some(WRITE_TIMEOUT));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(admission == Admission::All)
                .header_read_timeout(keepalive)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(Box::pin(stream)), service);
            let mut connection = pin!(watcher.watch(connection));
            let silence = async {
                tokio::time::sleep(first_head).await;
                if asked.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            };
            let outcome = tokio::select! {
                outcome = &mut connection => outcome,
                () = must_close.notified() => {
                    tracing::debug!("a connection was closed: too many answers wait to be sent");
                    return;
                }
                () = silence => {
                    tracing::debug!("a connection sent no request");
                    return;
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "a connection ended early");
            }
        });
        if admission == Admission::ProbesOnly {
            self.slots.add_spare(task.abort_handle());
        }
    }
}

async fn next_connection(listener: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer.ip()))
}
