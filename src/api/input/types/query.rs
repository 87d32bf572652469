//! The parameters of a list; contract 3.4, and 13 for cursors.

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};

use super::field_type::{FieldType, string};
use crate::api::cursor::SignedPosition;
use crate::api::input::errors::{Code, FieldErrors, Refused, ValidationErrors};
use crate::domain::{Timestamp, UserId};
use crate::store::TaskPosition;

/// A text to search for; an empty one is no filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Search(pub String);

impl FieldType for Search {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .examples(["rent"])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        let text = string(input, errors)?;
        if text.contains('\0') {
            let message = "String must not contain NUL characters";
            return Err(errors.refuse(Code::ValueError, message, input));
        }
        Ok((!text.is_empty()).then(|| Self(text.to_owned())))
    }
}

/// A boolean written as a word or a digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag(pub bool);

impl FieldType for Flag {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .examples([true])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        let text = string(input, errors)?.to_ascii_lowercase();
        match text.as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Ok(Some(Self(true))),
            "false" | "0" | "no" | "off" | "f" | "n" => Ok(Some(Self(false))),
            _ => Err(errors.refuse(Code::BoolParsing, "Input should be true or false", input)),
        }
    }
}

/// A UTC day: `YYYY-MM-DD`, or a date-time at exactly midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day(pub NaiveDate);

impl FieldType for Day {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)))
            .examples(["2031-01-31"])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        let Ok(moment) = string(input, errors)?.parse::<Timestamp>() else {
            let message = "Input should be a date such as 2031-01-31";
            return Err(errors.refuse(Code::DateFromDatetimeParsing, message, input));
        };
        if moment.micros().rem_euclid(86_400_000_000) != 0 {
            let message = "A date-time given as a date should be at midnight UTC";
            return Err(errors.refuse(Code::DateFromDatetimeInexact, message, input));
        }
        Ok(Some(Self(moment.to_datetime().date_naive())))
    }
}

/// The number of a page, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Page(pub i64);

impl Page {
    const MIN: i64 = 1;
}

impl Default for Page {
    fn default() -> Self {
        Self(Self::MIN)
    }
}

impl FieldType for Page {
    fn schema() -> RefOr<Schema> {
        integer(Self::MIN)
            .default(Some(Self::default().0.into()))
            .examples([1])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        Ok(Some(Self(in_range(input, Self::MIN..=i64::MAX, errors)?)))
    }
}

/// The number of tasks on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Limit(pub i64);

impl Limit {
    const MIN: i64 = 1;
    const MAX: i64 = 1000;
}

impl Default for Limit {
    fn default() -> Self {
        Self(Self::MAX)
    }
}

impl FieldType for Limit {
    fn schema() -> RefOr<Schema> {
        integer(Self::MIN)
            .maximum(Some(Self::MAX))
            .examples([20])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        Ok(Some(Self(in_range(input, Self::MIN..=Self::MAX, errors)?)))
    }
}

fn integer(minimum: i64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(minimum))
}

fn in_range(
    input: &Value,
    range: std::ops::RangeInclusive<i64>,
    errors: &mut FieldErrors<'_>,
) -> Result<i64, Refused> {
    let (code, message) = match string(input, errors)?.parse::<i64>() {
        Ok(number) if range.contains(&number) => return Ok(number),
        Ok(number) if number < *range.start() => (
            Code::GreaterThanEqual,
            format!("Input should be greater than or equal to {}", range.start()),
        ),
        Ok(_) => (
            Code::LessThanEqual,
            format!("Input should be less than or equal to {}", range.end()),
        ),
        Err(_) => (
            Code::IntParsing,
            "Input should be an integer of at most 64 bits".to_owned(),
        ),
    };
    Err(errors.refuse(code, message, input))
}

/// Where a list continues: its start if the text is empty, otherwise a `next_cursor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    text: String,
    position: Option<SignedPosition>,
}

impl FieldType for Cursor {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .examples([""])
            .into()
    }

    fn read(input: &Value, errors: &mut FieldErrors<'_>) -> Result<Option<Self>, Refused> {
        let text = string(input, errors)?.to_owned();
        let position = SignedPosition::decode(&text);
        if position.is_none() && !text.is_empty() {
            return Err(errors.refuse(Code::ValueError, Self::INVALID, input));
        }
        Ok(Some(Self { text, position }))
    }
}

impl Cursor {
    const INVALID: &'static str = "Input should be empty or the next_cursor of an earlier list";

    /// The position in the list of `user`; `None` is its start. A cursor that was written for
    /// another user is refused.
    pub fn position(&self, user: &UserId) -> Result<Option<TaskPosition>, ValidationErrors> {
        match &self.position {
            None => Ok(None),
            Some(signed) => match signed.verify(user) {
                Some(position) => Ok(Some(position)),
                None => Err(self.refuse(Self::INVALID)),
            },
        }
    }

    /// An error about this cursor.
    pub fn refuse(&self, message: &str) -> ValidationErrors {
        let input = Value::from(self.text.as_str());
        ValidationErrors::single("query.cursor", Code::ValueError, message, &input)
    }
}
