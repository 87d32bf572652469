//! Expiry by the injected clock.

use std::time::Duration;

use crate::domain::Timestamp;

/// Whether `span` has passed since `since`. A clock that was set back counts as passed, so
/// that nothing waits for hours.
pub(super) fn has_passed(since: Timestamp, span: Duration, now: Timestamp) -> bool {
    now < since || now >= since.saturating_add(span)
}
