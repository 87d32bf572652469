//! The name that a client gives to a request, so that it can send it again.

use std::fmt;

/// 1 to 255 visible ASCII characters; a user's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The greatest length, in characters.
    pub const MAX_CHARS: usize = 255;

    /// Checks `bytes`.
    pub fn new(bytes: &[u8]) -> Result<Self, IdempotencyKeyError> {
        if bytes.is_empty() {
            return Err(IdempotencyKeyError::Empty);
        }
        if bytes.len() > Self::MAX_CHARS {
            return Err(IdempotencyKeyError::TooLong);
        }
        if !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(IdempotencyKeyError::Invisible);
        }
        // Visible ASCII is UTF-8 as it stands.
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdempotencyKeyError {
    /// No character at all.
    #[error("the key is empty")]
    Empty,
    /// More than [`IdempotencyKey::MAX_CHARS`] characters.
    #[error("the key is longer than 255 characters")]
    TooLong,
    /// A space, a control character or something beyond ASCII.
    #[error("the key has a character that is not visible ASCII")]
    Invisible,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract 13: what a key is.
    #[test]
    fn rules() {
        assert!(IdempotencyKey::new(b"a").is_ok());
        assert!(IdempotencyKey::new(&[b'~'; 255]).is_ok());
        for (bytes, error) in [
            (&b""[..], IdempotencyKeyError::Empty),
            (&[b'x'; 256][..], IdempotencyKeyError::TooLong),
            (b"a b", IdempotencyKeyError::Invisible),
            (b"a\0b", IdempotencyKeyError::Invisible),
            (b"a\x7f", IdempotencyKeyError::Invisible),
            ("ä".as_bytes(), IdempotencyKeyError::Invisible),
        ] {
            assert_eq!(IdempotencyKey::new(bytes), Err(error));
        }
    }
}
