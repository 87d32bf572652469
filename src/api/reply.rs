//! What a handler answers with.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// Status, headers and body of an answer. The headers that every response has are added later,
/// by `render`.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An ordinary answer has so many in the end.
const HEADERS: usize = 12;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Reply {
    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::with_capacity(HEADERS),
            body: Bytes::new(),
        }
    }

    /// 204.
    pub fn no_content() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// `body` as JSON.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::json_text(status, serde_json::to_vec(body)?))
    }

    /// A body that is JSON already.
    pub fn json_text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::empty(status)
        }
        .with_header(CONTENT_TYPE, JSON)
    }

    /// A body of another media type.
    pub fn content(
        status: StatusCode,
        media_type: HeaderValue,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let body = match body.into() {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Self {
            body,
            ..Self::empty(status)
        }
        .with_header(CONTENT_TYPE, media_type)
    }

    /// Sets a header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}
