//! Titles and descriptions.

use serde::Serialize;

/// Why a text is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("String should have at least 1 character")]
    Empty,
    /// Only white space.
    #[error("Value must not be blank")]
    Blank,
    /// Too many Unicode code points.
    #[error("String should have at most {max} characters")]
    TooLong { max: usize },
    /// Contains U+0000, which PostgreSQL cannot store.
    #[error("String must not contain NUL characters")]
    Nul,
}

fn check_length(text: &str, max: usize) -> Result<(), TextError> {
    // A text has at most as many code points as bytes, so most texts need no counting.
    if text.len() > max && text.chars().count() > max {
        return Err(TextError::TooLong { max });
    }
    if text.contains('\0') {
        return Err(TextError::Nul);
    }
    Ok(())
}

/// A trimmed, non-blank title of 1 to 200 code points before trimming; contract 3.2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Title(String);

impl Title {
    /// Counted in Unicode code points, before trimming.
    pub const MAX_CHARS: usize = 200;

    /// Validates and trims `text`.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        check_length(text, Self::MAX_CHARS)?;
        match text.trim() {
            "" => Err(TextError::Blank),
            trimmed => Ok(Self(trimmed.to_owned())),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A trimmed, non-empty description of at most 1000 code points before trimming; contract 3.2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Description(String);

impl Description {
    /// Counted in Unicode code points, before trimming.
    pub const MAX_CHARS: usize = 1000;

    /// Validates and trims `text`; `None` if it is blank.
    pub fn new(text: &str) -> Result<Option<Self>, TextError> {
        check_length(text, Self::MAX_CHARS)?;
        let trimmed = text.trim();
        Ok((!trimmed.is_empty()).then(|| Self(trimmed.to_owned())))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract 1: lengths.
    #[test]
    fn lengths_count_code_points_before_trimming() {
        assert!(Title::new(&"\u{1F600}".repeat(200)).is_ok());
        assert_eq!(
            Title::new(&format!("{} ", "x".repeat(200))),
            Err(TextError::TooLong { max: 200 })
        );
    }

    /// Contract 1: trimming.
    #[test]
    fn trimming_strips_unicode_space_but_not_zero_width() {
        assert_eq!(Title::new("\u{a0}\u{3000}x\t").unwrap().as_str(), "x");
        assert_eq!(Title::new("\u{200b}").unwrap().as_str(), "\u{200b}");
        assert_eq!(Title::new(" \u{3000}"), Err(TextError::Blank));
        let description = |text: &str| Description::new(text).unwrap().map(|one| one.0);
        assert_eq!(
            description("\u{a0}\u{3000}x\n").as_deref(),
            Some("x"),
            "trimmed"
        );
        for blank in [" \n", "\u{a0}", "\u{3000}"] {
            assert_eq!(description(blank), None, "{blank:?}");
        }
        assert_eq!(description("\u{200b}").as_deref(), Some("\u{200b}"));
    }

    /// Contract 10.11: U+0000.
    #[test]
    fn nul_is_refused() {
        assert_eq!(Title::new("a\0b"), Err(TextError::Nul));
        assert_eq!(Description::new("\0"), Err(TextError::Nul));
    }
}
