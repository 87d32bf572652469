//! One client connection, from its first byte to its end.
//!
//! At a stop, every request that has reached the socket is answered, also one that nobody has read
//! yet: hyper's own graceful shutdown closes a connection that it believes idle without a look at
//! the socket. So here the stream itself reports its end, when it is between two requests and the
//! kernel has nothing to read.

use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::TryFutureExt as _;
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::body::{Body, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_io_timeout::TimeoutWriter;
use tower::Service as _;

use super::head::Admission;
use super::pipeline::App;
use super::slots::Slot;
use super::unsent::Unsent;
use super::workers::Place;

/// A new connection has this long to send the head of its first request. `KEEPALIVE_SECONDS`
/// bounds the later ones.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The same beyond the limits of connections.
const SPARE_HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// At a stop, the same for a first head, and for the rest of one that has begun; or half of the
/// grace period, if that is shorter: then no connection without a request uses it up.
const STOP_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// A client that takes nothing of its answer for so long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest head, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// What serves the connections of a listener. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    pub app: App,
    pub unsent: Unsent,
    pub keepalive: Duration,
    /// `SHUTDOWN_GRACE_SECONDS`
    pub grace: Duration,
    /// Turns true at a stop. Every connection holds one, so that the end of all is noticed.
    pub stop: watch::Receiver<bool>,
}

impl Server {
    /// Serves a connection to its end, on the present runtime.
    pub async fn serve(self, stream: std::net::TcpStream, peer: IpAddr, slot: Slot, _place: Place) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be served");
                return;
            }
        };
        let Self {
            app,
            unsent,
            keepalive,
            grace,
            mut stop,
        } = self;
        let admission = slot.admission();
        let (keepalive, first_head) = match admission {
            Admission::All => (keepalive, FIRST_HEAD_TIMEOUT.min(keepalive)),
            Admission::ProbesOnly => (SPARE_HEAD_TIMEOUT, SPARE_HEAD_TIMEOUT),
        };
        let _counted = app.count_connection();
        let filter = warp::service(app.filter());
        let activity = Arc::new(Activity::default());
        let must_close = Arc::new(Notify::new());
        let service = service_fn(|request| {
            let answering = Answering::begin(&activity);
            let answer = filter.clone().call(app.receive(peer, admission, request));
            answer.map_ok(|answer| {
                let mut answer = answer.map(|body| Answer {
                    body: unsent.count(body, &must_close),
                    _answering: answering,
                });
                if activity.is_stopping() {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(CONNECTION, close);
                }
                answer
            })
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(admission == Admission::All)
            // A client that has sent its request may close its side before the answer.
            .half_close(true)
            .header_read_timeout(keepalive)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(Socket::new(stream, &activity)), service);
        let mut connection = pin!(connection);
        let silence = async {
            tokio::time::sleep(first_head).await;
            if activity.was_asked() {
                std::future::pending::<()>().await;
            }
        };
        let stopping = async {
            // Its sender is there until all connections have ended.
            let _ = stop.wait_for(|stop| *stop).await;
            activity.stop();
            tokio::time::sleep(STOP_HEAD_TIMEOUT.min(grace / 2)).await;
            if activity.is_answering() || activity.is_sending() {
                std::future::pending::<()>().await;
            }
        };
        let outcome = tokio::select! {
            // The socket has to know of a stop before it is read.
            biased;
            () = stopping => {
                tracing::debug!("a connection sent no whole request before the stop");
                return;
            }
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
    }
}

/// What happens on a connection.
#[derive(Debug, Default)]
struct Activity {
    stopping: AtomicBool,
    asked: AtomicBool,
    /// A part of a head has arrived.
    reading: AtomicBool,
    /// A request has arrived, and its answer was not handed over for sending yet.
    answering: AtomicBool,
    /// The client has not taken all of an answer yet.
    sending: AtomicBool,
}

impl Activity {
    fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed)
    }

    fn is_sending(&self) -> bool {
        self.sending.load(Ordering::Relaxed)
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        self.sending.store(outcome.is_pending(), Ordering::Relaxed);
    }

    fn received(&self) {
        if !self.is_answering() {
            self.reading.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it is between two requests at a stop. A client that has not asked yet may be about
    /// to.
    fn may_end(&self) -> bool {
        self.is_stopping()
            && self.was_asked()
            && !self.is_answering()
            && !self.reading.load(Ordering::Relaxed)
    }
}

/// A request that is being answered, until this is dropped.
struct Answering(Arc<Activity>);

impl Answering {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.asked.store(true, Ordering::Relaxed);
        activity.answering.store(true, Ordering::Relaxed);
        activity.reading.store(false, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.store(false, Ordering::Relaxed);
    }
}

/// The body of an answer, which hyper drops when all of it is ready to be sent.
struct Answer<B> {
    body: B,
    _answering: Answering,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A client's socket. At a stop it reports its end between two requests.
struct Socket {
    stream: Pin<Box<TimeoutWriter<TcpStream>>>,
    activity: Arc<Activity>,
}

impl Socket {
    fn new(stream: TcpStream, activity: &Arc<Activity>) -> Self {
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(WRITE_TIMEOUT));
        Self {
            stream: Box::pin(stream),
            activity: activity.clone(),
        }
    }

    /// Whether the kernel has nothing to read. The runtime may not know yet of what it has.
    fn is_empty(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(self.stream.get_ref(), &mut [0; 1][..], flags) == Err(rustix::io::Errno::WOULDBLOCK)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let outcome = self.stream.as_mut().poll_read(context, buffer);
        if buffer.filled().len() > filled {
            self.activity.received();
        }
        if outcome.is_pending() && self.activity.may_end() && self.is_empty() {
            return Poll::Ready(Ok(()));
        }
        outcome
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream.as_mut().poll_write(context, bytes);
        self.activity.wrote(&outcome);
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream.as_mut().poll_write_vectored(context, parts);
        self.activity.wrote(&outcome);
        outcome
    }
}
