//! What every request passes and every answer gets, errors and panics included:
//! a request id, the route, metrics, a log line, CORS, security headers.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, EXPIRES, HeaderName, PRAGMA, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderValue, Method, Request};
use tower::Service;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::auth::CallerKind;
use super::context::ApiContext;
use super::error::ApiError;
use super::limits::Allowance;
use super::request::{Head, SharedHead};
use super::route_table;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A handler may run this much longer than its client is kept waiting, so that
/// a unit of work ends by itself rather than in the middle.
const HANDLER_GRACE: Duration = Duration::from_secs(10);

/// Contract section 8.
static SECURITY_HEADERS: [(HeaderName, HeaderValue); 7] = [
    (
        STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000; includeSubDomains"),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block")),
    (
        REFERRER_POLICY,
        HeaderValue::from_static("strict-origin-when-cross-origin"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "geolocation=(), microphone=(), camera=(), payment=(), usb=(), magnetometer=(), gyroscope=(), accelerometer=()",
        ),
    ),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: https:; font-src 'self' data:; connect-src 'self' https:; frame-ancestors 'none'",
        ),
    ),
];

/// Below this nothing may be kept by a browser or a proxy; contract section 5.
const KEY_ROUTES: &str = "/api/user-api-keys";

static NEVER_STORED: [(HeaderName, HeaderValue); 3] = [
    (
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate, private, max-age=0"),
    ),
    (PRAGMA, HeaderValue::from_static("no-cache")),
    (EXPIRES, HeaderValue::from_static("0")),
];

/// The whole application behind one call.
#[derive(Clone)]
pub(super) struct App {
    context: ApiContext,
    routes: warp::filters::BoxedFilter<(Response,)>,
    request_ids: Arc<RequestIds>,
}

impl App {
    pub fn new(context: ApiContext, routes: BoxedFilter<(Response,)>) -> Self {
        Self {
            context,
            routes,
            request_ids: Arc::new(RequestIds::new()),
        }
    }

    /// Counts open client connections.
    pub fn connections(&self) -> &prometheus::IntGauge {
        &self.context.metrics.connections
    }

