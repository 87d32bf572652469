//! User ids.

use std::fmt;

use serde::Serialize;

/// An opaque user id of the auth server: 1 to 255 characters, not blank, without NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct UserId(String);

impl UserId {
    /// The length of the database's columns, in Unicode code points.
    pub const MAX_CHARS: usize = 255;

    pub fn new(text: impl Into<String>) -> Result<Self, UserIdError> {
        let text = text.into();
        if text.trim().is_empty() {
            return Err(UserIdError::Blank);
        }
        if text.contains('\0') {
            return Err(UserIdError::Nul);
        }
        if text.chars().count() > Self::MAX_CHARS {
            return Err(UserIdError::TooLong);
        }
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a valid user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserIdError {
    /// Empty, or only white space.
    #[error("the user id is empty or blank")]
    Blank,
    /// Contains U+0000, which PostgreSQL cannot store.
    #[error("the user id contains a NUL character")]
    Nul,
    #[error("the user id is longer than 255 characters")]
    TooLong,
}
