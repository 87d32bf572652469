//! Cross-origin rules, contract section 8.
//!
//! Ready-made CORS layers answer a refused preflight differently (contract section 8).

use std::borrow::Cow;
use std::collections::BTreeSet;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::config::is_origin;

use super::reply::Reply;

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// `X-User-ID` is deliberately not among them: a browser never calls as a service.
const HEADERS: [&str; 14] = [
    "Accept",
    "Accept-Language",
    "Authorization",
    "Content-Language",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Request-ID",
    "X-Timezone",
    // What tracing in browsers adds to every request.
    "baggage",
    "sentry-trace",
    "traceparent",
    "tracestate",
];

const EXPOSED: &str = "Content-Type, ETag, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-ID";

/// The longest name of a header that is told, and the longest origin.
const LONGEST_NAME: usize = 40;
const LONGEST_ORIGIN: usize = 100;

/// Why a preflight was refused, in a word, and what it was refused for, if that can be told.
pub(super) type PreflightRefusal = (&'static str, Option<Cow<'static, str>>);

/// The cross-origin rules.
pub(super) struct Cors {
    origins: BTreeSet<String>,
    allow_methods: HeaderValue,
    allow_headers: HeaderValue,
}

impl Cors {
    pub fn new(origins: &BTreeSet<String>) -> Self {
        let list = |names: &[&str]| {
            // The names are constants of plain ASCII, so this cannot fail.
            HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static(""))
        };
        Self {
            origins: origins.clone(),
            allow_methods: list(&METHODS),
            allow_headers: list(&HEADERS),
        }
    }

    fn allowed<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.origins
            .contains(origin.to_str().ok()?)
            .then_some(origin)
    }

    /// The origin of the page that asks, if it is allowed.
    pub fn page<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        self.allowed(headers)?.to_str().ok()
    }

    /// The answer to a preflight, and why it is refused if it is; `None` when the request is
    /// something else.
    pub fn preflight(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<(Reply, Option<PreflightRefusal>)> {
        if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
            return None;
        }
        let wanted_method = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut refused = Vec::new();
        // The first reason: foreign pages send any header.
        let mut reason = None;
        if self.allowed(headers).is_none() {
            refused.push("origin");
            reason = Some(("preflight_origin", told_origin(headers)));
        }
        if !METHODS
            .iter()
            .any(|name| name.as_bytes() == wanted_method.as_bytes())
        {
            refused.push("method");
            reason = reason.or(Some(("preflight_method", None)));
        }
        if let Some(name) = foreign_header(headers) {
            refused.push("headers");
            reason = reason.or_else(|| Some(("preflight_header", Some(told_header(name)))));
        }
        let (status, text) = if refused.is_empty() {
            (StatusCode::OK, "OK".to_owned())
        } else {
            let text = format!("Disallowed CORS {}", refused.join(", "));
            (StatusCode::BAD_REQUEST, text)
        };
        let text_plain = HeaderValue::from_static("text/plain; charset=utf-8");
        let reply = Reply::content(status, text_plain, text.into_bytes())
            .with_header(ACCESS_CONTROL_ALLOW_METHODS, self.allow_methods.clone())
            .with_header(ACCESS_CONTROL_ALLOW_HEADERS, self.allow_headers.clone())
            .with_header(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some((reply, reason))
    }

    /// Adds the headers about origins that every response has.
    pub fn add_headers(&self, request: &HeaderMap, response: &mut HeaderMap) {
        let varies = match response.get(VARY).map(HeaderValue::as_bytes) {
            // One line with what else the answer depends on.
            Some(others) => HeaderValue::from_bytes(&[others, b", Origin"].concat()).ok(),
            None => None,
        };
        response.insert(VARY, varies.unwrap_or(HeaderValue::from_static("Origin")));
        if let Some(origin) = self.allowed(request) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
            response.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED),
            );
        }
    }
}

/// The first header that a page wants to send, and may not. Text that is no list of names is one.
fn foreign_header(headers: &HeaderMap) -> Option<&str> {
    let wanted = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names = wanted.flat_map(|value| value.to_str().unwrap_or("?").split(','));
    let mut names = names.map(str::trim).filter(|name| !name.is_empty());
    names.find(|name| {
        let mut allowed = HEADERS.iter();
        !allowed.any(|allowed| allowed.eq_ignore_ascii_case(name))
    })
}

/// The name, if it is one of words.
fn told_header(name: &str) -> Cow<'static, str> {
    let is_name = |byte: u8| byte.is_ascii_alphabetic() || byte == b'-';
    if name.len() <= LONGEST_NAME && name.bytes().all(is_name) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed("another")
    }
}

/// The origin of the page, or `null` as browsers send it for a file.
fn told_origin(headers: &HeaderMap) -> Option<Cow<'static, str>> {
    let origin = headers.get(ORIGIN)?.to_str().ok()?;
    let is_told = origin == "null" || (origin.len() <= LONGEST_ORIGIN && is_origin(origin));
    is_told.then(|| Cow::Owned(origin.to_owned()))
}
