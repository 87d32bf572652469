//! The steps of a request, from its head to its response.
//!
//! [`App::receive`] builds the request's head, a warp filter passes head and body to
//! [`App::answer`], and [`App::process`] runs the steps in their order. `render` turns the
//! outcome into the response.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Buf;
use futures_util::future::{Either, select};
use futures_util::{FutureExt as _, Stream};
use http::header::EXPECT;
use http::{Request, StatusCode};
use prometheus::IntGauge;
use tokio::sync::oneshot;
use tracing::Instrument as _;
use warp::reply::Response;
use warp::{Filter, Rejection};

use crate::store::{ClientWatch, Share, on_behalf_of, within};
use crate::telemetry::PageRequest;

use super::allowance::Allowance;
use super::auth::{CallerKind, Origin};
use super::body;
use super::context::ApiContext;
use super::endpoint::{Call, Endpoint, OnTimeout, RawInputs, Run};
use super::error::{ApiError, Overload};
use super::framing;
use super::head::{Admission, Head, RequestIds};
use super::limits::{is_forwarded, is_forwarded_locally};
use super::refused;
use super::render::{Outcome, render};
use super::reply::Reply;
use super::router::{Found, Router};
use super::socket::Opening;
use super::uninterrupted::Uninterrupted;

/// How much longer than its client waits a handler may run, so that a unit of work is not stopped
/// in the middle.
const HANDLER_GRACE: Duration = Duration::from_secs(10);

/// A client that hangs up sooner is not counted: a person has left the page.
const HANG_UP_AFTER: Duration = Duration::from_secs(1);

/// The application of one listener. Cheap to clone.
#[derive(Clone)]
pub(super) struct App(Arc<Shared>);

struct Shared {
    context: ApiContext,
    router: Router,
    request_ids: RequestIds,
}

/// What is known about a request so far, for its response if a later step fails.
#[derive(Default)]
struct Progress {
    caller: OnceLock<CallerKind>,
    allowance: OnceLock<Allowance>,
    body_started: AtomicBool,
    handler_started: AtomicBool,
}

/// What monitoring and this program's own commands ask for.
fn is_monitoring(path: &str) -> bool {
    ["/health", "/metrics", "/status"]
        .iter()
        .any(|begin| path.starts_with(begin))
}

impl App {
    pub fn new(context: ApiContext, router: Router) -> Self {
        Self(Arc::new(Shared {
            context,
            router,
            request_ids: RequestIds::new(),
        }))
    }

    /// A connection ended with an error of the HTTP parser.
    pub fn count_refused(&self, opening: Opening, error: &hyper::Error, peer: IpAddr) {
        refused::count_connection(&self.0.context, opening, error, peer);
    }

    /// Counts an open client connection until the value is dropped.
    pub fn count_connection(&self) -> Counted {
        Counted::new(&self.0.context.metrics.connections)
    }

    /// Moves everything but the body into a [`Head`], an extension that the filter reads.
    pub fn receive<B>(
        &self,
        peer: IpAddr,
        admission: Admission,
        client_watch: ClientWatch,
        request: Request<B>,
    ) -> Request<B> {
        let (parts, body) = request.into_parts();
        let limits = &self.0.context.limits;
        let client = limits.client_address(peer, &parts.headers);
        let clients = &self.0.context.metrics.clients;
        if is_forwarded_locally(peer, &parts.headers) {
            clients.forwarded_locally();
        }
        if is_forwarded(&parts.headers) || !is_monitoring(parts.uri.path()) {
            clients.came();
        }
        let ids = &self.0.request_ids;
        let head = Arc::new(Head::new(parts, client, peer, admission, client_watch, ids));
        let mut request = Request::new(body);
        request.extensions_mut().insert(head);
        request
    }

    /// The one warp filter: every request goes to the table of endpoints.
    pub fn filter(&self) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + use<> {
        let app = self.clone();
        warp::ext::get::<Arc<Head>>()
            .and(warp::body::stream())
            .then(move |head, body| app.clone().answer(head, body))
    }

