//! The client-chosen key that makes a request safe to repeat.

use std::fmt;

/// 1 to 255 visible ASCII characters. Each user has their own keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub const MAX_CHARS: usize = 255;

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
        // Visible ASCII is valid UTF-8.
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }

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
    #[error("the key is empty")]
    Empty,
    #[error("the key is longer than 255 characters")]
    TooLong,
    /// A space, a control character or a character outside ASCII.
    #[error("the key contains a character that is not visible ASCII")]
    Invisible,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract 13: which keys are valid.
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
