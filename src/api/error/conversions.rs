//! The errors of other modules as errors of a request.

use super::{ApiError, Overload};
use crate::api::input::{BodyError, ValidationErrors};
use crate::store::StoreError;

impl From<ValidationErrors> for ApiError {
    fn from(errors: ValidationErrors) -> Self {
        Self::Validation(errors)
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooBusy { of_user: false, .. } => Self::Overloaded(Overload::Queue),
            StoreError::TooBusy { of_user: true, .. } | StoreError::ShareTimeout { .. } => {
                Self::Overloaded(Overload::Share)
            }
            StoreError::ClientLeft => Self::Overloaded(Overload::ClientLeft),
            error if error.is_unavailable() => Self::DatabaseUnavailable(error),
            StoreError::Unstorable(_) => Self::Unstorable(error),
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