    /// Answers one request. A client that hangs up does not stop the work in the middle, and the
    /// response does not wait for what is left to do after it.
    fn answer<S, B>(self, head: Arc<Head>, body: S) -> impl Future<Output = Response> + use<S, B>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send + 'static,
        B: Buf + Send + 'static,
    {
        let (sender, response) = oneshot::channel();
        let work = Uninterrupted::new(self.work(head, body, sender));
        async {
            let response = match select(work, response).await {
                Either::Left(((), response)) => response.await,
                Either::Right((response, _)) => response,
            };
            response.unwrap_or_else(|_| {
                // It panicked outside the handler; the panic has been logged.
                let mut response = Response::default();
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            })
        }
    }

    /// Answers within `REQUEST_TIMEOUT_SECONDS`. Work that takes longer continues for
    /// [`HANDLER_GRACE`].
    async fn work<S, B>(self, head: Arc<Head>, body: S, client: oneshot::Sender<Response>)
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf,
    {
        let in_flight = Counted::new(&self.0.context.metrics.in_flight);
        let progress = Progress::default();
        let mut body = pin!(body);
        self.respond(&head, body.as_mut(), &progress, client).await;
        drop(in_flight);
        // Without a sign to go on, a client that waits for one sends nothing.
        let waits = head.headers().contains_key(EXPECT);
        if head.has_body() && (!waits || progress.body_started.load(Ordering::Relaxed)) {
            body::drain(body).await;
        }
    }

    async fn respond<S, B>(
        &self,
        head: &Arc<Head>,
        body: Pin<&mut S>,
        progress: &Progress,
        client: oneshot::Sender<Response>,
    ) where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf,
    {
        let context = &self.0.context;
        let started = Instant::now();
        let found = self.0.router.find(head.method(), head.path());
        // A span of the level error exists at every LOG_LEVEL.
        let span = tracing::error_span!("request", request_id = head.request_id());
        // Pinned first: what is put around it moves only its address.
        let work = pin!(self.process(head, &found, body, progress));
        let watch = head.client_watch.clone();
        let work = within(context.request_timeout, watch, work).instrument(span);
        let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
        let in_time = tokio::time::timeout(context.request_timeout, &mut work).await;
        let is_late = in_time.is_err();
        let result = match in_time {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(ApiError::panicked(&*panic)),
            Err(_) => Err(timed_out(&found, head, progress)),
        };
        let outcome = Outcome {
            result,
            caller: progress.caller.get().copied(),
            allowance: progress.allowance.get().copied(),
            duration: started.elapsed(),
        };
        if let Err(error) = &outcome.result {
            let router = &self.0.router;
            refused::count(context, router, head, &found, outcome.caller, error);
        }
        if outcome.duration >= HANG_UP_AFTER && head.client_watch.has_closed() {
            refused::count_hang_up(context, head, &found);
        }
        // A client that hung up needs no response.
        let _ = client.send(render(context, head, &found, outcome));
        if is_late {
            let error = match tokio::time::timeout(HANDLER_GRACE, work).await {
                Ok(Ok(Ok(_))) => None,
                Ok(Ok(Err(error))) => Some(error.cause().unwrap_or_else(|| error.to_string())),
                Ok(Err(_)) => Some("it panicked".to_owned()),
                Err(_) => Some("it did not end and was stopped".to_owned()),
            };
            tracing::warn!(
                request_id = head.request_id(),
                duration_ms = started.elapsed().as_millis(),
                error,
                "the work of a request that timed out is over"
            );
        }
    }

