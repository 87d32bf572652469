//! The only caller of the system clock.
//!
//! Everything else is handed a [`Clock`], so that tests can stop it or move it.
//! `clippy.toml` forbids reading the time elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::Timestamp;

/// A source of the current time; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `at` until [`Clock::set`] moves it. For tests.
    #[must_use]
    pub fn fixed(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.micros()))))
    }

    /// Moves a fixed clock (and all its clones); the system's stays as it is.
    pub fn set(&self, at: Timestamp) {
        if let Some(fixed) = &self.0 {
            fixed.store(at.micros(), Ordering::SeqCst);
        }
    }

    /// Now, in UTC, to the microsecond (what PostgreSQL stores).
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(fixed) => Timestamp::from_micros_clamped(fixed.load(Ordering::SeqCst)),
            None => Timestamp::from(chrono::Utc::now()),
        }
    }
}
