//! Turns the outcome of a request into its response: the one place that writes errors, adds the
//! headers that every response has, counts and logs.

use std::time::Duration;

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, EXPIRES, HeaderName, PRAGMA, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use warp::reply::Response;

use crate::config::LogRequests;
use crate::domain::Timestamp;
use crate::store::database_code;
use crate::store::messages::Place;
use crate::telemetry::RecentFailure;

use super::allowance::Allowance;
use super::auth::CallerKind;
use super::context::ApiContext;
use super::endpoint::CachePolicy;
use super::error::{ApiError, Context, Overload};
use super::head::{Head, X_REQUEST_ID};
use super::reply::Reply;
use super::router::Found;

/// The outcome of a request.
pub(super) struct Outcome {
    pub result: Result<Reply, ApiError>,
    pub caller: Option<CallerKind>,
    pub allowance: Option<Allowance>,
    pub duration: Duration,
}

/// What `LOG_REQUESTS=slow` means.
const SLOW: Duration = Duration::from_millis(500);

/// What to do where the auth server gives no answer, or none that can be used.
const ASK_AUTH_SERVER: &str = "todoctl doctor --only services.auth_server";

type Headers = &'static [(HeaderName, HeaderValue)];

/// contract section 8.
pub(super) static SECURITY_HEADERS: [(HeaderName, HeaderValue); 7] = [
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

static NO_STORE: [(HeaderName, HeaderValue); 1] =
    [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];

static PRIVATE_NO_STORE: [(HeaderName, HeaderValue); 1] =
    [(CACHE_CONTROL, HeaderValue::from_static("private, no-store"))];

static NO_CACHE: [(HeaderName, HeaderValue); 1] =
    [(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];

static PRIVATE_NO_CACHE: [(HeaderName, HeaderValue); 2] = [
    (CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    (VARY, HeaderValue::from_static("Authorization, X-User-ID")),
];

/// contract section 5.
static NEVER_STORE: [(HeaderName, HeaderValue); 3] = [
    (
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate, private, max-age=0"),
    ),
    (PRAGMA, HeaderValue::from_static("no-cache")),
    (EXPIRES, HeaderValue::from_static("0")),
];

impl CachePolicy {
    pub(super) fn headers(self) -> Headers {
        match self {
            Self::Unspecified => &[],
            Self::PrivateNoStore => &PRIVATE_NO_STORE,
            Self::NoStore => &NO_STORE,
            Self::Revalidate => &NO_CACHE,
            Self::RevalidatePrivate => &PRIVATE_NO_CACHE,
            Self::NeverStore => &NEVER_STORE,
        }
    }
}

/// Writes the response, counts it and logs it.
pub(super) fn render(
    context: &ApiContext,
    head: &Head,
    found: &Found,
    outcome: Outcome,
) -> Response {
    let error_context = Context {
        path: head.path(),
        request_id: head.request_id(),
        now: context.clock.now(),
    };
    let (mut reply, error) = match outcome.result {
        Ok(reply) => (reply, None),
        Err(error) => (error.reply(&error_context), Some(error)),
    };
    let headers = &mut reply.headers;
    if let Ok(endpoint) = found.endpoint {
        add(headers, endpoint.cache(error.is_some()).headers());
    }
    add(headers, found.cache.headers());
    for (name, value) in &SECURITY_HEADERS {
        // An endpoint may set its own: the docs page has a stricter policy.
        headers.entry(name).or_insert_with(|| value.clone());
    }
    if let Some(allowance) = outcome.allowance {
        allowance.add_headers(headers);
    }
    context.cors.add_headers(head.headers(), headers);
    headers.insert(X_REQUEST_ID, head.request_id_header());
    let line = Line {
        method: method_label(head.method()),
        route: found.label(),
        status: reply.status,
        duration: outcome.duration,
    };
    line.count(context);
    if outcome.caller.is_some() && line.status.is_success() && !head.method().is_safe() {
        let clients = &context.metrics.clients;
        clients.done(line.method, error_context.now);
    }
    remember(context, head, &line, error.as_ref(), error_context.now);
    if line.is_logged(context.logged_requests) {
        line.log(head.request_id(), outcome.caller, error.as_ref());
    }
    let mut response = Response::new(reply.body.into());
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

fn add(headers: &mut HeaderMap, more: Headers) {
    for (name, value) in more {
        headers.insert(name, value.clone());
    }
}

/// Counts the request for `/status`, and keeps why it failed.
fn remember(
    context: &ApiContext,
    head: &Head,
    line: &Line,
    error: Option<&ApiError>,
    now: Timestamp,
) {
    let recent = &context.metrics.recent;
    recent.answered(line.method, line.route, now);
    let Some(error) = error.filter(|_| line.status.is_server_error()) else {
        return;
    };
    if matches!(error, ApiError::Overloaded(Overload::ClientLeft)) {
        return;
    }
    if error.is_shed() {
        recent.shed(now);
        return;
    }
    let failure = RecentFailure {
        at: now,
        status: line.status.as_u16(),
        kind: error.kind(),
        code: database_code(error),
        known_message: error.known_message().map(|known| known.id),
        request_id: head.request_id().to_owned(),
    };
    recent.failed(line.method, line.route, failure);
}

/// What metrics and the log say about an answered request.
struct Line {
    method: &'static str,
    route: &'static str,
    status: StatusCode,
    duration: Duration,
}

impl Line {
    fn count(&self, context: &ApiContext) {
        let Self { method, route, .. } = *self;
        let metrics = &context.metrics;
        metrics
            .requests
            .with_label_values(&[method, route, self.status.as_str()])
            .inc();
        metrics
            .latency
            .with_label_values(&[method, route])
            .observe(self.duration.as_secs_f64());
    }

    fn is_logged(&self, logged: LogRequests) -> bool {
        let is_error = self.status.is_client_error() || self.status.is_server_error();
        match logged {
            LogRequests::All => true,
            LogRequests::Slow => is_error || self.duration >= SLOW,
            LogRequests::Errors => is_error,
        }
    }

    fn log(&self, request_id: &str, caller: Option<CallerKind>, error: Option<&ApiError>) {
        let Self { method, route, .. } = *self;
        let status = self.status.as_u16();
        let duration_ms = self.duration.as_micros() as f64 / 1000.0;
        let caller = caller.map_or("-", CallerKind::as_str);
        let cause = error.and_then(ApiError::cause);
        let error_text = cause.as_deref();
        let known = error
            .filter(|_| self.status.is_server_error())
            .and_then(ApiError::known_message);
        let known_id = known.map(|known| known.id);
        let remedy = match error {
            Some(ApiError::AuthServerUnavailable(_)) => Some(ASK_AUTH_SERVER.to_owned()),
            _ => known.map(|known| (known.remedy)(Place::Unknown).to_string()),
        };
        let remedy = remedy.as_deref();
        macro_rules! line {
            ($level:ident, $message:literal) => {
                tracing::$level!(
                    request_id,
                    method,
                    route,
                    status,
                    duration_ms,
                    caller,
                    error = error_text,
                    known_message = known_id,
                    remedy,
                    $message
                )
            };
        }
        match (error, self.status) {
            (Some(_), StatusCode::SERVICE_UNAVAILABLE) => line!(warn, "request failed"),
            (Some(_), status) if status.is_server_error() => line!(error, "request failed"),
            // A constraint that forbids what the API allows is somebody's addition.
            (Some(ApiError::Conflict(_)), _) => line!(warn, "request failed"),
            _ => line!(info, "request"),
        }
    }
}

/// Unknown methods share a label, so that they cannot fill the metrics.
pub(super) fn method_label(method: &Method) -> &'static str {
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
