//! The three forms of an error body; contract 1.1.

use serde::Serialize;
use utoipa::ToSchema;

use super::input::{FieldError, ValidationErrors};

/// (a) An error other than those below.
#[derive(Serialize, ToSchema)]
pub(super) struct PlainError {
    /// What is wrong, for people.
    #[schema(example = "Not authenticated")]
    pub detail: String,
}

/// (b) An error about a token.
#[derive(Serialize, ToSchema)]
pub(super) struct CodedError {
    pub detail: CodedDetail,
}

/// What is wrong with a token.
#[derive(Serialize, ToSchema)]
pub(super) struct CodedDetail {
    /// For programs.
    #[schema(example = "token_expired")]
    pub error_code: &'static str,
    /// For people.
    pub message: String,
}

/// (c) A validation error, a conflict or a server error.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorEnvelope {
    /// `validation_error`, `integrity_error`, `outcome_unknown`, `database_error`,
    /// `internal_error` or `service_unavailable`.
    pub r#type: &'static str,
    /// The kind of error, for people.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, for people.
    pub detail: String,
    /// The path of the request, decoded.
    pub instance: String,
    /// The time of the error, in UTC.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// The value of `X-Request-ID`, which the log has too.
    #[schema(value_type = Option<String>, required)]
    pub request_id: String,
    /// Every invalid field; null unless this is a validation error.
    #[schema(value_type = Option<Vec<FieldError>>, required)]
    pub errors: Option<ValidationErrors>,
    /// Seconds to wait before the next attempt, where that helps.
    #[schema(required)]
    pub retry_after: Option<u32>,
    /// Always null.
    #[schema(value_type = Option<Object>, required)]
    pub rate_limit_info: (),
}
