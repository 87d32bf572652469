//! How types of the domain are encoded and decoded by the engines.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::types::chrono::{DateTime, Utc};
use sqlx::{Database, Decode, Encode, Postgres, Sqlite, Type};

use crate::domain::{Priority, Timestamp};

// A timestamp is `timestamptz` in PostgreSQL and microseconds since 1970 in SQLite. Other
// programs may store what a `Timestamp` cannot hold (`infinity`, years BC or beyond 9999):
// it is decoded as the nearest end of the range.

/// PostgreSQL counts microseconds from 2000-01-01T00:00:00Z. Its `infinity` and `-infinity`
/// are the ends of the 64-bit range.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Timestamp {
    fn array_type_info() -> PgTypeInfo {
        <DateTime<Utc> as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // Years 1 to 9999 are far from the ends of the range.
        Encode::<Postgres>::encode(self.micros() - POSTGRES_EPOCH_MICROS, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.format() == PgValueFormat::Text {
            return Err("a timestamp is read by the extended protocol only".into());
        }
        let micros = <i64 as Decode<Postgres>>::decode(value)?;
        Ok(Self::from_micros_clamped(
            micros.saturating_add(POSTGRES_EPOCH_MICROS),
        ))
    }
}

impl Type<Sqlite> for Timestamp {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode_by_ref(&self.micros(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Timestamp {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let micros = <i64 as Decode<Sqlite>>::decode(value)?;
        Ok(Self::from_micros_clamped(micros))
    }
}

/// A time exactly as the database holds it, also where a [`Timestamp`] cannot be that value: a
/// position in an order that the database defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredTime(i64);

impl StoredTime {
    /// Microseconds since 1970 for every value that a [`Timestamp`] can be. For others a number
    /// that has a meaning for the same engine only.
    pub(crate) fn number(self) -> i64 {
        self.0
    }

    pub(crate) fn from_number(number: i64) -> Self {
        Self(number)
    }
}

impl Type<Postgres> for StoredTime {
    fn type_info() -> PgTypeInfo {
        <Timestamp as Type<Postgres>>::type_info()
    }
}

// Additions wrap around, so that also the ends of PostgreSQL's range come back as they were.

impl Encode<'_, Postgres> for StoredTime {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.0.wrapping_sub(POSTGRES_EPOCH_MICROS), buffer)
    }
}

impl<'r> Decode<'r, Postgres> for StoredTime {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.format() == PgValueFormat::Text {
            return Err("a timestamp is read by the extended protocol only".into());
        }
        let micros = <i64 as Decode<Postgres>>::decode(value)?;
        Ok(Self(micros.wrapping_add(POSTGRES_EPOCH_MICROS)))
    }
}

impl Type<Sqlite> for StoredTime {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for StoredTime {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode_by_ref(&self.0, buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for StoredTime {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(<i64 as Decode<Sqlite>>::decode(value)?))
    }
}

// A priority is its label; PostgreSQL's enum is cast to text in the statements. A label that
// somebody added is read as the default, so that it does not hide the task.

impl<DB: Database> Type<DB> for Priority
where
    str: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <str as Type<DB>>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        <str as Type<DB>>::compatible(ty)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for Priority
where
    &'r str: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let label = <&str as Decode<'r, DB>>::decode(value)?;
        Ok(label.parse().unwrap_or_default())
    }
}
