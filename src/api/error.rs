//! The errors that a request can end with.
//!
//! The text of a variant is what the client reads; its source goes to the log alone. One `match`,
//! [`ApiError::answer`], maps a variant to status, body and headers.

use std::borrow::Cow;

use http::header::{ALLOW, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::{ProviderKeyError, Timestamp};
use crate::services::auth_server::AuthServerError;
use crate::services::key_provider::ProbeError;
use crate::store::{StoreError, UndecipherableError};

use super::allowance::Allowance;
use super::reply::Reply;

/// An error of any type, kept for the log.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// How long a client should wait before it tries again, in seconds.
const RETRY_SECONDS: u32 = 2;

/// Why a request was not answered with success.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// A request header that cannot be used.
    #[error("{name} {problem}")]
    Header {
        name: &'static str,
        problem: Cow<'static, str>,
    },
    #[error("Request body is not valid UTF-8")]
    BodyNotUtf8,
    #[error("Request body is nested too deeply")]
    BodyTooDeep,
    /// The client stopped in the middle of its body.
    #[error("Request body could not be read")]
    BodyIncomplete(#[source] Source),
    #[error("{0}")]
    ProviderKeyForm(#[source] ProviderKeyError),
    #[error("{0}")]
    ProviderKeyRejected(#[source] ProbeError),

    #[error("Not authenticated")]
    NotAuthenticated,
    /// The bearer value beside `X-User-ID` is not the service token (contract 2.2).
    #[error("Invalid service credentials")]
    WrongServiceToken,
    /// `X-Service-Auth` is not the service token (contract 2.3).
    #[error("Invalid service credentials")]
    WrongServiceAuth,
    #[error("Invalid token")]
    InvalidToken,
    #[error("Token has expired")]
    TokenExpired,
    #[error("No refresh token")]
    MissingRefreshToken,
    #[error("Invalid refresh token")]
    InvalidRefreshToken,
    #[error("The refresh token has expired")]
    RefreshTokenExpired,

    #[error("Not Found")]
    PathNotFound,
    /// No such task, or another user's. The text is the id as the client sent it.
    #[error("Task with id {0} not found")]
    TaskNotFound(String),
    /// No such notification, or another user's. The text is the id as the client sent it.
    #[error("Notification with id {0} not found")]
    NotificationNotFound(String),
    #[error("No API key is stored")]
    KeyNotFound,
    #[error("Method Not Allowed")]
    MethodNotAllowed { allow: HeaderValue },
    #[error("Request body did not arrive in time")]
    BodyTimedOut,
    /// The store's rules forbid the change.
    #[error("The change conflicts with existing data")]
    Conflict(#[source] StoreError),
    /// A create that may have taken place. Not a 5xx, because a browser repeats those, and then
    /// there were two tasks (contract 11.3).
    #[error("It is not known whether the task was created: read the list before you try again")]
    OutcomeUnknown(#[source] Option<StoreError>),
    #[error("The condition in If-Match or If-None-Match does not hold")]
    PreconditionFailed,
    #[error("Request body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("Content-Type must be application/json")]
    NotJson,
    /// Every invalid field of path, query, headers and body.
    #[error("{}", summary(.0))]
    Validation(Vec<FieldError>),
    #[error("{limit}")]
    RateLimited {
        limit: RateLimit,
        allowance: Allowance,
    },

    #[error("The stored API key cannot be read")]
    KeyUnreadable(#[source] UndecipherableError),
    #[error("A database error occurred")]
    Database(#[source] StoreError),
    #[error("An unexpected error occurred")]
    Internal(#[source] Source),
    /// The panic's hook has logged where it was.
    #[error("An unexpected error occurred")]
    Panicked,

    #[error("The database is not available at the moment")]
    DatabaseUnavailable(#[source] StoreError),
    /// Not a 401: a client that reads one signs its user out.
    #[error("The auth server is not available at the moment")]
    AuthServerUnavailable(#[from] AuthServerError),
    /// There is no `JWT_SECRET` to sign access tokens with.
    #[error("Access tokens cannot be issued here")]
    NoTokenIssuer,
    #[error("The request took too long")]
    TimedOut,
}

/// Which limit a request exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RateLimit {
    /// `RATE_LIMIT_PER_MINUTE`.
    #[error("Too many requests")]
    Requests,
    /// `AUTH_FAILURES_PER_MINUTE`.
    #[error("Too many wrong credentials")]
    AuthFailures,
    /// Contract 5.2.
    #[error("Too many attempts to save an API key")]
    KeyAttempts,
}

/// One invalid field of a request; contract 1.1.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// `title`, `task_ids.1`, `query.page`, `path.task_id`; empty for the body as a whole.
    pub field: String,
    /// What is wrong, for people.
    pub message: String,
    /// What is wrong, for programs.
    pub code: &'static str,
    /// The rejected input, truncated when it is long.
    #[schema(value_type = Value)]
    pub value: Value,
}

/// The three forms of an error body, contract 1.1.
enum Form {
    /// (a)
    Plain,
    /// (b)
    Coded(&'static str),
    /// (c)
    Envelope {
        kind: &'static str,
        title: &'static str,
    },
}

/// The parts of a request that an error body repeats.
pub(super) struct Context<'r> {
    /// As sent.
    pub path: &'r str,
    pub request_id: &'r str,
    pub now: Timestamp,
}

impl ApiError {
    /// Wraps an error that no client can cause.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }

    /// Status, form of the body and headers of each error.
    fn answer(&self) -> (StatusCode, Form, HeaderMap) {
        use Form::{Coded, Envelope, Plain};

        let none = HeaderMap::new;
        let challenge = || header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        let retry = || header(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        let conflict = |kind| Envelope {
            kind,
            title: "Conflict",
        };
        match self {
            Self::Header { .. }
            | Self::BodyNotUtf8
            | Self::BodyTooDeep
            | Self::BodyIncomplete(_)
            | Self::ProviderKeyForm(_)
            | Self::ProviderKeyRejected(_) => (StatusCode::BAD_REQUEST, Plain, none()),

            Self::NotAuthenticated | Self::WrongServiceToken => {
                (StatusCode::UNAUTHORIZED, Plain, challenge())
            }
            Self::WrongServiceAuth => (StatusCode::UNAUTHORIZED, Plain, none()),
            Self::InvalidToken => {
                let form = Coded("invalid_token");
                (StatusCode::UNAUTHORIZED, form, challenge())
            }
            Self::TokenExpired => {
                let form = Coded("token_expired");
                (StatusCode::UNAUTHORIZED, form, challenge())
            }
            // Without a challenge: contract 6.1.
            Self::MissingRefreshToken => {
                let form = Coded("missing_refresh_token");
                (StatusCode::UNAUTHORIZED, form, none())
            }
            Self::InvalidRefreshToken => {
                let form = Coded("invalid_refresh_token");
                (StatusCode::UNAUTHORIZED, form, none())
            }
            Self::RefreshTokenExpired => {
                let form = Coded("refresh_token_expired");
                (StatusCode::UNAUTHORIZED, form, none())
            }

            Self::PathNotFound
            | Self::TaskNotFound(_)
            | Self::NotificationNotFound(_)
            | Self::KeyNotFound => (StatusCode::NOT_FOUND, Plain, none()),
            Self::MethodNotAllowed { allow } => {
                let allow = header(ALLOW, allow.clone());
                (StatusCode::METHOD_NOT_ALLOWED, Plain, allow)
            }
            Self::BodyTimedOut => (StatusCode::REQUEST_TIMEOUT, Plain, none()),
            Self::Conflict(_) => (StatusCode::CONFLICT, conflict("integrity_error"), none()),
            Self::OutcomeUnknown(_) => (StatusCode::CONFLICT, conflict("outcome_unknown"), none()),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, Plain, none()),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Plain, none()),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Plain, none()),
            Self::Validation(_) => {
                let form = Envelope {
                    kind: "validation_error",
                    title: "Validation Error",
                };
                (StatusCode::UNPROCESSABLE_ENTITY, form, none())
            }
            Self::RateLimited { allowance, .. } => {
                let mut headers = none();
                allowance.add_refusal_headers(&mut headers);
                (StatusCode::TOO_MANY_REQUESTS, Plain, headers)
            }

            Self::KeyUnreadable(_) => (StatusCode::INTERNAL_SERVER_ERROR, Plain, none()),
            Self::Database(_) => {
                let form = Envelope {
                    kind: "database_error",
                    title: "Database Error",
                };
                (StatusCode::INTERNAL_SERVER_ERROR, form, none())
            }
            Self::Internal(_) | Self::Panicked => {
                let form = Envelope {
                    kind: "internal_error",
                    title: "Internal Server Error",
                };
                (StatusCode::INTERNAL_SERVER_ERROR, form, none())
            }

            Self::DatabaseUnavailable(_)
            | Self::AuthServerUnavailable(_)
            | Self::NoTokenIssuer
            | Self::TimedOut => {
                let form = Envelope {
                    kind: "service_unavailable",
                    title: "Service Unavailable",
                };
                (StatusCode::SERVICE_UNAVAILABLE, form, retry())
            }
        }
    }

    /// The answer to the client.
    pub fn reply(&self, context: &Context<'_>) -> Reply {
        let (status, form, headers) = self.answer();
        let detail = self.to_string();
        let errors = match self {
            Self::Validation(errors) => Some(errors),
            _ => None,
        };
        let body = match form {
            Form::Plain => json!({ "detail": detail }),
            Form::Coded(code) => json!({ "detail": { "error_code": code, "message": detail } }),
            Form::Envelope { kind, title } => json!({
                "type": kind,
                "title": title,
                "status": status.as_u16(),
                "detail": detail,
                "instance": percent_encoding::percent_decode_str(context.path).decode_utf8_lossy(),
                "timestamp": context.now.to_offset_string(),
                "request_id": context.request_id,
                "errors": errors,
                "retry_after": headers.contains_key(RETRY_AFTER).then_some(RETRY_SECONDS),
                "rate_limit_info": null,
            }),
        };
        let mut reply = Reply::json_text(status, body.to_string());
        reply.headers.extend(headers);
        reply
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.answer().0
    }

    /// Whether the client may be guessing a secret. An expired token was good once, and browsers
    /// send one every half hour.
    pub fn is_wrong_credentials(&self) -> bool {
        matches!(
            self,
            Self::WrongServiceToken
                | Self::WrongServiceAuth
                | Self::InvalidToken
                | Self::InvalidRefreshToken
        )
    }

    /// What the log says beyond the status: the source with its own sources, if there is one.
    pub fn cause(&self) -> Option<String> {
        let mut next = std::error::Error::source(self);
        let mut text: Option<String> = None;
        while let Some(error) = next {
            let own = error.to_string();
            match &mut text {
                None => text = Some(own),
                // Many errors repeat their source's text.
                Some(text) if text.contains(&own) => {}
                Some(text) => *text = format!("{text}: {own}"),
            }
            next = error.source();
        }
        text
    }
}

fn header(name: http::HeaderName, value: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(name, value)])
}

fn summary(errors: &[FieldError]) -> String {
    match errors {
        [only] if only.field.is_empty() => only.message.clone(),
        [only] => format!("{}: {}", only.field, only.message),
        several => format!("{} fields are not valid", several.len()),
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            return Self::DatabaseUnavailable(error);
        }
        match error {
            StoreError::OutcomeUnknown(_) => Self::OutcomeUnknown(Some(error)),
            StoreError::Constraint { .. } => Self::Conflict(error),
            error => Self::Database(error),
        }
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(error)
    }
}
