//! An instant in UTC, to the microsecond.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use serde::{Serialize, Serializer};
use speedate::{MicrosecondsPrecisionOverflowBehavior, TimeConfig};

/// Microseconds since 1970-01-01T00:00:00Z, within the years 1 to 9999.
///
/// Serialized as RFC 3339 with `Z` and a fraction of six digits, which is omitted when it is
/// zero. PostgreSQL stores it as `timestamptz`, SQLite as an integer, so that both sort it by
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2031-01-02T03:04:05.120000Z")]
pub struct Timestamp(i64);

/// The instant is outside the years 1 to 9999 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the instant is outside the years 1 to 9999 in UTC")]
pub struct TimestampRangeError;

/// Why a text is not a date-time of contract 3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimestampError {
    /// Neither RFC 3339 nor one of the other accepted forms.
    #[error("Input should be an RFC 3339 date-time such as 2031-01-31T10:00:00Z, or a date")]
    Syntax,
    /// Outside the years 1 to 9999 after conversion to UTC.
    #[error("Input should be within the years 1 to 9999 in UTC")]
    Range,
}

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The instant `micros` microseconds after 1970-01-01T00:00:00Z.
    pub fn from_micros(micros: i64) -> Result<Self, TimestampRangeError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(TimestampRangeError)
        }
    }

    /// Like [`Timestamp::from_micros`], but clamps values outside the range.
    #[must_use]
    pub fn from_micros_clamped(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Adds `duration`, up to [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros_clamped(self.0.saturating_add(micros))
    }

    /// Subtracts `duration`, down to [`Timestamp::MIN`].
    #[must_use]
    pub fn saturating_sub(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self::from_micros_clamped(self.0.saturating_sub(micros))
    }

    /// The time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        let micros = self.0.saturating_sub(earlier.0);
        std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// The first instant of a UTC day.
    pub fn start_of_day(day: NaiveDate) -> Result<Self, TimestampRangeError> {
        Self::from_micros(
            day.and_time(chrono::NaiveTime::MIN)
                .and_utc()
                .timestamp_micros(),
        )
    }

    /// The last microsecond of a UTC day.
    pub fn end_of_day(day: NaiveDate) -> Result<Self, TimestampRangeError> {
        let start = Self::start_of_day(day)?;
        Ok(Self::from_micros_clamped(start.0 + 86_400_000_000 - 1))
    }

    #[must_use]
    pub fn to_datetime(self) -> DateTime<Utc> {
        // Every value within MIN..=MAX is within chrono's range, so the sum cannot overflow.
        DateTime::UNIX_EPOCH + TimeDelta::microseconds(self.0)
    }

    /// RFC 3339 with `+00:00` and six digits, for error envelopes and `/health`.
    #[must_use]
    pub fn to_offset_string(self) -> String {
        self.to_datetime()
            .to_rfc3339_opts(chrono::SecondsFormat::Micros, false)
    }

    /// RFC 3339 with `Z` and whole seconds, for tables.
    #[must_use]
    pub fn to_seconds_string(self) -> String {
        self.to_datetime()
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    /// Appends what `serde_json` writes.
    pub(crate) fn write_json(self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(self.format(&mut [0; 27]).as_bytes());
        out.push(b'"');
    }

    /// Writes RFC 3339 with `Z` into `buffer` and returns the text.
    ///
    /// A page of tasks contains dozens of timestamps, and chrono's formatter takes several times
    /// as long.
    fn format(self, buffer: &mut [u8; 27]) -> &str {
        // chrono's date-times take longer: they check for offsets and leap seconds.
        let (day, second) = divide(self.unix_seconds(), 86_400);
        let (_, micros) = divide(self.0, 1_000_000);
        let day = i32::try_from(day).unwrap_or_default();
        let date = NaiveDate::from_epoch_days(day).unwrap_or_default();
        *buffer = *b"0000-00-00T00:00:00.000000Z";
        // The year is between 1 and 9999, so it is not negative.
        put_digits(&mut buffer[0..4], date.year().unsigned_abs());
        put_digits(&mut buffer[5..7], date.month());
        put_digits(&mut buffer[8..10], date.day());
        put_digits(&mut buffer[11..13], second / 3600);
        put_digits(&mut buffer[14..16], second / 60 % 60);
        put_digits(&mut buffer[17..19], second % 60);
        let length = if micros == 0 {
            buffer[19] = b'Z';
            20
        } else {
            put_digits(&mut buffer[20..26], micros);
            27
        };
        // Only ASCII was written, so this cannot fail.
        std::str::from_utf8(&buffer[..length]).unwrap_or_default()
    }
}

/// The quotient, rounded down, and the remainder, which is not negative.
fn divide(number: i64, divisor: u32) -> (i64, u32) {
    let remainder = number.rem_euclid(i64::from(divisor));
    // It is less than the divisor.
    let remainder = u32::try_from(remainder).unwrap_or_default();
    (number.div_euclid(i64::from(divisor)), remainder)
}

/// Writes the last `out.len()` decimal digits of `number`.
fn put_digits(out: &mut [u8], mut number: u32) {
    for digit in out.iter_mut().rev() {
        // `number % 10` fits a byte.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(moment: DateTime<Utc>) -> Self {
        Self::from_micros_clamped(moment.timestamp_micros())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format(&mut [0; 27]))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.format(&mut [0; 27]))
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Parses RFC 3339 and the other forms of contract 3.3: a space or `t` for `T`, no seconds,
    /// a fraction of any length (truncated), `±hhmm`, no offset (UTC), a date (midnight UTC).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (date, time, offset_seconds) = if let Ok(date) = speedate::Date::parse_str_rfc3339(text)
        {
            (date, None, 0)
        } else {
            let config = TimeConfig {
                microseconds_precision_overflow_behavior:
                    MicrosecondsPrecisionOverflowBehavior::Truncate,
                unix_timestamp_offset: None,
            };
            let parsed =
                speedate::DateTime::parse_bytes_rfc3339_with_config(text.as_bytes(), &config)
                    .map_err(|_| ParseTimestampError::Syntax)?;
            let offset = parsed.time.tz_offset.unwrap_or(0);
            (parsed.date, Some(parsed.time), offset)
        };
        let midnight = NaiveDate::from_ymd_opt(
            i32::from(date.year),
            u32::from(date.month),
            u32::from(date.day),
        )
        .ok_or(ParseTimestampError::Syntax)?
        .and_time(chrono::NaiveTime::MIN)
        .and_utc()
        .timestamp_micros();
        let of_day = time.map_or(0, |time| {
            i64::from(time.total_seconds()) * 1_000_000 + i64::from(time.microsecond)
        });
        Self::from_micros(midnight + of_day - i64::from(offset_seconds) * 1_000_000)
            .map_err(|_| ParseTimestampError::Range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, ParseTimestampError> {
        text.parse::<Timestamp>().map(|at| at.to_string())
    }

    /// Contract 3.3: what is accepted.
    #[test]
    fn accepted_spellings() {
        for (text, expected) in [
            ("2031-01-02T03:04:05Z", "2031-01-02T03:04:05Z"),
            ("2031-01-02t03:04:05z", "2031-01-02T03:04:05Z"),
            ("2031-01-02 03:04:05.12Z", "2031-01-02T03:04:05.120000Z"),
            (
                "2031-01-02T03:04:05.123456789Z",
                "2031-01-02T03:04:05.123456Z",
            ),
            ("2031-01-02T03:04+05:00", "2031-01-01T22:04:00Z"),
            ("2031-01-02T03:04:05-0530", "2031-01-02T08:34:05Z"),
            ("2031-12-22T00:00:00", "2031-12-22T00:00:00Z"),
            ("2031-12-22", "2031-12-22T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
            ("2031-01-02T03:04:05.120Z", "2031-01-02T03:04:05.120000Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    /// Contract 3.3: what is rejected.
    #[test]
    fn rejected_spellings() {
        for text in [
            "",
            "tomorrow",
            "2031-02-30",
            "2031-02-30T00:00:00Z",
            "2031-01-02T03",
            "2031-01-02T24:00:00Z",
            "2031-01-02T03:04:60Z",
            "20310102T030405Z",
            " 2031-01-02T03:04:05Z",
            "2031-01-02T03:04:05Z ",
            "2031-1-2",
            "1700000000",
        ] {
            assert_eq!(read(text), Err(ParseTimestampError::Syntax), "{text:?}");
        }
    }

    /// Contract 10.14: years outside 1 to 9999 after conversion to UTC.
    #[test]
    fn range_is_checked_after_conversion() {
        for text in ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-01:00"] {
            assert_eq!(read(text), Err(ParseTimestampError::Range), "{text}");
        }
    }

    /// Contract 1: the form of error envelopes and `/health` always has six digits.
    #[test]
    fn the_form_with_an_offset() {
        let shown = |text: &str| text.parse::<Timestamp>().unwrap().to_offset_string();
        assert_eq!(
            shown("2031-01-02T03:04:05Z"),
            "2031-01-02T03:04:05.000000+00:00"
        );
        assert_eq!(
            shown("2031-01-02T03:04:05.12Z"),
            "2031-01-02T03:04:05.120000+00:00"
        );
    }

    #[test]
    fn minimum_and_maximum() {
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
    }
}