    /// Answers one request; never fails.
    ///
    /// The handler runs as a task of its own: a client that hangs up does not
    /// stop a unit of work in its middle.
    pub async fn answer<B>(self, peer: IpAddr, request: Request<B>) -> Response
    where
        B: http_body::Body + Send + Sync + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let patience = self.context.request_timeout;
        let (head, request) = self.prepare(peer, request);
        let late = Late {
            app: self.clone(),
            head: head.clone(),
            started: Instant::now(),
        };
        let task = tokio::spawn(self.run(head, request));
        match tokio::time::timeout(patience, task).await {
            Ok(Ok(response)) => response,
            // The task catches panics itself, so it was ended from outside: the runtime stops.
            Ok(Err(error)) => late.answer(&ApiError::internal(error)),
            Err(_) if late.head.creating.load(Ordering::Relaxed) => {
                late.answer(&ApiError::outcome_unknown())
            }
            Err(_) => late.answer(&ApiError::unavailable("The request took too long")),
        }
    }

    fn prepare<B>(&self, peer: IpAddr, request: Request<B>) -> (SharedHead, Request<B>) {
        let (mut parts, body) = request.into_parts();
        let head = Arc::new(Head {
            target: route_table::find(&parts.method, parts.uri.path()),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            request_id: self.request_ids.of(&parts.headers),
            client: self.context.limits.client_address(peer, &parts.headers),
            headers: parts.headers.clone(),
            answered: AtomicBool::new(false),
            creating: AtomicBool::new(false),
        });
        parts.extensions.insert(head.clone());
        (head, Request::from_parts(parts, body))
    }

    async fn run<B>(self, head: SharedHead, request: Request<B>) -> Response
    where
        B: http_body::Body + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let started = Instant::now();
        let _in_flight = InFlight::new(&self.context);
        let response = match self.context.cors.preflight(&head.method, &head.headers) {
            Some(response) => response,
            None => {
                let response = self.dispatch(request).await;
                let now = self.context.clock.now();
                self.context.limits.judge(&head, response, now).await
            }
        };
        self.finish(&head, response, started)
    }

    async fn dispatch<B>(&self, request: Request<B>) -> Response
    where
        B: http_body::Body + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let call = warp::service(self.routes.clone()).call(request);
        let limit = self.context.request_timeout + HANDLER_GRACE;
        match tokio::time::timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            // The panic's hook has logged where it was.
            Ok(Err(_)) => ApiError::internal("a handler panicked").into_response(),
            Err(_) => ApiError::unavailable("The request took too long").into_response(),
        }
    }

    /// Writes an error's body, adds the headers, counts and logs.
    fn finish(&self, head: &Head, mut response: Response, started: Instant) -> Response {
        let caller = response.extensions_mut().remove::<CallerKind>();
        let allowance = response.extensions_mut().remove::<Allowance>();
        let error = response.extensions_mut().remove::<ApiError>();
        if let Some(error) = &error {
            response = error.render(head, self.context.clock.now());
        }
        let headers = response.headers_mut();
        for (name, value) in &SECURITY_HEADERS {
            // A handler that set its own knows better: the docs page has a stricter policy.
            headers.entry(name).or_insert_with(|| value.clone());
        }
        if let Some(allowance) = allowance {
            allowance.mark(headers);
        }
        if head.path.starts_with(KEY_ROUTES) {
            headers.extend(NEVER_STORED.iter().cloned());
        }
        self.context.cors.mark(&head.headers, headers);
        if let Ok(id) = HeaderValue::from_str(&head.request_id) {
            headers.insert(X_REQUEST_ID, id);
        }
        if !head.answered.swap(true, Ordering::Relaxed) {
            let status = response.status().as_u16();
            self.observe(head, status, caller, error.as_ref(), started);
        }
        response
    }

    fn observe(
        &self,
        head: &Head,
        status: u16,
        caller: Option<CallerKind>,
        error: Option<&ApiError>,
        started: Instant,
    ) {
        let elapsed = started.elapsed();
        let method = method_label(&head.method);
        let route = head.target.label();
        let metrics = &self.context.metrics;
        let mut digits = itoa::Buffer::new();
        metrics
            .requests
            .with_label_values(&[method, route, digits.format(status)])
            .inc();
        metrics
            .latency
            .with_label_values(&[method, route])
            .observe(elapsed.as_secs_f64());
        let request_id = head.request_id.as_str();
        let duration_ms = elapsed.as_micros() as f64 / 1000.0;
        let caller = caller.map_or("-", CallerKind::as_str);
        match error.and_then(ApiError::source) {
            Some(source) if status >= 500 => {
                let error = source.to_string();
                tracing::error!(
                    request_id,
                    method,
                    route,
                    status,
                    duration_ms,
                    caller,
                    error,
                    "request failed"
                );
            }
            _ => tracing::info!(
                request_id,
                method,
                route,
                status,
                duration_ms,
                caller,
                "request"
            ),
        }
    }
}

/// Answers for a handler that did not.
struct Late {
    app: App,
    head: SharedHead,
    started: Instant,
}

impl Late {
    fn answer(&self, error: &ApiError) -> Response {
        self.app
            .finish(&self.head, error.clone().into_response(), self.started)
    }
}

/// Counts a request for as long as it is being answered.
struct InFlight(prometheus::IntGauge);

impl InFlight {
    fn new(context: &ApiContext) -> Self {
        let gauge = context.metrics.in_flight.clone();
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Unknown methods share a label, so that nobody can fill the metrics.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Makes request ids: a random start for the process, and a number.
struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        Self {
            // Without randomness, ids of two processes may look alike; nothing else depends on them.
            process: getrandom::u32().unwrap_or(0),
            next: AtomicU64::new(1),
        }
    }

    /// The client's own id if it is fit for a log, else a new one.
    fn of(&self, headers: &HeaderMap) -> String {
        let sent = headers
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        match sent {
            Some(id) if is_sane_id(id) => id.to_owned(),
            _ => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                format!("{:08x}-{number:08x}", self.process)
            }
        }
    }
}

fn is_sane_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
}

/// [`App::answer`] in the form that hyper wants.
pub(super) async fn answer<B>(
    app: App,
    peer: IpAddr,
    request: Request<B>,
) -> Result<Response, Infallible>
where
    B: http_body::Body + Send + Sync + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Ok(app.answer(peer, request).await)
}

#[cfg(test)]
mod tests;
