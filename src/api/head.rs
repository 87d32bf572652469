//! A request without its body.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use percent_encoding::percent_decode_str;

use crate::store::ClientWatch;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request without its body.
#[derive(Debug)]
pub(super) struct Head {
    parts: Parts,
    /// The client's address, as far as the network and trusted proxies tell.
    pub client: IpAddr,
    /// The address at the other end of the connection.
    pub peer: IpAddr,
    /// What its connection is for.
    pub admission: Admission,
    /// Whether the client still waits for the answer.
    pub client_watch: ClientWatch,
    request_id: HeaderValue,
}

/// What is answered on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    All,
    /// Too many are open already.
    ProbesOnly,
}

impl Head {
    pub fn new(
        parts: Parts,
        client: IpAddr,
        peer: IpAddr,
        admission: Admission,
        client_watch: ClientWatch,
        ids: &RequestIds,
    ) -> Self {
        Self {
            request_id: ids.id_of(&parts.headers),
            client,
            peer,
            admission,
            client_watch,
            parts,
        }
    }

    pub fn version(&self) -> Version {
        self.parts.version
    }

    /// Whether a body follows.
    pub fn has_body(&self) -> bool {
        let headers = self.headers();
        headers.contains_key(TRANSFER_ENCODING)
            || headers
                .get(CONTENT_LENGTH)
                .is_some_and(|length| length.as_bytes() != b"0")
    }

    /// The method as sent, `HEAD` included.
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The path as sent.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The query as sent, without its question mark.
    pub fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The value of `X-Request-ID`.
    pub fn request_id(&self) -> &str {
        // Ids are ASCII, whether made here or checked by `is_sane_id`.
        self.request_id.to_str().unwrap_or_default()
    }

    /// The same as a header's value.
    pub fn request_id_header(&self) -> HeaderValue {
        self.request_id.clone()
    }
}

/// A segment of a path, decoded.
pub(super) fn decode(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

/// Makes request ids: a random number for the process, and a count.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub fn new() -> Self {
        Self {
            // Without randomness ids of two processes may coincide; nothing depends on them.
            process: getrandom::u32().unwrap_or(0),
            next: AtomicU64::new(1),
        }
    }

    /// The client's own id if it is fit for a log, else a new one.
    fn id_of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(X_REQUEST_ID) {
            Some(id) if is_sane_id(id.as_bytes()) => id.clone(),
            _ => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                // Hexadecimal digits and a dash, so this cannot fail.
                let (text, start) = request_id(self.process, number);
                HeaderValue::from_bytes(&text[start..]).unwrap_or(HeaderValue::from_static("-"))
            }
        }
    }
}

/// The text of an id, and where it begins: both numbers have eight digits, the second one more
/// where they do not suffice.
fn request_id(process: u32, number: u64) -> ([u8; 25], usize) {
    let mut text = *b"00000000-0000000000000000";
    // The parts are exactly as long as the hexadecimal texts.
    let _ = hex::encode_to_slice(number.to_be_bytes(), &mut text[9..]);
    let zeros = text[9..17].iter().take_while(|digit| **digit == b'0');
    let start = zeros.count();
    let _ = hex::encode_to_slice(process.to_be_bytes(), &mut text[start..start + 8]);
    text[start + 8] = b'-';
    (text, start)
}

fn is_sane_id(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_two_numbers_of_eight_digits_or_more() {
        for (process, number, expected) in [
            (0, 1, "00000000-00000001"),
            (0x12ab_34cd, 0xffff_ffff, "12ab34cd-ffffffff"),
            (7, 0x1_0000_0000, "00000007-100000000"),
            (u32::MAX, u64::MAX, "ffffffff-ffffffffffffffff"),
        ] {
            let (text, start) = request_id(process, number);
            assert_eq!(text[start..].escape_ascii().to_string(), expected);
        }
    }
}
