//! The three forms of an error body, contract 1.1.

use serde::Serialize;

use super::input::{FieldError, ValidationErrors};

/// An error with a text alone; contract 1.1 (a).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PlainError {
    /// What is wrong, for people.
    #[schema(example = "Not authenticated")]
    pub detail: String,
}

/// An error about a token; contract 1.1 (b).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CodedError {
    pub detail: CodedDetail,
}

/// What is wrong with a token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CodedDetail {
    /// For programs.
    #[schema(example = "token_expired")]
    pub error_code: &'static str,
    /// For people.
    pub message: String,
}

/// A validation error or a server fault; contract 1.1 (c).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ErrorEnvelope {
    /// `validation_error`, `integrity_error`, `outcome_unknown`, `database_error`,
    /// `internal_error` or `service_unavailable`.
    pub r#type: &'static str,
    /// The kind of error, for people.
    pub title: &'static str,
    /// The HTTP status again.
    pub status: u16,
    /// What is wrong, for people.
    pub detail: String,
    /// The path of the request.
    pub instance: String,
    /// The time of the answer, in UTC.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// The value of `X-Request-ID`, which is in the daemon's log too.
    #[schema(required)]
    pub request_id: Option<String>,
    /// Every invalid field; null if the request is valid.
    #[schema(required, value_type = Option<Vec<FieldError>>)]
    pub errors: Option<ValidationErrors>,
    /// Seconds to wait before another attempt, if one may succeed.
    #[schema(required)]
    pub retry_after: Option<u32>,
    /// Always null.
    #[schema(required, value_type = Option<Object>)]
    pub rate_limit_info: Option<()>,
}
