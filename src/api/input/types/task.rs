//! The fields of a task; contract 3.2 and 3.3.

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

use super::field_type::{FieldType, string};
use crate::api::input::errors::{Code, FieldErrors, Refused};
use crate::domain::{
    Description, ParsePriorityError, ParseTimestampError, Priority, TextError, Timestamp, Title,
};

impl FieldType for Title {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(Self::MAX_CHARS))
            .examples(["Pay rent"])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        Self::new(string(input, errors)?)
            .map(Some)
            .map_err(|error| refuse_text(error, input, errors))
    }
}

impl FieldType for Description {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .max_length(Some(Self::MAX_CHARS))
            .examples(["By bank transfer"])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        Self::new(string(input, errors)?).map_err(|error| refuse_text(error, input, errors))
    }
}

fn refuse_text(error: TextError, input: &Value, errors: &mut FieldErrors<'_>) -> Refused {
    let code = match error {
        TextError::Empty => Code::StringTooShort,
        TextError::TooLong { .. } => Code::StringTooLong,
        TextError::Blank | TextError::Nul => Code::ValueError,
    };
    errors.refuse(code, error.to_string(), input)
}

impl FieldType for Priority {
    fn schema() -> RefOr<Schema> {
        RefOr::Ref(Ref::from_schema_name(<Self as ToSchema>::name()))
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        match input.as_str().map(str::parse) {
            Some(Ok(priority)) => Ok(Some(priority)),
            _ => Err(errors.refuse(Code::Enum, ParsePriorityError.to_string(), input)),
        }
    }
}

/// A due date.
impl FieldType for Timestamp {
    fn schema() -> RefOr<Schema> {
        RefOr::Ref(Ref::from_schema_name(<Self as ToSchema>::name()))
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        let Some(text) = input.as_str() else {
            let message = "Input should be a date-time as a string";
            return Err(errors.refuse(Code::DatetimeType, message, input));
        };
        text.parse()
            .map(Some)
            .map_err(|error: ParseTimestampError| {
                errors.refuse(Code::DatetimeParsing, error.to_string(), input)
            })
    }
}

/// Whether a task is completed.
impl FieldType for bool {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .examples([true])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        match input.as_bool() {
            Some(value) => Ok(Some(value)),
            None => Err(errors.refuse(Code::BoolType, "Input should be true or false", input)),
        }
    }
}
