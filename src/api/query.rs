//! Query parameters and path segments.

use chrono::NaiveDate;
use serde_json::Value;

use crate::domain::{ParsePriorityError, Priority, TaskId, Timestamp, UserId};
use crate::store::{TaskFilter, TaskPosition};

use super::cursor;
use super::validation::Faults;

/// The page sizes that a list accepts.
const LIMITS: std::ops::RangeInclusive<i64> = 1..=1000;

/// A list's checked query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListQuery {
    pub filter: TaskFilter,
    pub page: i64,
    pub limit: i64,
    /// The list is to go on behind this position, or to start if there is none;
    /// `None` for a list by page.
    pub cursor: Option<Option<TaskPosition>>,
}

impl ListQuery {
    /// Rows before the page; a page too far away to count is as empty as the farthest one.
    pub fn offset(&self) -> i64 {
        (self.page - 1).saturating_mul(self.limit)
    }

    /// Reads the raw query of `user`. Unknown names are ignored; of a repeated one the last counts.
    pub fn read(raw: &str, user: &UserId, faults: &mut Faults) -> Self {
        let mut last = Parameters::default();
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "search" => last.search = Some(value),
                "priority" => last.priority = Some(value),
                "completed" => last.completed = Some(value),
                "due_before" => last.due_before = Some(value),
                "due_after" => last.due_after = Some(value),
                "page" => last.page = Some(value),
                "limit" => last.limit = Some(value),
                "cursor" => last.cursor = Some(value),
                _ => {}
            }
        }
        let paged = last.page.is_some();
        Self {
            filter: TaskFilter {
                search: search(last.search, faults),
                priority: last.priority.and_then(|text| priority(&text, faults)),
                completed: last.completed.and_then(|text| completed(&text, faults)),
                due_before: last
                    .due_before
                    .and_then(|text| day("due_before", &text, faults)),
                due_after: last
                    .due_after
                    .and_then(|text| day("due_after", &text, faults)),
            },
            page: last
                .page
                .map_or(1, |text| whole("page", &text, 1..=i64::MAX, faults)),
            limit: last
                .limit
                .map_or(*LIMITS.end(), |text| whole("limit", &text, LIMITS, faults)),
            cursor: last.cursor.map(|text| position(&text, user, paged, faults)),
        }
    }
}

#[derive(Default)]
struct Parameters {
    search: Option<String>,
    priority: Option<String>,
    completed: Option<String>,
    due_before: Option<String>,
    due_after: Option<String>,
    page: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

fn search(text: Option<String>, faults: &mut Faults) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    if text.contains('\0') {
        let value = Value::from(text);
        faults.add(
            "query.search",
            "value_error",
            "String must not contain NUL characters",
            &value,
        );
        return None;
    }
    Some(text)
}

fn priority(text: &str, faults: &mut Faults) -> Option<Priority> {
    text.parse()
        .map_err(|error: ParsePriorityError| {
            faults.add(
                "query.priority",
                "enum",
                error.to_string(),
                &Value::from(text),
            );
        })
        .ok()
}

fn completed(text: &str, faults: &mut Faults) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
        _ => {
            faults.add(
                "query.completed",
                "bool_parsing",
                "Input should be true or false",
                &Value::from(text),
            );
            None
        }
    }
}

/// A `YYYY-MM-DD`, or a date-time at exactly midnight.
fn day(name: &str, text: &str, faults: &mut Faults) -> Option<NaiveDate> {
    let mut fault = |code, message: &str| {
        faults.add(format!("query.{name}"), code, message, &Value::from(text));
        None
    };
    let Ok(moment) = text.parse::<Timestamp>() else {
        return fault(
            "date_from_datetime_parsing",
            "Input should be a date such as 2031-01-31",
        );
    };
    if moment.micros().rem_euclid(86_400_000_000) != 0 {
        return fault(
            "date_from_datetime_inexact",
            "A date-time given as a date should be at midnight UTC",
        );
    }
    Some(moment.to_datetime().date_naive())
}

/// Where a list goes on: what `next_cursor` said before, or nothing for its start.
fn position(text: &str, user: &UserId, paged: bool, faults: &mut Faults) -> Option<TaskPosition> {
    let mut fault = |message| {
        let value = Value::from(text);
        faults.add("query.cursor", "value_error", message, &value);
        None
    };
    if paged {
        return fault("A list goes by page or by cursor, not by both");
    }
    if text.is_empty() {
        return None;
    }
    match cursor::SignedPosition::decode(text).and_then(|signed| signed.verify(user)) {
        Some(position) => Some(position),
        None => fault("Input should be empty or what next_cursor said before"),
    }
}

fn whole(name: &str, text: &str, range: std::ops::RangeInclusive<i64>, faults: &mut Faults) -> i64 {
    let field = format!("query.{name}");
    let value = Value::from(text);
    match text.parse::<i64>() {
        Ok(number) if range.contains(&number) => return number,
        Ok(number) if number < *range.start() => faults.add(
            field,
            "greater_than_equal",
            format!("Input should be greater than or equal to {}", range.start()),
            &value,
        ),
        Ok(_) => faults.add(
            field,
            "less_than_equal",
            format!("Input should be less than or equal to {}", range.end()),
            &value,
        ),
        Err(_) => faults.add(
            field,
            "int_parsing",
            "Input should be an integer of at most 64 bits",
            &value,
        ),
    }
    // A fault was noted, so this is never used.
    *range.start()
}

/// A row's id as it stands in a path: `None` when no row can have it, because it
/// is zero, negative or beyond 64 bits.
pub(super) fn path_id(name: &str, segment: &str, faults: &mut Faults) -> Option<TaskId> {
    let digits = segment.strip_prefix(['-', '+']).unwrap_or(segment);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        faults.add(
            format!("path.{name}"),
            "int_parsing",
            "Input should be an integer",
            &Value::from(segment),
        );
        return None;
    }
    segment.parse().ok().filter(|id| *id > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Result<ListQuery, usize> {
        let mut faults = Faults::default();
        let query = ListQuery::read(raw, &UserId::new("alice").unwrap(), &mut faults);
        match faults.finish(Some(query)) {
            Ok(query) => Ok(query),
            Err(_) => Err(1),
        }
    }

    /// Contract 1 and 3.4: defaults, unknown names, repeated names.
    #[test]
    fn defaults_and_repeats() {
        let query = read("").unwrap();
        assert_eq!((query.page, query.limit), (1, 1000));
        let query = read("page=1&page=3&x=y&limit=2&completed=YES").unwrap();
        assert_eq!((query.page, query.limit, query.offset()), (3, 2, 4));
        assert_eq!(query.filter.completed, Some(true));
    }

    /// Contract 3.4 and 10.13.
    #[test]
    fn limits() {
        for raw in [
            "limit=0",
            "limit=1001",
            "page=0",
            "page=x",
            "completed=",
            "completed=2",
            "priority=",
            "priority=high",
            "due_before=x",
            "due_after=2031-01-01T01:00:00Z",
            "page=99999999999999999999",
            "search=%00",
            "cursor=x",
            "cursor=&page=1",
        ] {
            assert!(read(raw).is_err(), "{raw}");
        }
        assert_eq!(read("page=9223372036854775807").unwrap().offset(), i64::MAX);
        assert!(read("due_after=2031-01-01T00:00:00Z&search=").is_ok());
    }
}
