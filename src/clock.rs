//! The only caller of the system clock; `clippy.toml` forbids it elsewhere.
//!
//! All other code receives a [`Clock`], so that tests can stop time or move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::Timestamp;

/// A source of the current time; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock for tests that shows `at` until [`Clock::set`] moves it.
    #[must_use]
    pub fn fixed(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.micros()))))
    }

    /// Moves a fixed clock and all its clones; has no effect on the system clock.
    pub fn set(&self, at: Timestamp) {
        if let Some(fixed) = &self.0 {
            fixed.store(at.micros(), Ordering::SeqCst);
        }
    }

    /// The current time, to the microsecond (PostgreSQL's precision).
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        reason = "the only caller of the system clock"
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Some(fixed) => Timestamp::from_micros_clamped(fixed.load(Ordering::SeqCst)),
            None => Timestamp::from(chrono::Utc::now()),
        }
    }
}
