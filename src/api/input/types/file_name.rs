//! The name of a file in a path.

use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use super::field_type::{FieldType, string};
use crate::api::input::errors::{FieldErrors, Refused};

/// The name of a file, which may not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileName(pub String);

impl FieldType for FileName {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .examples(["swagger-ui.css"])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        Ok(Some(Self(string(input, errors)?.to_owned())))
    }
}
