//! Values that must never be printed.

use secrecy::{ExposeSecret, SecretString};

/// A secret's text. `Debug` prints `[REDACTED]`; there is no `Display`.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps `value`.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A secret in use and the ones before it, which are still accepted (`NAME_PREVIOUS`).
#[derive(Debug, Clone)]
pub struct RotatingSecret {
    /// What new values are made with.
    pub current: Secret,
    /// Still accepted, newest first.
    pub previous: Vec<Secret>,
}

impl RotatingSecret {
    /// The current secret, then the previous ones.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}
