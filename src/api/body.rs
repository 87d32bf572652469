//! JSON bodies: from bytes to a checked command.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::domain::{
    Description, NewTask, ParsePriorityError, ParseTimestampError, Patch, Priority, TaskChanges,
    TextError, Timestamp, Title, UserId,
};

use super::error::ApiError;
use super::validation::Faults;

/// Reads a body as JSON; `None` when there is none.
///
/// The type must be `application/json` or `application/*+json`; none at all is
/// taken for JSON.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Option<Value>, ApiError> {
    if body.is_empty() {
        return Ok(None);
    }
    if let Some(media_type) = headers.get(CONTENT_TYPE)
        && !is_json(media_type.as_bytes())
    {
        return Err(ApiError::not_json());
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(ApiError::bad_request("Request body is not valid UTF-8"));
    };
    match serde_json::from_str(text) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.to_string().starts_with("recursion limit") => {
            Err(ApiError::bad_request("Request body is nested too deeply"))
        }
        Err(error) => {
            let offset = if error.is_eof() {
                // The column is that of the last character, and the fault is behind it.
                text.chars().count()
            } else {
                char_offset(text, error.line(), error.column())
            };
            let mut faults = Faults::default();
            faults.add(
                offset.to_string(),
                "json_invalid",
                format!("JSON decode error: {error}"),
                &Value::Null,
            );
            faults.finish(None)
        }
    }
}

fn is_json(media_type: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(media_type) else {
        return false;
    };
    let essence = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let Some(subtype) = essence.strip_prefix("application/") else {
        return false;
    };
    subtype == "json" || subtype.ends_with("+json")
}

/// The position of a line and column (both from 1, the column in bytes) in characters.
fn char_offset(text: &str, line: usize, column: usize) -> usize {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let end = text.floor_char_boundary(line_start + column.saturating_sub(1));
    text[..end].chars().count()
}

/// The body as an object, or a fault on the body as a whole.
fn object<'v>(body: Option<&'v Value>, faults: &mut Faults) -> Option<&'v Map<String, Value>> {
    match body {
        Some(Value::Object(fields)) => Some(fields),
        None => {
            faults.add("", "missing", "Field required", &Value::Null);
            None
        }
        Some(other) => {
            faults.add(
                "",
                "model_attributes_type",
                "Input should be a JSON object",
                other,
            );
            None
        }
    }
}

/// `POST /tasks/`.
pub(super) fn new_task(
    user: UserId,
    body: Option<&Value>,
    mut faults: Faults,
) -> Result<NewTask, ApiError> {
    let task = object(body, &mut faults).and_then(|fields| {
        let title = match fields.get("title") {
            Some(value) => title(value, &mut faults),
            None => {
                let whole = Value::Object(fields.clone());
                faults.add("title", "missing", "Field required", &whole);
                None
            }
        };
        let description = nullable(fields, "description", &mut faults, description);
        let priority = match fields.get("priority") {
            None => Some(Priority::default()),
            Some(value) => self::priority(value, &mut faults),
        };
        let due_date = nullable(fields, "due_date", &mut faults, due_date);
        Some(NewTask {
            user_id: user,
            title: title?,
            description: description.value().cloned().flatten(),
            priority: priority?,
            due_date: due_date.value().copied(),
        })
    });
    faults.finish(task)
}

/// `PUT /tasks/{id}`.
pub(super) fn task_changes(
    body: Option<&Value>,
    mut faults: Faults,
) -> Result<TaskChanges, ApiError> {
    let changes = object(body, &mut faults).map(|fields| {
        let present = |name| fields.get(name).filter(|value| !value.is_null());
        // The order of the fields is the order in which their faults are reported.
        TaskChanges {
            title: present("title").and_then(|value| title(value, &mut faults)),
            description: match nullable(fields, "description", &mut faults, description) {
                Patch::Keep => Patch::Keep,
                Patch::Set(text) => Patch::Set(text.flatten()),
            },
            priority: present("priority").and_then(|value| priority(value, &mut faults)),
            due_date: nullable(fields, "due_date", &mut faults, due_date),
            completed: present("completed").and_then(|value| completed(value, &mut faults)),
        }
    });
    faults.finish(changes)
}

