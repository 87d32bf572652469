//! The errors that a request can end with.
//!
//! The text of a variant is for the client, its source only for the log. One `match`,
//! [`ApiError::answer`], maps a variant to status, body and headers.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;

use http::header::{ALLOW, HeaderMap, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::domain::{ProviderKeyError, Timestamp};
use crate::services::auth_server::AuthServerError;
use crate::services::key_provider::ProbeError;
use crate::store::{StoreError, UndecipherableError, UnknownToken, causes};

use super::allowance::Allowance;
use super::error_body::{CodedDetail, CodedError, ErrorEnvelope, PlainError};
use super::head::decode;
use super::input::{BodyError, ValidationErrors};
use super::refusal::Refusal;
use super::reply::Reply;

mod conversions;
mod exceeded;
mod kind;

pub(super) use exceeded::{Overload, RateLimit};

/// An error of any type, kept for the log.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// How long a client should wait before it tries again, in seconds.
const RETRY_SECONDS: u32 = 2;

/// Why a request was not answered with success.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// A request header that cannot be used.
    #[error("{name}: {problem}")]
    Header {
        name: &'static str,
        problem: Cow<'static, str>,
    },
    /// The body is not text, or not readable JSON.
    #[error("{0}")]
    Body(BodyError),
    /// The client stopped in the middle of the body.
    #[error("Request body could not be read")]
    BodyIncomplete(#[source] Source),
    #[error("{0}")]
    ProviderKeyForm(#[source] ProviderKeyError),
    #[error("{0}")]
    ProviderKeyRejected(#[source] ProbeError),

    #[error("Not authenticated")]
    NotAuthenticated(#[source] Refusal),
    /// The bearer value beside `X-User-ID` is not the service token (contract 2.2).
    #[error("Invalid service credentials")]
    WrongServiceToken(#[source] Refusal),
    /// `X-Service-Auth` is not the service token (contract 2.3).
    #[error("Invalid service credentials")]
    WrongServiceAuth(#[source] Refusal),
    #[error("{}", .0.text())]
    InvalidToken(#[source] Refusal),
    #[error("Token has expired")]
    TokenExpired(#[source] Refusal),
    #[error("No refresh token")]
    MissingRefreshToken,
    #[error("Invalid refresh token")]
    InvalidRefreshToken(UnknownToken),
    #[error("The refresh token has expired")]
    RefreshTokenExpired,

    #[error("Not Found")]
    PathNotFound,
    /// No such task, or another user's.
    #[error("Task with id {0} not found")]
    TaskNotFound(String),
    /// No such notification, or another user's.
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
    /// A create that may have succeeded. Not a 5xx, because browsers retry those and would create a
    /// second task (contract 11.3).
    #[error("It is not known whether the task was created: read the list before you try again")]
    OutcomeUnknown(#[source] Option<StoreError>),
    #[error("The condition in If-Match or If-None-Match does not hold")]
    PreconditionFailed,
    #[error("Request body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("{0}")]
    Validation(ValidationErrors),
    /// What gets past the validation of texts (contract 10.11).
    #[error(
        "A text contains a character that the database cannot store, such as NUL (U+0000): remove it"
    )]
    Unstorable(#[source] StoreError),
    #[error("{}", limit.detail(allowance))]
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
    #[error("{}", .0.detail())]
    Overloaded(#[source] Overload),
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

    /// The error of a handler that panicked with `payload`.
    pub fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self::internal(match text {
            Some(text) => format!("the handler panicked: {text}"),
            None => "the handler panicked".to_owned(),
        })
    }

    pub fn task_not_found(id: &impl fmt::Display) -> Self {
        Self::TaskNotFound(short(id))
    }

    pub fn notification_not_found(id: &impl fmt::Display) -> Self {
        Self::NotificationNotFound(short(id))
    }

    /// Status, form of the body and headers of each error.
    fn answer(&self) -> (StatusCode, Form, HeaderMap) {
        use Form::{Coded, Envelope, Plain};

        let none = HeaderMap::new;
        let challenge = || header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        let token = |code, headers| (StatusCode::UNAUTHORIZED, Coded(code), headers);
        let conflict = |kind| {
            let title = "Conflict";
            (StatusCode::CONFLICT, Envelope { kind, title }, none())
        };
        let fault = |kind, title| {
            let form = Envelope { kind, title };
            (StatusCode::INTERNAL_SERVER_ERROR, form, none())
        };
        match self {
            Self::Header { .. }
            | Self::Body(BodyError::NotUtf8 | BodyError::TooDeep)
            | Self::BodyIncomplete(_)
            | Self::ProviderKeyForm(_)
            | Self::ProviderKeyRejected(_) => (StatusCode::BAD_REQUEST, Plain, none()),

            Self::NotAuthenticated(_) | Self::WrongServiceToken(_) => {
                (StatusCode::UNAUTHORIZED, Plain, challenge())
            }
            Self::WrongServiceAuth(_) => (StatusCode::UNAUTHORIZED, Plain, none()),
            Self::InvalidToken(_) => token("invalid_token", challenge()),
            Self::TokenExpired(_) => token("token_expired", challenge()),
            // Without a challenge: contract 6.1.
            Self::MissingRefreshToken => token("missing_refresh_token", none()),
            Self::InvalidRefreshToken(_) => token("invalid_refresh_token", none()),
            Self::RefreshTokenExpired => token("refresh_token_expired", none()),

            Self::PathNotFound
            | Self::TaskNotFound(_)
            | Self::NotificationNotFound(_)
            | Self::KeyNotFound => (StatusCode::NOT_FOUND, Plain, none()),
            Self::MethodNotAllowed { allow } => {
                let allow = header(ALLOW, allow.clone());
                (StatusCode::METHOD_NOT_ALLOWED, Plain, allow)
            }
            Self::BodyTimedOut => (StatusCode::REQUEST_TIMEOUT, Plain, none()),
            Self::Conflict(_) => conflict("integrity_error"),
            Self::OutcomeUnknown(_) => conflict("outcome_unknown"),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, Plain, none()),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Plain, none()),
            Self::Body(BodyError::NotJson) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Plain, none()),
            Self::Validation(_) | Self::Unstorable(_) | Self::Body(BodyError::Syntax(_)) => {
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
            Self::Database(_) => fault("database_error", "Database Error"),
            Self::Internal(_) => fault("internal_error", "Internal Server Error"),

            Self::DatabaseUnavailable(_)
            | Self::AuthServerUnavailable(_)
            | Self::NoTokenIssuer
            | Self::TimedOut
            | Self::Overloaded(_) => {
                let form = Envelope {
                    kind: "service_unavailable",
                    title: "Service Unavailable",
                };
                let retry = header(RETRY_AFTER, HeaderValue::from(self.retry_seconds()));
                (StatusCode::SERVICE_UNAVAILABLE, form, retry)
            }
        }
    }

    /// How long the client of a 503 should wait, in seconds.
    fn retry_seconds(&self) -> u32 {
        match self {
            Self::AuthServerUnavailable(error) => error.wait_seconds().unwrap_or(RETRY_SECONDS),
            _ => RETRY_SECONDS,
        }
    }

    /// The answer to the client.
    pub fn reply(&self, context: &Context<'_>) -> Reply {
        let (status, form, headers) = self.answer();
        let detail = self.to_string();
        let body = match form {
            Form::Plain => serde_json::to_vec(&PlainError { detail }),
            Form::Coded(error_code) => serde_json::to_vec(&CodedError {
                detail: CodedDetail {
                    error_code,
                    message: detail,
                },
            }),
            Form::Envelope { kind, title } => serde_json::to_vec(&ErrorEnvelope {
                r#type: kind,
                title,
                status: status.as_u16(),
                detail,
                instance: decode(context.path).into_owned(),
                timestamp: context.now.to_offset_string(),
                request_id: context.request_id.to_owned(),
                errors: self.fields().cloned(),
                retry_after: headers
                    .contains_key(RETRY_AFTER)
                    .then(|| self.retry_seconds()),
                rate_limit_info: (),
            }),
        };
        // Texts and numbers always become JSON.
        let mut reply = Reply::json_text(status, body.unwrap_or_default());
        reply.headers.extend(headers);
        reply
    }

    fn fields(&self) -> Option<&ValidationErrors> {
        match self {
            Self::Validation(errors) | Self::Body(BodyError::Syntax(errors)) => Some(errors),
            _ => None,
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.answer().0
    }

    /// Whether the client may be guessing a secret. Expired tokens do not count: browsers send one
    /// every half hour.
    pub fn is_wrong_credentials(&self) -> bool {
        match self {
            Self::WrongServiceToken(reason)
            | Self::WrongServiceAuth(reason)
            | Self::InvalidToken(reason) => reason.may_be_a_guess(),
            Self::InvalidRefreshToken(_) => true,
            _ => false,
        }
    }

    /// Whether the address has used up its wrong credentials.
    pub fn is_beyond_failures(&self) -> bool {
        matches!(
            self,
            Self::RateLimited {
                limit: RateLimit::AuthFailures,
                ..
            }
        )
    }

    /// Why the credentials in the headers were refused, if that is the error.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::NotAuthenticated(reason)
            | Self::WrongServiceToken(reason)
            | Self::WrongServiceAuth(reason)
            | Self::InvalidToken(reason)
            | Self::TokenExpired(reason) => Some(*reason),
            _ => None,
        }
    }

    /// The cause for the log: the source and its sources. For server errors without a source, the
    /// text that the client reads.
    pub fn cause(&self) -> Option<String> {
        match std::error::Error::source(self) {
            Some(source) => Some(causes(source).join(": ")),
            None => self.status().is_server_error().then(|| self.to_string()),
        }
    }
}

fn header(name: HeaderName, value: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(name, value)])
}

/// An id as the client sent it, shortened.
fn short(id: &impl fmt::Display) -> String {
    id.to_string().chars().take(40).collect()
}