    /// The steps of a request.
    async fn process<S, B>(
        &self,
        head: &Arc<Head>,
        found: &Found,
        body: Pin<&mut S>,
        progress: &Progress,
    ) -> Result<Reply, ApiError>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf,
    {
        let context = &self.0.context;
        framing::check(head.version(), head.headers())?;
        if let Some((reply, refusal)) = context.cors.preflight(head.method(), head.headers()) {
            match refusal {
                Some(refusal) => refused::count_preflight(context, head, refusal),
                None => refused::count_page(context, head, PageRequest::Preflight),
            }
            return Ok(reply);
        }
        refused::count_page(context, head, PageRequest::Other);
        let result = match self.call_endpoint(head, found, body, progress).await {
            Err(error) => Err(Box::pin(context.schema_gap.judge(error, &context.store)).await),
            reply => reply,
        };
        match &result {
            Err(error) if error.is_wrong_credentials() => {
                let now = context.clock.now();
                context.limits.count_failure(head.client, now).await?;
            }
            Err(error) if error.is_beyond_failures() => context.limits.count_refusal(),
            Err(ApiError::Overloaded(what)) => {
                let shed = &context.metrics.requests_shed;
                shed.with_label_values(&[what.label()]).inc();
            }
            _ => {}
        }
        result
    }

    async fn call_endpoint<S, B>(
        &self,
        head: &Arc<Head>,
        found: &Found,
        body: Pin<&mut S>,
        progress: &Progress,
    ) -> Result<Reply, ApiError>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf,
    {
        let context = &self.0.context;
        let endpoint = found.endpoint()?;
        if head.admission == Admission::ProbesOnly && !endpoint.options.is_probe {
            return Err(ApiError::Overloaded(Overload::Connections));
        }
        let now = context.clock.now();
        let origin = Origin {
            address: head.client,
            exhausted: context.limits.exhausted(head.client, now),
        };
        match endpoint.handler.run {
            Run::Open(run) | Run::RefreshCookie(run) => {
                if matches!(endpoint.handler.run, Run::RefreshCookie(_)) {
                    origin.may_ask()?;
                }
                let inputs = self
                    .read_inputs(endpoint, head, found, body, progress)
                    .await?;
                progress.handler_started.store(true, Ordering::Relaxed);
                run(self.call(head, ()), inputs).await
            }
            Run::Restricted(access, run) => {
                let caller = context
                    .auth
                    .identify(access, head, origin, &context.store, now)
                    .await?;
                let _ = progress.caller.set(caller.kind);
                on_behalf_of(Share::of(&caller.user));
                if let Some(allowance) = context.limits.count_request(&caller.user, now).await? {
                    let _ = progress.allowance.set(allowance);
                }
                let inputs = self
                    .read_inputs(endpoint, head, found, body, progress)
                    .await?;
                refused::count_misspelt(context, head, endpoint, &inputs, caller.kind);
                progress.handler_started.store(true, Ordering::Relaxed);
                run(self.call(head, caller), inputs).await
            }
        }
    }

    fn call<C>(&self, head: &Arc<Head>, caller: C) -> Call<C> {
        Call {
            context: self.0.context.clone(),
            head: head.clone(),
            caller,
        }
    }

    /// The variable segment of the path, and the body if the endpoint has one.
    async fn read_inputs<S, B>(
        &self,
        endpoint: &Endpoint,
        head: &Arc<Head>,
        found: &Found,
        body: Pin<&mut S>,
        progress: &Progress,
    ) -> Result<RawInputs, ApiError>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf,
    {
        let body = match endpoint.handler.inputs.body {
            None => None,
            Some(_) => {
                let context = &self.0.context;
                let limit = context.max_body_bytes;
                let time_limit = context.request_timeout / 2;
                body::check_length(head.headers(), limit)?;
                progress.body_started.store(true, Ordering::Relaxed);
                let bytes = body::read(body, limit, time_limit, &head.client_watch).await?;
                body::parse(head, bytes).await?
            }
        };
        Ok(RawInputs {
            segment: found.segment.clone(),
            body,
        })
    }
}

/// The error for a client whose request takes too long.
fn timed_out(found: &Found, head: &Head, progress: &Progress) -> ApiError {
    match found
        .endpoint
        .as_ref()
        .map(|endpoint| endpoint.options.on_timeout)
    {
        Ok(OnTimeout::OutcomeUnknown { unless })
            if progress.handler_started.load(Ordering::Relaxed)
                && !head.headers().contains_key(unless) =>
        {
            ApiError::OutcomeUnknown(None)
        }
        _ => ApiError::TimedOut,
    }
}

/// Counts a request or a connection until it is dropped.
pub(super) struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
