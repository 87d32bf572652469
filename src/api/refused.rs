//! What is counted of a refused request or connection, for `GET /status`: never a value that may hold
//! data.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, IF_MATCH, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::domain::PLACEHOLDERS;
use crate::store::UnknownToken;
use crate::telemetry::{PageRequest, RefusalKind};

use super::auth::{CallerKind, X_SERVICE_AUTH};
use super::context::ApiContext;
use super::error::{ApiError, RateLimit};
use super::head::{Head, decode};
use super::input::{BodyError, Code};
use super::limits::{SharedBy, is_private, likely_address};
use super::render::method_label;
use super::router::{Found, Miss, Router};
use super::socket::Opening;
use super::tokens;

mod misspelt;
mod paths;

pub(super) use misspelt::count_misspelt;
use paths::{is_probe, wrong_path};

/// Media types that clients send in place of JSON.
const MEDIA_TYPES: [&str; 8] = [
    "application/octet-stream",
    "application/x-ndjson",
    "application/x-www-form-urlencoded",
    "application/xml",
    "multipart/form-data",
    "text/json",
    "text/plain",
    "text/xml",
];

type Detail = Option<Cow<'static, str>>;

/// A request was answered with `error`.
pub(super) fn count(
    context: &ApiContext,
    router: &Router,
    head: &Head,
    found: &Found,
    caller: Option<CallerKind>,
    error: &ApiError,
) {
    if let ApiError::TaskNotFound(id) = error {
        note_missing_task(context, head, id);
        return;
    }
    let Some((reason, detail, address)) = reason(context, router, head, error) else {
        return;
    };
    let details: Vec<Cow<'static, str>> = match (error, reason) {
        (
            ApiError::Validation(errors) | ApiError::Body(BodyError::Syntax(errors)),
            "parameters" | "body_form" | "validation",
        ) => errors.told().into_iter().map(Cow::Owned).collect(),
        _ => detail.into_iter().collect(),
    };
    let caller = caller.map_or_else(|| unidentified(head.headers()), CallerKind::method);
    let status = error.status();
    // Strangers ask for anything.
    if caller == "none" && status != StatusCode::UNAUTHORIZED && !is_of_anybody(reason) {
        return;
    }
    let kind = RefusalKind {
        status: status.as_u16(),
        reason,
        method: method_label(head.method()),
        route: route(found),
        caller,
    };
    let now = context.clock.now();
    context.metrics.clients.refused(kind, details, address, now);
}

/// One task that does not exist is usual. Many whose ids were never given belong to another database.
fn note_missing_task(context: &ApiContext, head: &Head, id: &str) {
    if let Ok(id) = id.parse() {
        let client = likely_address(head.client, head.headers());
        let client = Some(client).filter(|client| !is_private(*client));
        let now = context.clock.now();
        context.metrics.clients.missing_task(id, client, now);
    }
}

/// The client hung up before it was answered, which took a while.
pub(super) fn count_hang_up(context: &ApiContext, head: &Head, found: &Found) {
    let kind = RefusalKind {
        status: 0,
        reason: "client_left",
        method: method_label(head.method()),
        route: route(found),
        caller: "",
    };
    let now = context.clock.now();
    context
        .metrics
        .clients
        .refused(kind, None, head.client, now);
}

