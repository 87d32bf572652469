//! Ids of tasks and notifications: a path segment, and the list of a bulk request.

use std::fmt;

use serde_json::Value;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{Object, RefOr, Schema};

use super::field_type::FieldType;
use crate::api::input::errors::{Code, FieldErrors, Refused};

fn int64() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .examples([47])
}

/// The id in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowId {
    number: Option<i64>,
    text: String,
}

impl RowId {
    /// `None` when no row can have this id, because it is zero, negative or beyond 64 bits
    /// (contract 10.12).
    pub fn number(&self) -> Option<i64> {
        self.number
    }
}

/// The id as it was sent.
impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FieldType for RowId {
    fn schema() -> RefOr<Schema> {
        int64().into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        let text = input.as_str().unwrap_or_default();
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(errors.refuse(Code::IntParsing, "Input should be an integer", input));
        }
        Ok(Some(Self {
            number: text.parse().ok().filter(|id| *id > 0),
            text: text.to_owned(),
        }))
    }
}

/// An id in the body of a bulk request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ItemId {
    /// Within 64 bits.
    Possible(i64),
    /// An integer beyond 64 bits, which no row can have (contract 10.12).
    Impossible(Value),
}

impl ItemId {
    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Self, Refused> {
        let Value::Number(number) = input else {
            return Err(errors.refuse(Code::IntType, "Input should be an integer", input));
        };
        if let Some(id) = number.as_i64() {
            return Ok(Self::Possible(id));
        }
        let digits = number.as_str().trim_start_matches('-');
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Impossible(input.clone()));
        }
        let message = "Input should be an integer without a fraction";
        Err(errors.refuse(Code::IntFromFloat, message, input))
    }
}

/// The most ids of a bulk request (contract 3.10).
const MAX_IDS: usize = 100_000;

/// The ids of a bulk request: at least one.
impl FieldType for Vec<ItemId> {
    fn schema() -> RefOr<Schema> {
        let item: Object = int64().build();
        ArrayBuilder::new()
            .items(item)
            .min_items(Some(1))
            .max_items(Some(MAX_IDS))
            .examples([[47, 48]])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        let Value::Array(items) = input else {
            return Err(errors.refuse(Code::ListType, "Input should be a list", input));
        };
        if items.is_empty() {
            let message = "List should have at least 1 item";
            return Err(errors.refuse(Code::TooShort, message, input));
        }
        if items.len() > MAX_IDS {
            let message = format!("List should have at most {MAX_IDS} items");
            return Err(errors.refuse(Code::TooLong, message, input));
        }
        // Every element is read before the first error ends the list.
        let read: Vec<Result<ItemId, Refused>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| ItemId::read(item, &mut errors.element(index)))
            .collect();
        read.into_iter()
            .collect::<Result<Self, Refused>>()
            .map(Some)
    }
}
