//! Validation errors: contract 1.1 (c).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::error::Error;
use std::{fmt, io};

use serde::Serialize;
use serde_json::Value;

/// A rejected input longer than this many bytes is cut off in the answer (contract 10.7).
const ECHO_LIMIT: usize = 200;

/// So many errors are listed; the others are counted (contract 1.1).
const LISTED: usize = 100;

/// So many errors are told in [`ValidationErrors::told`].
const TOLD: usize = 5;

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
    TooLong,
    TooShort,
    ValueError,
}

impl Code {
    /// Whether a program causes it: a person who fills in a form has no influence on names and types.
    pub fn is_of_form(self) -> bool {
        match self {
            Self::BoolParsing
            | Self::BoolType
            | Self::DateFromDatetimeInexact
            | Self::DateFromDatetimeParsing
            | Self::DatetimeParsing
            | Self::DatetimeType
            | Self::Enum
            | Self::IntFromFloat
            | Self::IntParsing
            | Self::IntType
            | Self::JsonInvalid
            | Self::ListType
            | Self::Missing
            | Self::ModelAttributesType
            | Self::StringType => true,
            Self::GreaterThanEqual
            | Self::IdempotencyKeyReused
            | Self::LessThanEqual
            | Self::StringTooLong
            | Self::StringTooShort
            | Self::TooLong
            | Self::TooShort
            | Self::ValueError => false,
        }
    }

    /// As clients read it.
    pub fn text(self) -> Option<String> {
        match serde_json::to_value(self) {
            Ok(Value::String(text)) => Some(text),
            _ => None,
        }
    }
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
#[serde(transparent)]
pub(crate) struct ValidationErrors {
    /// The first of them.
    listed: Vec<FieldError>,
    /// How many more there are.
    #[serde(skip)]
    more: usize,
}

impl ValidationErrors {
    /// A single error, found after the request was read.
    pub fn single(field: &str, code: Code, message: &str, value: &Value) -> Self {
        let mut errors = Self::default();
        let Refused = errors.add(|| FieldError {
            field: field.to_owned(),
            message: message.to_owned(),
            code,
            value: echo(value),
        });
        errors
    }

    /// Adds an error, which is made only if it is listed.
    fn add(&mut self, error: impl FnOnce() -> FieldError) -> Refused {
        if self.listed.len() < LISTED {
            self.listed.push(error());
        } else {
            self.more += 1;
        }
        Refused
    }

    /// `read`, unless an error was found anywhere.
    pub(super) fn finish<T>(self, read: Result<T, Refused>) -> Result<T, Self> {
        match read {
            Ok(value) if self.listed.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl ValidationErrors {
    pub fn first_code(&self) -> Option<Code> {
        self.listed.first().map(|error| error.code)
    }

    /// The declared names of the first fields that are not valid, and the code of each: nothing that a
    /// client has sent.
    pub fn told(&self) -> BTreeSet<String> {
        let told = |error: &FieldError| {
            let code = error.code.text()?;
            // Broken JSON has an offset in place of a field, and a list the indices of its elements.
            let is_name = |part: &&str| !part.starts_with(|first: char| first.is_ascii_digit());
            let names: Vec<&str> = error.field.split('.').filter(is_name).collect();
            let name = names.join(".");
            let name = if name.is_empty() { "body" } else { &name };
            Some(format!("{name} {code}"))
        };
        self.listed.iter().take(TOLD).filter_map(told).collect()
    }

    /// Whether the first error is of the path.
    pub fn is_of_path(&self) -> bool {
        let first = self.listed.first();
        first.is_some_and(|error| error.field.starts_with("path."))
    }
}

#[cfg(any(fuzzing, test))]
impl ValidationErrors {
    pub fn fields(&self) -> &[FieldError] {
        &self.listed
    }
}

/// The `detail` of the answer: the only error, or how many there are.
impl fmt::Display for ValidationErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.listed.as_slice() {
            [only] if only.field.is_empty() => f.write_str(&only.message),
            [only] => write!(f, "{}: {}", only.field, only.message),
            several => {
                let listed = several.len();
                write!(f, "{} fields are not valid", listed + self.more)?;
                if self.more > 0 {
                    write!(f, "; the first {listed} are listed")?;
                }
                Ok(())
            }
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
        let Self {
            prefix,
            name,
            index,
            is_secret,
            ..
        } = *self;
        self.errors.add(|| FieldError {
            field: match index {
                None => format!("{prefix}{name}"),
                Some(index) => format!("{prefix}{name}.{index}"),
            },
            message: message.into(),
            code,
            value: if is_secret { Value::Null } else { echo(input) },
        })
    }
}

/// The part of a rejected input that the answer repeats: all of it when it is short.
fn echo(value: &Value) -> Value {
    let (text, is_whole) = match value {
        Value::Null | Value::Bool(_) => return value.clone(),
        Value::String(text) => (Cow::Borrowed(text.as_str()), text.len() <= ECHO_LIMIT),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            let mut start = Start::default();
            let is_whole = serde_json::to_writer(&mut start, value).is_ok();
            (Cow::Owned(start.text()), is_whole)
        }
    };
    if is_whole {
        return value.clone();
    }
    let end = text.floor_char_boundary(ECHO_LIMIT);
    Value::String(format!("{}…", &text[..end]))
}

/// Keeps the first bytes of a text and fails beyond them, so that no large text is made to be cut.
#[derive(Default)]
struct Start(Vec<u8>);

impl Start {
    /// Without a character that the limit cuts.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        text.trim_end_matches(char::REPLACEMENT_CHARACTER)
            .to_owned()
    }
}

impl io::Write for Start {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = ECHO_LIMIT - self.0.len();
        let taken = bytes.len().min(room);
        self.0.extend_from_slice(&bytes[..taken]);
        // Fewer bytes than given, and then none at all, end the writing.
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
        let exact = Value::Array(vec![Value::from("x".repeat(ECHO_LIMIT - 4))]);
        assert_eq!(echo(&exact), exact);
        let wide = Value::Array(vec![Value::from("ü".repeat(ECHO_LIMIT))]);
        let cut = echo(&wide);
        assert!(cut.as_str().unwrap().ends_with("ü…"), "{cut}");
    }

    /// Contract 1.1: the errors beyond the first hundred are only counted.
    #[test]
    fn many_errors_are_counted() {
        let mut errors = ValidationErrors::default();
        for index in 0..350_000 {
            let mut field = FieldErrors::new(&mut errors, "", "task_ids", false);
            let Refused = field.element(index).refuse(
                Code::IntType,
                "Input should be an integer",
                &Value::Null,
            );
        }
        assert_eq!(errors.fields().len(), 100);
        assert_eq!(errors.fields()[99].field, "task_ids.99");
        assert_eq!(
            errors.to_string(),
            "350000 fields are not valid; the first 100 are listed"
        );
        assert!(serde_json::to_value(&errors).unwrap().is_array());
    }
}