/// A preflight was refused for this reason.
pub(super) fn count_preflight(
    context: &ApiContext,
    head: &Head,
    (reason, detail): (&'static str, Detail),
) {
    let kind = RefusalKind {
        status: StatusCode::BAD_REQUEST.as_u16(),
        reason,
        method: "OPTIONS",
        route: "",
        caller: "",
    };
    let now = context.clock.now();
    let clients = &context.metrics.clients;
    clients.refused(kind, detail, head.client, now);
}

/// A web page whose origin is allowed has asked. Only browsers send preflights of their own accord.
pub(super) fn count_page(context: &ApiContext, head: &Head, request: PageRequest) {
    let headers = head.headers();
    let Some(origin) = context.cors.page(headers) else {
        return;
    };
    let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    let is_browser = agent.is_some_and(|agent| agent.starts_with(b"Mozilla/"));
    if is_browser || request == PageRequest::Other {
        let now = context.clock.now();
        context.metrics.clients.of_page(origin, request, now);
    }
}

/// A connection ended because what it began with is no request that can be read. Logged once within
/// the minutes that `/status` covers.
pub(super) fn count_connection(
    context: &ApiContext,
    opening: Opening,
    error: &hyper::Error,
    address: IpAddr,
) {
    if !error.is_parse() {
        return;
    }
    let (status, reason, what) = match opening {
        Opening::Proxy => (400, "proxy_protocol", "a PROXY protocol header"),
        Opening::Tls => (400, "tls", "a TLS hello"),
        Opening::Http2 => (0, "http2", "HTTP/2"),
        Opening::Other if error.is_parse_too_large() => {
            (431, "head_too_large", "a head that is too large")
        }
        Opening::Other => (400, "malformed_head", "a head that is not HTTP/1.1"),
    };
    let detail = (reason == "malformed_head").then(|| malformed_part(error));
    let kind = RefusalKind {
        status,
        reason,
        method: "",
        route: "",
        caller: "",
    };
    let now = context.clock.now();
    let clients = &context.metrics.clients;
    let detail = detail.map(Cow::Borrowed);
    if clients.refused(kind, detail, address.to_canonical(), now) && opening != Opening::Other {
        tracing::warn!(
            "a connection began with {what}, and only HTTP/1.1 without encryption is spoken here; \
             further ones are counted in /status: run todoctl doctor"
        );
    }
}

/// Why, what exactly, and from where.
fn reason(
    context: &ApiContext,
    router: &Router,
    head: &Head,
    error: &ApiError,
) -> Option<(&'static str, Detail, IpAddr)> {
    let headers = head.headers();
    let mut address = likely_address(head.client, headers);
    let (reason, detail) = match error {
        ApiError::PathNotFound => match wanted_stream(headers) {
            Some(stream) => ("stream", Some(Cow::Borrowed(stream))),
            None => wrong_path(router, head.path(), unidentified(headers) == "none"),
        },
        ApiError::MethodNotAllowed { .. } if is_probe(head.path()) => ("probe_method", None),
        ApiError::MethodNotAllowed { .. } if is_refresh(head.path()) => ("refresh_method", None),
        ApiError::MethodNotAllowed { .. } => ("method", None),
        ApiError::Header { name, problem } => (*name, Some(problem.clone())),
        ApiError::Body(BodyError::NotJson) => ("media_type", media_type(headers)),
        ApiError::Body(BodyError::NotUtf8) => match headers.get(CONTENT_ENCODING) {
            Some(_) => ("content_encoding", None),
            None => ("not_utf8", None),
        },
        ApiError::BodyIncomplete(_) => ("body_incomplete", None),
        ApiError::BodyTimedOut => ("body_timed_out", None),
        ApiError::BodyTooLarge { .. } => ("body_too_large", None),
        ApiError::Validation(errors) | ApiError::Body(BodyError::Syntax(errors)) => {
            match errors.first_code() {
                Some(Code::IdempotencyKeyReused) => ("idempotency_key_reused", None),
                _ if errors.is_of_path() => ("path_id", Some(path_id(head.path()).into())),
                _ if head.method().is_safe() => ("parameters", None),
                Some(code) if code.is_of_form() => ("body_form", None),
                _ => ("validation", None),
            }
        }
        ApiError::PreconditionFailed => ("precondition", weak_tag(headers)),
        ApiError::MissingRefreshToken => (
            "refresh_missing",
            Some(tokens::in_place_of_cookie(headers).into()),
        ),
        ApiError::InvalidRefreshToken(why) => match why {
            UnknownToken::Row => (
                "refresh_invalid",
                tokens::both_cookies(headers).map(Cow::Borrowed),
            ),
            UnknownToken::Table => ("refresh_no_table", None),
            UnknownToken::Column => ("refresh_no_column", None),
        },
        ApiError::RefreshTokenExpired => ("refresh_expired", None),
        ApiError::RateLimited { limit, .. } => match limit {
            RateLimit::Requests => ("rate_limit", None),
            RateLimit::KeyAttempts => return None,
            RateLimit::AuthFailures => {
                let shared = context.limits.shared_by(head.peer, head.client, headers);
                let (reason, detail, at) = limited(shared, head.client);
                address = at;
                (reason, detail)
            }
        },
        _ => return None,
    };
    Some((reason, detail, address))
}

/// `client` has used up its wrong credentials.
fn limited(shared: SharedBy, client: IpAddr) -> (&'static str, Detail, IpAddr) {
    match shared {
        SharedBy::Nobody => ("limited", None, client),
        SharedBy::UntrustedProxy(proxy) => ("limited_untrusted_proxy", None, proxy),
        SharedBy::SilentProxy(proxy) => ("limited_silent_proxy", None, proxy),
        SharedBy::OtherHeader(proxy, name) => {
            ("limited_other_header", Some(Cow::Borrowed(name)), proxy)
        }
        SharedBy::SecondProxy { network, behind } => {
            let network = Some(Cow::Owned(network.to_string()));
            ("limited_second_proxy", network, behind)
        }
    }
}

/// For requests whose credentials were not checked. Bots try passwords (Basic).
fn unidentified(headers: &HeaderMap) -> &'static str {
    let has_token = headers.get(AUTHORIZATION).is_some_and(|value| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    });
    if has_token || headers.contains_key(X_SERVICE_AUTH) {
        "unknown"
    } else {
        "none"
    }
}

