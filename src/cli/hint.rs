//! An error of a command that knows what to type about it.

use std::error::Error;

/// What to do where there is no randomness, and so no secret worth its name.
pub const NO_RANDOM: &str = "let this process read /dev/urandom";

/// What happened, why if something lies behind it, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Hint {
    what: String,
    /// A command where there is one. Never holds a secret.
    pub remedy: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Hint {
    /// An error with nothing behind it.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
            source: None,
        }
    }

    /// An error, and what is behind it.
    pub fn of(
        source: impl Into<Box<dyn Error + Send + Sync>>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(what, remedy)
        }
    }
}
