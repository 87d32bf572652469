//! An error of a command, together with its remedy.

use std::error::Error;

use crate::config::Remedy;
use crate::store::StoreError;

/// The remedy where the system provides no random numbers.
pub(crate) fn no_random() -> Remedy {
    Remedy::note("let this process read /dev/urandom")
}

/// What happened, its cause if there is one, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Hint {
    what: String,
    /// A command where there is one. Never contains a secret.
    pub(crate) remedy: Remedy,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Hint {
    pub(crate) fn new(what: impl Into<String>, remedy: Remedy) -> Self {
        Self {
            what: what.into(),
            remedy,
            source: None,
        }
    }

    /// With the error that caused it.
    pub(crate) fn of(
        source: impl Into<Box<dyn Error + Send + Sync>>,
        what: impl Into<String>,
        remedy: Remedy,
    ) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(what, remedy)
        }
    }

    /// Says that `what` is missing until the database is migrated, if that is the reason.
    pub(crate) fn if_not_migrated(error: StoreError, what: &str) -> anyhow::Error {
        if error.needs_migration() {
            return Self::of(error, what, Remedy::command("todoctl migrate up")).into();
        }
        error.into()
    }
}
