//! Validation errors: contract 1.1 (c).

use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// A rejected input longer than this many bytes is cut off in the answer (contract 10.7).
const ECHO_LIMIT: usize = 200;

/// What is wrong with a field, for programs; contract 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    BoolParsing,
    BoolType,
    DateFromDatetimeInexact,
    DateFromDatetimeParsing,
    DatetimeParsing,
    DatetimeType,
    Enum,
    GreaterThanEqual,
    IdempotencyKeyReused,
    IntFromFloat,
    IntParsing,
    IntType,
    JsonInvalid,
    LessThanEqual,
    ListType,
    Missing,
    ModelAttributesType,
    StringTooLong,
    StringTooShort,
    StringType,
    TooShort,
    ValueError,
}

/// One invalid field of a request; contract 1.1.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct FieldError {
    /// `title`, `task_ids.1`, `query.page`, `path.task_id`; empty for the body as a whole.
    pub field: String,
    /// What is wrong, for people.
    pub message: String,
    /// What is wrong, for programs.
    #[schema(value_type = String, example = "missing")]
    pub code: Code,
    /// The rejected input, cut off when it is long; null where it may hold a secret.
    #[schema(value_type = Value)]
    pub value: Value,
}

/// The error has been added to the [`ValidationErrors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) struct Refused;

/// The errors of a request: path, then query, then body, each in declared order.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct ValidationErrors(Vec<FieldError>);

impl ValidationErrors {
    /// A single error, found after the request was read.
    pub fn single(field: &str, code: Code, message: &str, value: &Value) -> Self {
        let mut errors = Self::default();
        let Refused = errors.add(field.to_owned(), code, message.to_owned(), echo(value));
        errors
    }

    pub(super) fn add(
        &mut self,
        field: String,
        code: Code,
        message: String,
        value: Value,
    ) -> Refused {
        self.0.push(FieldError {
            field,
            message,
            code,
            value,
        });
        Refused
    }

    /// `read`, unless an error was found anywhere.
    pub(super) fn finish<T>(self, read: Result<T, Refused>) -> Result<T, Self> {
        match read {
            Ok(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

#[cfg(any(fuzzing, test))]
impl ValidationErrors {
    pub fn fields(&self) -> &[FieldError] {
        &self.0
    }
}

/// The `detail` of the answer: the only error, or how many there are.
impl fmt::Display for ValidationErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] if only.field.is_empty() => f.write_str(&only.message),
            [only] => write!(f, "{}: {}", only.field, only.message),
            several => write!(f, "{} fields are not valid", several.len()),
        }
    }
}

impl Error for ValidationErrors {}

/// Adds the errors of one field, or of one element of a list.
pub(crate) struct FieldErrors<'e> {
    errors: &'e mut ValidationErrors,
    /// `query.`, `path.` or nothing.
    prefix: &'static str,
    name: &'static str,
    index: Option<usize>,
    is_secret: bool,
}

impl<'e> FieldErrors<'e> {
    pub fn new(
        errors: &'e mut ValidationErrors,
        prefix: &'static str,
        name: &'static str,
        is_secret: bool,
    ) -> Self {
        Self {
            errors,
            prefix,
            name,
            index: None,
            is_secret,
        }
    }

    /// For the errors of the list's element at `index`.
    pub fn element(&mut self, index: usize) -> FieldErrors<'_> {
        FieldErrors {
            errors: self.errors,
            index: Some(index),
            ..*self
        }
    }

    /// Adds an error about `input`.
    pub fn refuse(&mut self, code: Code, message: impl Into<String>, input: &Value) -> Refused {
        let (prefix, name) = (self.prefix, self.name);
        let field = match self.index {
            None => format!("{prefix}{name}"),
            Some(index) => format!("{prefix}{name}.{index}"),
        };
        let value = if self.is_secret {
            Value::Null
        } else {
            echo(input)
        };
        self.errors.add(field, code, message.into(), value)
    }
}

/// The part of a rejected input that the answer repeats: all of it when it is short.
pub(super) fn echo(value: &Value) -> Value {
    let text = match value {
        Value::Null | Value::Bool(_) => return value.clone(),
        Value::String(text) if text.len() <= ECHO_LIMIT => return value.clone(),
        Value::String(text) => text,
        Value::Number(_) | Value::Array(_) | Value::Object(_) => &value.to_string(),
    };
    if text.len() <= ECHO_LIMIT {
        return value.clone();
    }
    let end = text.floor_char_boundary(ECHO_LIMIT);
    Value::String(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract 10.7: a long rejected input is not repeated whole.
    #[test]
    fn long_inputs_are_cut_off() {
        let long = Value::String("ü".repeat(5_000_000));
        assert!(echo(&long).to_string().len() < 300);
        let many = Value::Array(vec![Value::from(1); 100_000]);
        assert!(echo(&many).to_string().len() < 300);
        assert_eq!(echo(&Value::from("short")), Value::from("short"));
    }
}
