//! Every answer that is not a success.
//!
//! Two messages: what the caller is told stands in the [`ApiError`]; what only
//! the log is told is its source. A handler returns the error as a value; the
//! layers around warp write its body, because only they know the request's id,
//! path and time ([`ApiError::render`]).

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use warp::reply::Response;

use crate::domain::Timestamp;
use crate::services::auth_server::AuthServerError;
use crate::store::{StoreError, UndecipherableError};

use super::limits::Allowance;

/// One faulty field of a request; contract 1.1.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// `title`, `task_ids.1`, `query.page`, `path.task_id`; empty for the body as a whole.
    pub field: String,
    /// What is wrong, for people.
    pub message: String,
    /// What is wrong, for programs.
    pub code: &'static str,
    /// The rejected input, cut off when it is long.
    #[schema(value_type = Value)]
    pub value: Value,
}

/// An answer that is not a success. Cheap to clone, so that it fits a response's extensions.
#[derive(Debug, Clone)]
pub(super) struct ApiError(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    shape: Shape,
    headers: Vec<(HeaderName, HeaderValue)>,
    wrong_credentials: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The contract's three shapes, 1.1.
#[derive(Debug)]
enum Shape {
    Plain(Cow<'static, str>),
    Coded {
        code: &'static str,
        message: &'static str,
    },
    Envelope {
        kind: &'static str,
        title: &'static str,
        detail: Cow<'static, str>,
        errors: Option<Vec<FieldError>>,
        retry_after: Option<u32>,
    },
    /// 404 or 405: the route table knows which.
    Unrouted,
}

/// How long a client should wait before it asks again, in seconds.
const RETRY_SECONDS: u32 = 2;

impl ApiError {
    fn new(status: StatusCode, shape: Shape) -> Self {
        Self(Arc::new(Inner {
            status,
            shape,
            headers: Vec::new(),
            wrong_credentials: false,
            source: None,
        }))
    }

    fn plain(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, Shape::Plain(detail.into()))
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.headers.push((name, value));
        }
        self
    }

    fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.source = Some(source.into());
        }
        self
    }

    /// 401 (a): no credentials.
    pub fn unauthorized(detail: &'static str) -> Self {
        Self::plain(StatusCode::UNAUTHORIZED, detail).challenging()
    }

    /// 401 (a), without a challenge: not the service token.
    pub fn wrong_service_token() -> Self {
        let mut error = Self::plain(StatusCode::UNAUTHORIZED, "Invalid service credentials");
        if let Some(inner) = Arc::get_mut(&mut error.0) {
            inner.wrong_credentials = true;
        }
        error
    }

    /// 401 (b): a token that is not good, or no longer.
    pub fn bad_token(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Shape::Coded { code, message }).challenging()
    }

    /// Says which credentials are wanted.
    pub fn challenging(self) -> Self {
        self.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// Whether somebody may be guessing. A token that has expired was good once,
    /// and browsers send one every half hour.
    pub fn is_wrong_credentials(&self) -> bool {
        match self.0.shape {
            Shape::Coded { code, .. } => matches!(code, "invalid_token" | "invalid_refresh_token"),
            _ => self.0.wrong_credentials,
        }
    }

    /// 429 (a) with `Retry-After` and what is left: nothing.
    pub fn too_many(detail: &'static str, spent: &Allowance) -> Self {
        let error = Self::plain(StatusCode::TOO_MANY_REQUESTS, detail);
        let headers = spent.refusal_headers().into_iter();
        headers.fold(error, |error, (name, value)| error.with_header(name, value))
    }

    /// 401 (b) about the cookie of a session route, which has no challenge (contract 6.1).
    pub fn bad_refresh_token(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Shape::Coded { code, message })
    }

    /// 400 (a).
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::plain(StatusCode::BAD_REQUEST, detail)
    }

    /// 404 (a): there is no such task, or it is somebody else's.
    pub fn task_not_found(id: &str) -> Self {
        Self::nothing_with_id("Task", id)
    }

    /// 404 (a): there is no such notification, or it is somebody else's.
    pub fn notification_not_found(id: &str) -> Self {
        Self::nothing_with_id("Notification", id)
    }

    fn nothing_with_id(what: &str, id: &str) -> Self {
        // The segment is the client's text; a long one is not worth repeating.
        let id: String = id.chars().take(40).collect();
        Self::plain(
            StatusCode::NOT_FOUND,
            format!("{what} with id {id} not found"),
        )
    }

    /// 404 (a): the user has no provider key.
    pub fn key_not_found() -> Self {
        Self::plain(StatusCode::NOT_FOUND, "No API key is stored")
    }

    /// 500 (a): a stored provider key cannot be decrypted.
    pub fn key_unreadable(source: UndecipherableError) -> Self {
        Self::plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The stored API key cannot be read",
        )
        .with_source(source)
    }

    /// 404 or 405, as the route table says.
    pub fn unrouted() -> Self {
        Self::new(StatusCode::NOT_FOUND, Shape::Unrouted)
    }

    /// 404 (a): a path without a resource.
    pub fn not_found() -> Self {
        Self::plain(StatusCode::NOT_FOUND, "Not Found")
    }

    /// 405 (a) with every method that the path has.
    fn wrong_method(allow: &str) -> Self {
        let allow = HeaderValue::from_str(allow).unwrap_or(HeaderValue::from_static("GET"));
        Self::plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").with_header(ALLOW, allow)
    }

    /// 412 (a): the task is not, or no longer, as the client's condition wants it.
    pub fn precondition_failed() -> Self {
        Self::plain(
            StatusCode::PRECONDITION_FAILED,
            "The condition in If-Match or If-None-Match does not hold",
        )
    }

    /// 413 (a).
    pub fn body_too_large(limit: usize) -> Self {
        Self::plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Request body is larger than {limit} bytes"),
        )
    }

    /// 408 (a): the body did not arrive in time.
    pub fn body_too_slow() -> Self {
        Self::plain(
            StatusCode::REQUEST_TIMEOUT,
            "Request body did not arrive in time",
        )
    }

    /// 400 (a): the client stopped in the middle of its body.
    pub fn body_broken(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::bad_request("Request body could not be read").with_source(source)
    }

    /// 415 (a).
    pub fn not_json() -> Self {
        Self::plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        )
    }

    /// 422 (c) with every fault found.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.field.is_empty() => only.message.clone(),
            [only] => format!("{}: {}", only.field, only.message),
            several => format!("{} fields are not valid", several.len()),
        };
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Shape::Envelope {
                kind: "validation_error",
                title: "Validation Error",
                detail: detail.into(),
                errors: Some(errors),
                retry_after: None,
            },
        )
    }

    /// 503 (c) with `Retry-After`.
    pub fn unavailable(detail: &'static str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Shape::Envelope {
                kind: "service_unavailable",
                title: "Service Unavailable",
                detail: detail.into(),
                errors: None,
                retry_after: Some(RETRY_SECONDS),
            },
        )
        .with_header(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS))
    }

    /// 409 (c): a create that may have taken place. A browser repeats what ended in a 5xx, and
    /// then there were two (contract 11.3).
    pub fn outcome_unknown() -> Self {
        let detail =
            "It is not known whether the task was created: look at the list before you try again";
        Self::conflict("outcome_unknown", detail)
    }

    fn conflict(kind: &'static str, detail: &'static str) -> Self {
        Self::envelope(StatusCode::CONFLICT, kind, "Conflict", detail)
    }

    /// 500 (c); the source goes to the log alone.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::fault(
            "internal_error",
            "Internal Server Error",
            "An unexpected error occurred",
        )
        .with_source(source)
    }

    fn fault(kind: &'static str, title: &'static str, detail: &'static str) -> Self {
        Self::envelope(StatusCode::INTERNAL_SERVER_ERROR, kind, title, detail)
    }

    /// (c) that names no field.
    fn envelope(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: &'static str,
    ) -> Self {
        let shape = Shape::Envelope {
            kind,
            title,
            detail: detail.into(),
            errors: None,
            retry_after: None,
        };
        Self::new(status, shape)
    }

    /// A response that carries this error to the layers, which write its body.
    pub fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = self.0.status;
        response.extensions_mut().insert(self);
        response
    }

    /// Writes the answer: status, headers and body.
    pub fn render(&self, head: &super::request::Head, now: Timestamp) -> Response {
        use super::route_table::Target;

        if matches!(self.0.shape, Shape::Unrouted) {
            return match &head.target {
                Target::WrongMethod { allow } => Self::wrong_method(allow),
                // A route of the table that no filter serves is one that is switched off.
                Target::NotFound | Target::Found { .. } => Self::not_found(),
            }
            .render(head, now);
        }
        let body = match &self.0.shape {
            Shape::Plain(detail) => json!({ "detail": detail }),
            Shape::Coded { code, message } => {
                json!({ "detail": { "error_code": code, "message": message } })
            }
            Shape::Envelope {
                kind,
                title,
                detail,
                errors,
                retry_after,
            } => json!({
                "type": kind,
                "title": title,
                "status": self.0.status.as_u16(),
                "detail": detail,
                "instance": percent_encoding::percent_decode_str(&head.path).decode_utf8_lossy(),
                "timestamp": now.to_offset_string(),
                "request_id": head.request_id,
                "errors": errors,
                "retry_after": retry_after,
                "rate_limit_info": null,
            }),
            Shape::Unrouted => Value::Null,
        };
        let mut response = Response::new(body.to_string().into());
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &self.0.headers {
            headers.insert(name, value.clone());
        }
        response
    }

    /// What the log is told beyond the status, if anything.
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::PoolTimeout { .. }
            | StoreError::Connect(_)
            | StoreError::ConnectionLost(_)
            | StoreError::Transient(_)
            | StoreError::Closed => {
                Self::unavailable("The database is not available at the moment")
            }
            StoreError::OutcomeUnknown(_) => Self::outcome_unknown(),
            StoreError::Constraint { .. } => {
                Self::conflict("integrity_error", "The change conflicts with existing data")
            }
            StoreError::Corrupt { .. } | StoreError::Query(_) => Self::fault(
                "database_error",
                "Database Error",
                "A database error occurred",
            ),
        }
        .with_source(error)
    }
}

/// Nobody can tell whether the caller's token is good: 503, because a client that gets a
/// 401 signs its user out.
impl From<AuthServerError> for ApiError {
    fn from(error: AuthServerError) -> Self {
        Self::unavailable("The auth server is not available at the moment").with_source(error)
    }
}
