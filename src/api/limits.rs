//! How much one caller may ask, and how often one address may be wrong.
//!
//! Both count in fixed windows of a minute, from the first count on: with Redis
//! together with all replicas, without it (or while it does not answer) in this
//! process alone.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use ipnet::IpNet;
use prometheus::IntCounter;
use warp::reply::Response;

use crate::config::AuthConfig;
use crate::domain::{Timestamp, UserId};
use crate::services::redis::RedisCounter;
use crate::telemetry::Metrics;

use super::error::ApiError;
use super::request::Head;

mod address;
mod windows;

use windows::Windows;

const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

const MINUTE: Duration = Duration::from_secs(60);

/// What a limit leaves to somebody at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// How many in a window.
    limit: u64,
    /// How many are left of them.
    remaining: u64,
    /// When the window ends.
    reset: Timestamp,
    /// Until then.
    left: Duration,
}

impl Allowance {
    /// Nothing, until `reset`.
    pub fn used_up(limit: u64, reset: Timestamp, now: Timestamp) -> Self {
        Self {
            limit,
            remaining: 0,
            reset,
            left: reset.since(now),
        }
    }

    /// Says so to the client, unless a stricter limit has spoken already.
    pub fn mark(&self, headers: &mut HeaderMap) {
        if headers.contains_key(X_RATELIMIT_LIMIT) {
            return;
        }
        headers.extend(self.headers());
    }

    /// The headers of any answer.
    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![
            (X_RATELIMIT_LIMIT, HeaderValue::from(self.limit)),
            (X_RATELIMIT_REMAINING, HeaderValue::from(self.remaining)),
        ];
        if let Ok(reset) = HeaderValue::from_str(&self.reset.to_string()) {
            headers.push((X_RATELIMIT_RESET, reset));
        }
        headers
    }

    /// The headers of a 429. Seconds are rounded up: a client that is told 0 asks at once.
    pub fn refusal_headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = self.headers();
        let seconds = self.left.as_millis().div_ceil(1000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        headers
    }
}

/// The daemon's limits.
pub(super) struct Limits {
    requests: Option<Limiter>,
    failures: Option<Limiter>,
    trusted_proxies: Vec<IpNet>,
}

impl Limits {
    pub fn new(config: &AuthConfig, redis: Option<&RedisCounter>, metrics: &Metrics) -> Self {
        let limiter = |limit, kind| Limiter::new(limit, kind, redis, metrics);
        Self {
            requests: limiter(config.requests_per_minute, "caller"),
            failures: limiter(config.failures_per_minute, "address"),
            trusted_proxies: config.trusted_proxies.clone(),
        }
    }

    /// Whose request it is, as far as the network goes.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        address::client_address(peer, headers, &self.trusted_proxies)
    }

    /// Counts a request of somebody known; 429 beyond `RATE_LIMIT_PER_MINUTE`.
    pub async fn admit(
        &self,
        user: &UserId,
        now: Timestamp,
    ) -> Result<Option<Allowance>, ApiError> {
        match &self.requests {
            Some(limiter) => limiter
                .count(user.as_str(), now)
                .await
                .map(Some)
                .map_err(|spent| ApiError::too_many("Too many requests", &spent)),
            None => Ok(None),
        }
    }

    /// Counts an answer that refused wrong credentials, and puts 429 in its place
    /// beyond `AUTH_FAILURES_PER_MINUTE`. Right ones never come here.
    pub async fn judge(&self, head: &Head, response: Response, now: Timestamp) -> Response {
        let wrong = response
            .extensions()
            .get::<ApiError>()
            .is_some_and(ApiError::is_wrong_credentials);
        let (true, Some(limiter)) = (wrong, &self.failures) else {
            return response;
        };
        let key = address::client_key(head.client).to_string();
        match limiter.count(&key, now).await {
            Ok(_) => response,
            Err(spent) => ApiError::too_many("Too many wrong credentials", &spent).into_response(),
        }
    }
}

/// One limit.
struct Limiter {
    limit: u64,
    kind: &'static str,
    own: Windows,
    shared: Option<RedisCounter>,
    exceeded: IntCounter,
}

impl Limiter {
    /// `None` where the limit is off.
    fn new(
        limit: u32,
        kind: &'static str,
        redis: Option<&RedisCounter>,
        metrics: &Metrics,
    ) -> Option<Self> {
        (limit > 0).then(|| Self {
            limit: u64::from(limit),
            kind,
            own: Windows::new(MINUTE),
            shared: redis.cloned(),
            exceeded: metrics.rate_limited.with_label_values(&[kind]),
        })
    }

    /// Counts once more: what is left, or as an error that nothing was.
    async fn count(&self, key: &str, now: Timestamp) -> Result<Allowance, Allowance> {
        let shared = match &self.shared {
            Some(redis) => redis.count(&format!("{}:{key}", self.kind), MINUTE).await,
            None => None,
        };
        let (count, left) = match shared {
            Some(counted) => (counted.count, counted.left),
            None => self.own.count(key),
        };
        let allowance = Allowance {
            limit: self.limit,
            remaining: self.limit.saturating_sub(count),
            reset: now.saturating_add(left),
            left,
        };
        if count > self.limit {
            self.exceeded.inc();
            return Err(allowance);
        }
        Ok(allowance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract 10.30: seconds, rounded up, never 0.
    #[test]
    fn retry_after() {
        let now: Timestamp = "2031-01-02T03:04:05Z".parse().unwrap();
        for (left, expected) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
            let reset = now.saturating_add(Duration::from_millis(left));
            let headers = Allowance::used_up(5, reset, now).refusal_headers();
            let (_, value) = headers
                .iter()
                .find(|(name, _)| name == RETRY_AFTER)
                .unwrap();
            assert_eq!(value, expected, "{left} ms");
        }
    }
}
