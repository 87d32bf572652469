//! One client connection, from its start to its end.
//!
//! hyper gets a connection with its first byte, and gives it back when no request comes for a
//! while: its buffers take 16 KiB, and most of many connections are idle. After a request with a body
//! it keeps the connection, because it does not tell whether it has read all of the body and no more.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::TryFutureExt as _;
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tower::Service as _;

use super::head::Admission;
use super::pipeline::App;
use super::slots::Slot;
use super::socket::{Activity, Socket, is_empty};
use super::unsent::Unsent;
use super::workers::Place;

/// A new connection has this long to send the head of its first request. `KEEPALIVE_SECONDS`
/// bounds the later ones.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The same beyond the limits of connections.
const SPARE_HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that sends no request for about so long is taken back from hyper. To give it to hyper
/// again takes a few microseconds.
const REST_AFTER: Duration = Duration::from_millis(500);

/// At a stop, the same for a first head, and for the rest of one that has begun; or half of the
/// grace period, if that is shorter: then no connection without a request uses it up.
const STOP_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

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
    pub async fn serve(
        mut self,
        stream: std::net::TcpStream,
        peer: IpAddr,
        slot: Slot,
        _place: Place,
    ) {
        let mut stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be served");
                return;
            }
        };
        let _counted = self.app.count_connection();
        let first_head = match slot.admission() {
            Admission::All => FIRST_HEAD_TIMEOUT.min(self.keepalive),
            Admission::ProbesOnly => SPARE_HEAD_TIMEOUT,
        };
        let mut latest = Instant::now() + first_head;
        let mut was_asked = false;
        while let Some(head) = self.first_byte(&stream, &slot, latest, was_asked).await {
            // Boxed, so that an idle connection does not have room for it.
            let is_idle = Box::pin(self.answer(&mut stream, peer, &slot, head)).await;
            if !is_idle {
                return;
            }
            latest = Instant::now() + self.keepalive.saturating_sub(REST_AFTER);
            was_asked = true;
        }
    }

    /// Waits for the first byte of a request, at most until `latest`. If it has arrived, returns when
    /// the head must be there.
    async fn first_byte(
        &mut self,
        stream: &TcpStream,
        slot: &Slot,
        mut latest: Instant,
        was_asked: bool,
    ) -> Option<Instant> {
        let mut is_stopping = false;
        loop {
            tokio::select! {
                biased;
                // The end of the stream counts as a byte.
                readable = stream.readable() => return readable.is_ok().then_some(latest),
                () = stopped(&mut self.stop), if !is_stopping => {
                    if was_asked {
                        return (!is_empty(stream)).then_some(latest);
                    }
                    is_stopping = true;
                    latest = latest.min(Instant::now() + stop_head_timeout(self.grace));
                }
                // The runtime may not know yet of what the kernel has.
                () = slot.must_make_room() => return (!is_empty(stream)).then_some(latest),
                () = sleep_until(latest) => return None,
            }
        }
    }

    /// Answers the requests of a connection, the first of which has its head by `first_head`.
    /// Returns when it is idle, then `true`, or at its end.
    async fn answer(
        &mut self,
        stream: &mut TcpStream,
        peer: IpAddr,
        slot: &Slot,
        first_head: Instant,
    ) -> bool {
        let Self {
            app,
            unsent,
            keepalive,
            grace,
            stop,
        } = self;
        let admission = slot.admission();
        let keepalive = match admission {
            Admission::All => *keepalive,
            Admission::ProbesOnly => SPARE_HEAD_TIMEOUT,
        };
        let filter = warp::service(app.filter());
        let activity = Arc::new(Activity::default());
        let must_close = Arc::new(Notify::new());
        let service = service_fn(|request: Request<Incoming>| {
            let answering = Answering::begin(&activity, !request.body().is_end_stream());
            let client = activity.client.watch();
            let answer = filter
                .clone()
                .call(app.receive(peer, admission, client, request));
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
            .header_read_timeout(keepalive)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(Socket::new(stream, &activity)), service);
        let mut connection = pin!(connection);
        let silence = async {
            sleep_until(first_head).await;
            if activity.was_asked() {
                std::future::pending::<()>().await;
            }
        };
        let stopping = async {
            stopped(stop).await;
            activity.stop();
            sleep(stop_head_timeout(*grace)).await;
            if activity.is_answering() || activity.is_sending() {
                std::future::pending::<()>().await;
            }
        };
        let making_room = async {
            slot.must_make_room().await;
            activity.make_room();
            std::future::pending::<Infallible>().await
        };
        let outcome = tokio::select! {
            // The socket has to know of a stop before it is read.
            biased;
            never = making_room => match never {},
            never = resting(&activity) => match never {},
            () = stopping => {
                tracing::debug!("a connection sent no whole request before the stop");
                return false;
            }
            outcome = &mut connection => outcome,
            () = must_close.notified() => {
                tracing::debug!("a connection was closed: too many answers wait to be sent");
                return false;
            }
            () = silence => {
                tracing::debug!("a connection sent no request");
                return false;
            }
        };
        match outcome {
            Ok(()) => activity.is_given_back(),
            Err(error) => {
                app.count_refused(activity.opening(), &error, peer);
                tracing::debug!(%error, "a connection ended early");
                false
            }
        }
    }
}

/// Takes a connection back from hyper when it is unused.
async fn resting(activity: &Activity) -> Infallible {
    loop {
        sleep(REST_AFTER).await;
        activity.rest_if_unused();
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Its sender is there until all connections have ended.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn stop_head_timeout(grace: Duration) -> Duration {
    STOP_HEAD_TIMEOUT.min(grace / 2)
}

/// A request that is being answered, until this is dropped.
struct Answering(Arc<Activity>);

impl Answering {
    fn begin(activity: &Arc<Activity>, has_body: bool) -> Self {
        activity.begin_answer(has_body);
        Self(activity.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.end_answer();
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
