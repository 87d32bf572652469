//! Values bound to a statement.

use std::borrow::Cow;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Encode, Type};

use crate::domain::{Priority, Timestamp, UserId};

use super::values::StoredTime;

/// One bound value. NULL keeps its type, which PostgreSQL needs to know.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Arg<'a> {
    Int(Option<i64>),
    Bool(Option<bool>),
    Text(Option<Cow<'a, str>>),
    Time(Option<Timestamp>),
    StoredTime(StoredTime),
    /// PostgreSQL's only.
    Array(Cow<'a, Array>),
}

impl Arg<'_> {
    pub fn to_static(&self) -> Arg<'static> {
        match self {
            Self::Int(value) => Arg::Int(*value),
            Self::Bool(value) => Arg::Bool(*value),
            Self::Text(value) => Arg::Text(value.as_deref().map(|text| text.to_owned().into())),
            Self::Time(value) => Arg::Time(*value),
            Self::StoredTime(value) => Arg::StoredTime(*value),
            Self::Array(values) => Arg::Array(Cow::Owned(values.as_ref().clone())),
        }
    }

    /// The same value, without a copy of its texts.
    pub fn borrowed(&self) -> Arg<'_> {
        match self {
            Self::Int(value) => Arg::Int(*value),
            Self::Bool(value) => Arg::Bool(*value),
            Self::Text(value) => Arg::Text(value.as_deref().map(Cow::Borrowed)),
            Self::Time(value) => Arg::Time(*value),
            Self::StoredTime(value) => Arg::StoredTime(*value),
            Self::Array(values) => Arg::Array(Cow::Borrowed(values)),
        }
    }
}

/// Several values of one type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Array {
    Int(Vec<Option<i64>>),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
    Time(Vec<Option<Timestamp>>),
}

impl Array {
    /// One array for each position of an argument. All of `rows` are arguments of one statement,
    /// so they have the same number and types.
    pub fn columns(rows: Vec<Vec<Arg<'static>>>) -> Vec<Arg<'static>> {
        let count = rows.len();
        let mut columns: Vec<Self> = Vec::new();
        for row in rows {
            for (position, value) in row.into_iter().enumerate() {
                if columns.len() == position {
                    columns.push(Self::for_values_like(&value, count));
                }
                columns[position].push(value);
            }
        }
        let arg = |column| Arg::Array(Cow::Owned(column));
        columns.into_iter().map(arg).collect()
    }

    fn for_values_like(value: &Arg<'_>, count: usize) -> Self {
        match value {
            Arg::Int(_) => Self::Int(Vec::with_capacity(count)),
            Arg::Bool(_) => Self::Bool(Vec::with_capacity(count)),
            Arg::Time(_) => Self::Time(Vec::with_capacity(count)),
            Arg::Text(_) | Arg::StoredTime(_) | Arg::Array(_) => {
                Self::Text(Vec::with_capacity(count))
            }
        }
    }

    fn push(&mut self, value: Arg<'static>) {
        match (self, value) {
            (Self::Int(values), Arg::Int(value)) => values.push(value),
            (Self::Bool(values), Arg::Bool(value)) => values.push(value),
            (Self::Text(values), Arg::Text(value)) => values.push(value.map(Cow::into_owned)),
            (Self::Time(values), Arg::Time(value)) => values.push(value),
            (array, value) => debug_assert!(false, "{value:?} does not belong to {array:?}"),
        }
    }
}

/// The arguments of several requests as a JSON array of arrays, for SQLite.
pub(super) fn json_rows(rows: &[Vec<Arg<'static>>]) -> Result<String, sqlx::Error> {
    for arg in rows.iter().flatten() {
        if let Arg::Text(text) = arg {
            storable(text.as_deref()).map_err(sqlx::Error::Encode)?;
        }
    }
    serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// As SQLite stores it.
impl Serialize for Arg<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(value) => value.serialize(serializer),
            Self::Bool(value) => value.serialize(serializer),
            Self::Text(value) => value.serialize(serializer),
            Self::Time(value) => value.map(Timestamp::micros).serialize(serializer),
            Self::StoredTime(value) => value.number().serialize(serializer),
            Self::Array(_) => Err(S::Error::custom("SQLite has no arrays")),
        }
    }
}

/// Arguments of an engine, which may have arrays or not.
pub(super) trait AddArray: Arguments {
    fn add_array(&mut self, array: &Array) -> Result<(), BoxDynError>;
}

impl AddArray for PgArguments {
    fn add_array(&mut self, array: &Array) -> Result<(), BoxDynError> {
        match array {
            Array::Int(values) => self.add(values.as_slice()),
            Array::Bool(values) => self.add(values.as_slice()),
            Array::Text(values) => {
                for value in values {
                    storable(value.as_deref())?;
                }
                self.add(values.as_slice())
            }
            Array::Time(values) => self.add(values.as_slice()),
        }
    }
}

impl AddArray for SqliteArguments {
    fn add_array(&mut self, _: &Array) -> Result<(), BoxDynError> {
        Err("SQLite has no arrays".into())
    }
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
    A: AddArray,
    for<'q> Option<i64>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<bool>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<&'q str>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<Timestamp>: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> StoredTime: Encode<'q, A::Database> + Type<A::Database>,
{
    let mut encoded = A::default();
    for arg in args {
        match arg {
            Arg::Int(value) => encoded.add(*value)?,
            Arg::Bool(value) => encoded.add(*value)?,
            Arg::Text(value) => encoded.add(storable(value.as_deref())?)?,
            Arg::Time(value) => encoded.add(*value)?,
            Arg::StoredTime(value) => encoded.add(*value)?,
            Arg::Array(array) => encoded.add_array(array)?,
        }
    }
    Ok(encoded)
}

/// Refuses what PostgreSQL cannot store, on both engines.
fn storable(text: Option<&str>) -> Result<Option<&str>, BoxDynError> {
    match text {
        Some(text) if text.contains('\0') => Err("a text contains U+0000".into()),
        text => Ok(text),
    }
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

impl From<StoredTime> for Arg<'_> {
    fn from(value: StoredTime) -> Self {
        Self::StoredTime(value)
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
