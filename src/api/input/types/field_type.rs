//! What every type of a field has in common.

use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};

use crate::api::input::errors::{Code, FieldErrors, Refused};

/// A type that a field of an input can have.
pub(crate) trait FieldType: Sized {
    /// The schema of a value, without null.
    fn schema() -> RefOr<Schema>;

    /// Reads a value, or adds an error. `None` is a value that counts as absent, such as a blank
    /// description.
    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused>;
}

/// Reads a JSON string.
pub(super) fn string<'v>(
    input: &'v Value,
    errors: &mut FieldErrors<'_>,
) -> Result<&'v str, Refused> {
    input
        .as_str()
        .ok_or_else(|| errors.refuse(Code::StringType, "Input should be a string", input))
}