/// Whether clients without credentials are counted as well.
fn is_of_anybody(reason: &str) -> bool {
    matches!(
        reason,
        "probe_path" | "probe_method" | "Host" | "stream" | "refresh_method"
    )
}

fn is_refresh(path: &str) -> bool {
    path.trim_end_matches('/') == "/api/auth/refresh"
}

/// What is in place of the id in the path.
fn path_id(path: &str) -> &'static str {
    let mut segments = path.split('/').map(decode);
    let names = |segment: Cow<'_, str>| PLACEHOLDERS.into_iter().find(|name| *name == segment);
    segments.find_map(names).unwrap_or("no whole number")
}

/// The part of a head that cannot be read; hyper tells it in words only.
fn malformed_part(error: &hyper::Error) -> &'static str {
    let text = error.to_string();
    let parts = [
        ("method", "method"),
        ("URI", "address"),
        ("version", "version"),
        ("content-length", "Content-Length"),
        ("transfer-encoding", "Transfer-Encoding"),
        ("header", "header"),
    ];
    let mut parts = parts.into_iter();
    let found = parts.find(|(word, _)| text.contains(word));
    found.map_or("another part", |(_, part)| part)
}

fn route(found: &Found) -> &'static str {
    match &found.endpoint {
        Ok(endpoint) => endpoint.path,
        Err(Miss::Method { path, .. }) => path,
        Err(Miss::Path) => "",
    }
}

/// What the client wants in place of one answer.
fn wanted_stream(headers: &HeaderMap) -> Option<&'static str> {
    let has = |name, value: &[u8]| {
        let sent = headers.get(name).map(HeaderValue::as_bytes);
        sent.is_some_and(|sent| sent.eq_ignore_ascii_case(value))
    };
    if has(UPGRADE, b"websocket") {
        Some("websocket")
    } else {
        has(ACCEPT, b"text/event-stream").then_some("event stream")
    }
}

/// The type, if it is a usual one.
fn media_type(headers: &HeaderMap) -> Detail {
    let sent = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)?;
    let essence = sent.split(|byte| *byte == b';').next()?.trim_ascii();
    let known = MEDIA_TYPES.into_iter();
    let mut known = known.filter(|one| one.as_bytes().eq_ignore_ascii_case(essence));
    Some(Cow::Borrowed(known.next().unwrap_or("another")))
}

/// RFC 9110, section 13.1.1: a weak tag never matches `If-Match`.
fn weak_tag(headers: &HeaderMap) -> Detail {
    let tag = headers.get(IF_MATCH)?.as_bytes();
    tag.starts_with(b"W/").then_some(Cow::Borrowed("weak"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_known_ones() {
        let of = |value: &'static str| {
            let value = (CONTENT_TYPE, HeaderValue::from_static(value));
            media_type(&HeaderMap::from_iter([value]))
        };
        let known = of("Text/Plain; charset=utf-8");
        assert_eq!(known.as_deref(), Some("text/plain"));
        assert_eq!(of("application/canary").as_deref(), Some("another"));
    }
}
