//! A user's API key for an AI provider.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// Why a text is not a valid provider key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProviderKeyError {
    /// Fewer than [`ProviderKey::MIN_CHARS`] characters after trimming.
    #[error("Invalid API key format: the key is too short")]
    TooShort,
    /// Does not start with the prefix of the provider's keys.
    #[error("Invalid API key format: the key should start with AIza")]
    Prefix,
    /// A character that a request header cannot contain.
    #[error("Invalid API key format: the key contains invalid characters")]
    Characters,
}

/// A valid provider key. `Debug` redacts it; there is no `Display`.
#[derive(Clone)]
pub struct ProviderKey(SecretString);

impl ProviderKey {
    /// The only supported provider.
    pub const PROVIDER: &str = "gemini";

    /// The minimum length, in characters.
    pub const MIN_CHARS: usize = 20;

    /// The maximum length in bytes. A longer key would not fit its column once encrypted.
    pub const MAX_BYTES: usize = 303;

    const PREFIX: &str = "AIza";

    /// Trims and validates `text`.
    pub fn new(text: &str) -> Result<Self, ProviderKeyError> {
        let text = text.trim();
        if text.chars().count() < Self::MIN_CHARS {
            return Err(ProviderKeyError::TooShort);
        }
        if !text.starts_with(Self::PREFIX) {
            return Err(ProviderKeyError::Prefix);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ProviderKeyError::Characters);
        }
        Ok(Self::stored(text))
    }

    /// A key that was validated when it was saved; the rules may have changed since.
    #[must_use]
    pub fn stored(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The first 4 and the last 3 characters, for display.
    #[must_use]
    pub fn masked(&self) -> String {
        let characters: Vec<char> = self.expose().chars().collect();
        let first: String = characters.iter().take(4).collect();
        let last: String = characters[characters.len().saturating_sub(3)..]
            .iter()
            .collect();
        format!("{first}...{last}")
    }
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderKey([REDACTED])")
    }
}

/// A provider's key as the database stores it: a Fernet token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedKey(String);

impl EncryptedKey {
    /// Takes any text; decrypting it checks it.
    #[must_use]
    pub fn new(token: String) -> Self {
        Self(token)
    }

    /// The token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "AIzaSyA-0123456789_abcXYZ";

    /// Contract 5.2 step 3, and 10.29: the trimmed value is validated.
    #[test]
    fn valid_and_invalid_keys() {
        let key = ProviderKey::new(&format!(" \u{a0}{GOOD}\n")).unwrap();
        assert_eq!(key.expose(), GOOD);
        assert_eq!(key.masked(), "AIza...XYZ");
        for (text, expected) in [
            ("AIza", ProviderKeyError::TooShort),
            ("AIza                ", ProviderKeyError::TooShort),
            ("aiza0123456789abcdefgh", ProviderKeyError::Prefix),
            ("AIza0123456789 abcdefgh", ProviderKeyError::Characters),
            ("AIza0123456789\u{e9}abcdefgh", ProviderKeyError::Characters),
            ("AIza0123456789\0abcdefgh", ProviderKeyError::Characters),
        ] {
            assert_eq!(ProviderKey::new(text).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_stored_key_of_any_length_is_masked() {
        assert_eq!(ProviderKey::stored("").masked(), "...");
        assert_eq!(ProviderKey::stored("ab").masked(), "ab...ab");
    }

    #[test]
    fn debug_hides_the_key() {
        let shown = format!("{:?}", ProviderKey::stored(GOOD));
        assert!(!shown.contains("AIza") && !shown.contains("XYZ"), "{shown}");
    }
}
