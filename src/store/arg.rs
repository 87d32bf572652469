//! Values bound to a statement.

use std::borrow::Cow;

use sqlx::error::BoxDynError;
use sqlx::{Arguments, Encode, Type};

use crate::domain::{Priority, Timestamp, UserId};

/// One bound value. NULL keeps its type, which PostgreSQL needs to know.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Arg<'a> {
    Int(Option<i64>),
    Bool(Option<bool>),
    Text(Option<Cow<'a, str>>),
    Time(Option<Timestamp>),
}

/// The arguments of a statement: an array of whatever converts into [`Arg`].
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        [$($crate::store::arg::Arg::from($value)),*]
    };
}
pub(super) use args;

/// Encodes `args` for one engine. A text with U+0000 is refused: PostgreSQL cannot store it, and
/// SQLite would.
pub(super) fn encode<A>(args: &[Arg<'_>]) -> Result<A, BoxDynError>
where
    A: Arguments,
    for<'q> Option<i64>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<bool>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<&'q str>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<Timestamp>: Encode<'q, A::Database> + Type<A::Database>,
{
    let mut encoded = A::default();
    for arg in args {
        match arg {
            Arg::Int(value) => encoded.add(*value)?,
            Arg::Bool(value) => encoded.add(*value)?,
            Arg::Text(Some(text)) if text.contains('\0') => {
                return Err("a text contains U+0000".into());
            }
            Arg::Text(value) => encoded.add(value.as_deref())?,
            Arg::Time(value) => encoded.add(*value)?,
        }
    }
    Ok(encoded)
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<bool>> for Arg<'_> {
    fn from(value: Option<bool>) -> Self {
        Self::Bool(value)
    }
}

impl From<bool> for Arg<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(Some(value))
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(Cow::Borrowed(value)))
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value.map(Cow::Borrowed))
    }
}

impl From<String> for Arg<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(Cow::Owned(value)))
    }
}

impl From<Option<String>> for Arg<'_> {
    fn from(value: Option<String>) -> Self {
        Self::Text(value.map(Cow::Owned))
    }
}

impl<'a> From<&'a UserId> for Arg<'a> {
    fn from(value: &'a UserId) -> Self {
        value.as_str().into()
    }
}

impl<'a> From<Option<&'a UserId>> for Arg<'a> {
    fn from(value: Option<&'a UserId>) -> Self {
        value.map(UserId::as_str).into()
    }
}

/// As its label: PostgreSQL's enum is cast from text in the statements.
impl From<Priority> for Arg<'_> {
    fn from(value: Priority) -> Self {
        value.as_str().into()
    }
}

impl From<Option<Priority>> for Arg<'_> {
    fn from(value: Option<Priority>) -> Self {
        value.map(Priority::as_str).into()
    }
}

impl From<Timestamp> for Arg<'_> {
    fn from(value: Timestamp) -> Self {
        Self::Time(Some(value))
    }
}

impl From<Option<Timestamp>> for Arg<'_> {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Time(value)
    }
}

/// A list of ids as a JSON array: one value that both engines can unfold.
impl From<&[i64]> for Arg<'_> {
    fn from(ids: &[i64]) -> Self {
        serde_json::Value::from(ids).to_string().into()
    }
}

/// A list of texts as a JSON array.
impl From<&[&str]> for Arg<'_> {
    fn from(texts: &[&str]) -> Self {
        serde_json::Value::from(texts).to_string().into()
    }
}
