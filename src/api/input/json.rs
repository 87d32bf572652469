//! From the bytes of a body to a JSON value.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::errors::{Code, ValidationErrors};

/// Why a body could not be read as JSON.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("Content-Type must be application/json")]
    NotJson,
    #[error("Request body is not valid UTF-8")]
    NotUtf8,
    #[error("Request body is nested too deeply")]
    TooDeep,
    #[error(transparent)]
    Syntax(ValidationErrors),
}

/// Reads a body as JSON; `None` when it is empty.
///
/// The type must be `application/json` or `application/*+json`. A body without a type is read as
/// JSON.
pub(crate) fn parse_json(headers: &HeaderMap, body: &[u8]) -> Result<Option<Value>, BodyError> {
    if body.is_empty() {
        return Ok(None);
    }
    if let Some(media_type) = headers.get(CONTENT_TYPE)
        && !is_json(media_type.as_bytes())
    {
        return Err(BodyError::NotJson);
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(BodyError::NotUtf8);
    };
    // RFC 8259, section 8.1: a parser may ignore a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.is_empty() {
        return Ok(None);
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.to_string().starts_with("recursion limit") => Err(BodyError::TooDeep),
        Err(error) => Err(BodyError::Syntax(syntax_error(text, &error))),
    }
}

/// The error of broken JSON: its field is the offset in characters (contract 1.1).
fn syntax_error(text: &str, error: &serde_json::Error) -> ValidationErrors {
    let offset = if error.is_eof() {
        // The column is that of the last character, and the error is after it.
        text.chars().count()
    } else {
        char_offset(text, error.line(), error.column())
    };
    let message = format!("JSON decode error: {error}");
    ValidationErrors::single(
        &offset.to_string(),
        Code::JsonInvalid,
        &message,
        &Value::Null,
    )
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

/// The offset in characters of a line and column (both from 1, the column in bytes).
fn char_offset(text: &str, line: usize, column: usize) -> usize {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let end = text.floor_char_boundary(line_start + column.saturating_sub(1));
    text[..end].chars().count()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn parse(media_type: Option<&'static str>, body: &[u8]) -> Result<Option<Value>, BodyError> {
        let mut headers = HeaderMap::new();
        if let Some(media_type) = media_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        parse_json(&headers, body)
    }

    /// Contract 1 and 10.15: JSON of any name, and a body without a type.
    #[test]
    fn media_types() {
        for accepted in [
            None,
            Some("application/json"),
            Some("Application/JSON; charset=utf-8"),
            Some("application/merge-patch+json"),
        ] {
            assert_eq!(parse(accepted, b"1"), Ok(Some(1.into())), "{accepted:?}");
        }
        for refused in ["", "text/plain", "text/json", "application/jsonp"] {
            let read = parse(Some(refused), b"1");
            assert_eq!(read, Err(BodyError::NotJson), "{refused}");
            assert_eq!(parse(Some(refused), b""), Ok(None), "{refused}");
        }
    }

    /// Contract 10.15: editors and .NET clients write one.
    #[test]
    fn byte_order_marks() {
        assert_eq!(parse(None, "\u{feff}{}".as_bytes()), Ok(Some(json!({}))));
        assert_eq!(parse(None, "\u{feff}".as_bytes()), Ok(None));
        let inside = "{\"a\": \"\u{feff}\"}".as_bytes();
        assert_eq!(parse(None, inside), Ok(Some(json!({ "a": "\u{feff}" }))));
        for refused in ["\u{feff}\u{feff}{}", " \u{feff}{}"] {
            let read = parse(None, refused.as_bytes());
            assert!(matches!(read, Err(BodyError::Syntax(_))), "{refused:?}");
        }
    }

    /// Contract 1.4.
    #[test]
    fn unreadable_bodies() {
        assert_eq!(parse(None, b"\"\xff\""), Err(BodyError::NotUtf8));
        let nested = "[".repeat(100_000);
        assert_eq!(parse(None, nested.as_bytes()), Err(BodyError::TooDeep));
    }

    /// Contract 1.1: the field of broken JSON is the offset of the error in characters.
    #[test]
    fn broken_json() {
        for (body, offset) in [
            (r#"{"title":}"#, "9"),
            (r#"{"title": "x""#, "13"),
            ("{\"ä\":\n }", "7"),
            ("NaN", "0"),
        ] {
            let Err(BodyError::Syntax(errors)) = parse(None, body.as_bytes()) else {
                panic!("{body}");
            };
            let [error] = errors.fields() else {
                panic!("{body}");
            };
            assert_eq!(
                (error.field.as_str(), error.code),
                (offset, Code::JsonInvalid),
                "{body}"
            );
        }
    }
}
