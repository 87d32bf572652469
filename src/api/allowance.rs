//! The state of a caller's rate limit, and the headers that report it.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::domain::Timestamp;

const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The state of one caller's rate limit window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Requests allowed in a window.
    pub limit: u64,
    /// Requests left in this window.
    pub remaining: u64,
    /// When the window ends.
    pub reset: Timestamp,
    /// The time from now to `reset`.
    pub left: Duration,
}

impl Allowance {
    /// An allowance of `limit` requests that is used up until `reset`.
    pub fn used_up(limit: u64, reset: Timestamp, now: Timestamp) -> Self {
        Self {
            limit,
            remaining: 0,
            reset,
            left: reset.since(now),
        }
    }

    /// Adds the `X-RateLimit-*` headers, unless a stricter limit has set them already.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        if headers.contains_key(X_RATELIMIT_LIMIT) {
            return;
        }
        headers.insert(X_RATELIMIT_LIMIT, HeaderValue::from(self.limit));
        headers.insert(X_RATELIMIT_REMAINING, HeaderValue::from(self.remaining));
        if let Ok(reset) = HeaderValue::from_str(&self.reset.to_string()) {
            headers.insert(X_RATELIMIT_RESET, reset);
        }
    }

    /// Adds the headers of a 429: those of [`Self::add_headers`] and `Retry-After`.
    pub fn add_refusal_headers(&self, headers: &mut HeaderMap) {
        self.add_headers(headers);
        // Rounded up: a client that reads 0 retries at once (contract 10.30).
        let seconds = self.left.as_millis().div_ceil(1000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// contract 10.30: seconds, rounded up, never 0.
    #[test]
    fn retry_after() {
        let now: Timestamp = "2031-01-02T03:04:05Z".parse().unwrap();
        for (left, expected) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
            let reset = now.saturating_add(Duration::from_millis(left));
            let mut headers = HeaderMap::new();
            Allowance::used_up(5, reset, now).add_refusal_headers(&mut headers);
            assert_eq!(headers[RETRY_AFTER], expected, "{left} ms");
            assert_eq!(headers[X_RATELIMIT_LIMIT], "5");
            assert_eq!(headers[X_RATELIMIT_REMAINING], "0");
        }
    }
}