/// `PATCH /tasks/{id}`.
pub(super) fn completion(
    body: Option<&Value>,
    mut faults: Faults,
) -> Result<TaskChanges, ApiError> {
    let completed = object(body, &mut faults).and_then(|fields| match fields.get("completed") {
        Some(value) => self::completed(value, &mut faults),
        None => {
            let whole = Value::Object(fields.clone());
            faults.add("completed", "missing", "Field required", &whole);
            None
        }
    });
    faults.finish(completed.map(|completed| TaskChanges {
        completed: Some(completed),
        ..TaskChanges::default()
    }))
}

/// An id of a bulk request: one that may exist, or any other integer, which cannot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum BulkId {
    /// Within 64 bits.
    Possible(i64),
    /// An integer that no row can have.
    Impossible(Value),
}

/// `POST /tasks/bulk-delete`.
pub(super) fn bulk_ids(body: Option<&Value>, mut faults: Faults) -> Result<Vec<BulkId>, ApiError> {
    let ids = object(body, &mut faults).and_then(|fields| match fields.get("task_ids") {
        None => {
            let whole = Value::Object(fields.clone());
            faults.add("task_ids", "missing", "Field required", &whole);
            None
        }
        Some(Value::Array(items)) if items.is_empty() => {
            faults.add(
                "task_ids",
                "too_short",
                "List should have at least 1 item",
                &Value::Array(Vec::new()),
            );
            None
        }
        Some(Value::Array(items)) => Some(
            items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| bulk_id(index, item, &mut faults))
                .collect(),
        ),
        Some(other) => {
            faults.add("task_ids", "list_type", "Input should be a list", other);
            None
        }
    });
    faults.finish(ids)
}

fn bulk_id(index: usize, item: &Value, faults: &mut Faults) -> Option<BulkId> {
    let field = || format!("task_ids.{index}");
    let Value::Number(number) = item else {
        faults.add(field(), "int_type", "Input should be an integer", item);
        return None;
    };
    if let Some(id) = number.as_i64() {
        return Some(BulkId::Possible(id));
    }
    let digits = number.as_str();
    if digits
        .trim_start_matches('-')
        .bytes()
        .all(|byte| byte.is_ascii_digit())
    {
        return Some(BulkId::Impossible(item.clone()));
    }
    faults.add(
        field(),
        "int_from_float",
        "Input should be an integer without a fraction",
        item,
    );
    None
}

/// A field that may be absent, null (which clears it) or a value.
fn nullable<T>(
    fields: &Map<String, Value>,
    name: &str,
    faults: &mut Faults,
    read: impl FnOnce(&Value, &mut Faults) -> Option<T>,
) -> Patch<T> {
    match fields.get(name) {
        None => Patch::Keep,
        Some(Value::Null) => Patch::Set(None),
        Some(value) => Patch::Set(read(value, faults)),
    }
}

fn string<'v>(field: &str, value: &'v Value, faults: &mut Faults) -> Option<&'v str> {
    let text = value.as_str();
    if text.is_none() {
        faults.add(field, "string_type", "Input should be a string", value);
    }
    text
}

fn title(value: &Value, faults: &mut Faults) -> Option<Title> {
    let text = string("title", value, faults)?;
    Title::new(text)
        .map_err(|error| faults.add("title", text_code(error), error.to_string(), value))
        .ok()
}

fn description(value: &Value, faults: &mut Faults) -> Option<Option<Description>> {
    let text = string("description", value, faults)?;
    Description::new(text)
        .map_err(|error| faults.add("description", text_code(error), error.to_string(), value))
        .ok()
}

fn text_code(error: TextError) -> &'static str {
    match error {
        TextError::Empty => "string_too_short",
        TextError::TooLong { .. } => "string_too_long",
        TextError::Blank | TextError::Nul => "value_error",
    }
}

fn priority(value: &Value, faults: &mut Faults) -> Option<Priority> {
    match value.as_str().map(str::parse) {
        Some(Ok(priority)) => Some(priority),
        _ => {
            faults.add("priority", "enum", ParsePriorityError.to_string(), value);
            None
        }
    }
}

fn due_date(value: &Value, faults: &mut Faults) -> Option<Timestamp> {
    let Some(text) = value.as_str() else {
        faults.add(
            "due_date",
            "datetime_type",
            "Input should be a date-time as a string",
            value,
        );
        return None;
    };
    text.parse()
        .map_err(|error: ParseTimestampError| {
            faults.add("due_date", "datetime_parsing", error.to_string(), value);
        })
        .ok()
}

fn completed(value: &Value, faults: &mut Faults) -> Option<bool> {
    let read = value.as_bool();
    if read.is_none() {
        faults.add(
            "completed",
            "bool_type",
            "Input should be true or false",
            value,
        );
    }
    read
}
