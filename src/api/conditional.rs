//! Entity tags and the conditions that name them; contract 13, RFC 9110, section 13.
//!
//! A tag is strong: a hash of exactly the bytes that a GET would send. So a task that was just
//! created or changed has the tag of the answer to the next GET.

use http::header::{ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::domain::Task;

use super::error::ApiError;
use super::head::Head;
use super::json::ToJson;
use super::reply::Reply;

/// The length of a tag in bytes of the hash: enough that two bodies do not share a tag.
const TAG_BYTES: usize = 16;

/// The tag of a body, in its quotation marks.
fn tag_of(body: &[u8]) -> HeaderValue {
    let mut text = *b"\"00000000000000000000000000000000\"";
    let hash = blake3::hash(body);
    // The part between the quotation marks is exactly as long as the hexadecimal text.
    let _ = hex::encode_to_slice(&hash.as_bytes()[..TAG_BYTES], &mut text[1..=2 * TAG_BYTES]);
    // Hexadecimal digits and quotation marks, so this cannot fail.
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// 200 with `value` as JSON and its tag; 304 or 412 if the conditions of a GET require it.
pub(super) fn represent(head: &Head, value: &impl ToJson) -> Result<Reply, ApiError> {
    let body = value.to_json();
    let tag = tag_of(&body);
    if matches!(*head.method(), Method::GET | Method::HEAD)
        && let Some(conditions) = Preconditions::of(head.headers())
    {
        if !conditions.allow(&tag) {
            return Err(ApiError::PreconditionFailed);
        }
        if conditions.knows(&tag) {
            return Ok(Reply::empty(StatusCode::NOT_MODIFIED).with_header(ETAG, tag));
        }
    }
    Ok(Reply::json_text(StatusCode::OK, body).with_header(ETAG, tag))
}

/// 201 with `body`, which is JSON, and its tag.
pub(super) fn represent_new(body: Vec<u8>) -> Reply {
    let tag = tag_of(&body);
    Reply::json_text(StatusCode::CREATED, body).with_header(ETAG, tag)
}

/// The conditions of a request.
#[derive(Debug)]
pub(super) struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

impl Preconditions {
    /// The conditions of a request; `None` when it has none.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let conditions = Self {
            if_match: Tags::of(headers, &IF_MATCH),
            if_none_match: Tags::of(headers, &IF_NONE_MATCH),
        };
        (conditions.if_match.is_some() || conditions.if_none_match.is_some()).then_some(conditions)
    }

    /// Whether `task` may be changed or deleted.
    pub fn allow_change(&self, task: &Task) -> bool {
        let tag = tag_of(&task.to_json());
        self.allow(&tag) && !self.knows(&tag)
    }

    /// `If-Match`, RFC 9110, section 13.1.1: strong comparison.
    pub fn allow(&self, tag: &HeaderValue) -> bool {
        self.if_match
            .as_ref()
            .is_none_or(|tags| tags.contain(tag, Weak::Differ))
    }

    /// `If-None-Match`, RFC 9110, section 13.1.2: weak comparison.
    pub fn knows(&self, tag: &HeaderValue) -> bool {
        self.if_none_match
            .as_ref()
            .is_some_and(|tags| tags.contain(tag, Weak::Match))
    }
}

/// How a weak tag compares with the strong one of the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weak {
    Differ,
    Match,
}

/// The tags that one header names.
///
/// The `headers` crate has these too, but panics in debug builds at a tag with a space.
#[derive(Debug)]
enum Tags {
    Any,
    These(Vec<HeaderValue>),
}

impl Tags {
    fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        if !headers.contains_key(name) {
            return None;
        }
        let lines: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
        Some(match lines.as_slice() {
            [only] if only.as_bytes().trim_ascii() == b"*" => Self::Any,
            _ => Self::These(lines),
        })
    }

    /// A malformed list ends at its first error: a malformed `If-Match` does not match, so nothing
    /// changes, and a malformed `If-None-Match` gets the whole answer.
    fn contain(&self, tag: &HeaderValue, weak: Weak) -> bool {
        match self {
            Self::Any => true,
            Self::These(lines) => lines.iter().any(|line| {
                Entries(line.as_bytes()).any(|(is_weak, entry)| {
                    entry == tag.as_bytes() && (!is_weak || weak == Weak::Match)
                })
            }),
        }
    }
}

/// The tags of one line: whether each is weak, and its text in quotation marks.
struct Entries<'l>(&'l [u8]);

impl<'l> Iterator for Entries<'l> {
    type Item = (bool, &'l [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.0;
        while let [b' ' | b'\t' | b',', behind @ ..] = rest {
            rest = behind;
        }
        let (is_weak, quoted) = match rest.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        // A comma may be part of a tag; a quotation mark may not.
        let text = quoted.strip_prefix(b"\"")?;
        let end = text.iter().position(|byte| *byte == b'"')?;
        let (entry, behind) = quoted.split_at(end + 2);
        self.0 = behind;
        Some((is_weak, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(name: &HeaderName, lines: &[&'static str]) -> Preconditions {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_static(line));
        }
        Preconditions::of(&headers).unwrap()
    }

    /// contract 13, RFC 9110, 8.8.3.2: a weak tag never matches strongly.
    #[test]
    fn comparison() {
        let tag = HeaderValue::from_static("\"a,b\"");
        for (lines, strong, weak) in [
            (&["\"a,b\""][..], true, true),
            (&["W/\"a,b\""], false, true),
            (&["*"], true, true),
            (&[" * "], true, true),
            (&["\"x\", \"a,b\""], true, true),
            (&["\"x\"", ",, \"y\" ,\"a,b\""], true, true),
            (&["W/\"x\",W/\"a,b\",\"z\""], false, true),
            (&["\"x\", *"], false, false),
            (&["*", "*"], false, false),
            (&["a,b"], false, false),
            (&["w/\"a,b\""], false, false),
            (&["\"a,b"], false, false),
            (&["\"a b\""], false, false),
            (&["oops \"a,b\""], false, false),
            (&[""], false, false),
        ] {
            assert_eq!(
                conditions(&IF_MATCH, lines).allow(&tag),
                strong,
                "{lines:?}"
            );
            assert_eq!(
                conditions(&IF_NONE_MATCH, lines).knows(&tag),
                weak,
                "{lines:?}"
            );
        }
        assert!(Preconditions::of(&HeaderMap::new()).is_none());
    }

    #[test]
    fn tags_are_quoted_hashes() {
        let tag = tag_of(b"{}");
        let text = tag.to_str().unwrap();
        assert_eq!(text.len(), 34);
        assert_eq!(text[1..33], blake3::hash(b"{}").to_hex()[..32]);
        assert!(text.starts_with('"') && text.ends_with('"'));
        assert_ne!(tag_of(b"{} "), tag);
    }
}
