//! Per-caller rate limits and per-address authentication-failure limits.
//!
//! Both count in fixed windows of one minute that start with the first count. With Redis all
//! replicas share the counts; without it, or while it does not answer, each process has its own.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::HeaderMap;
use ipnet::IpNet;
use prometheus::IntCounter;
use quick_cache::sync::Cache;

use crate::config::AuthConfig;
use crate::domain::{Timestamp, UserId};
use crate::services::redis::RedisCounter;
use crate::telemetry::Metrics;

use super::allowance::Allowance;
use super::error::{ApiError, RateLimit};

mod address;
mod windows;

#[cfg(any(fuzzing, test))]
pub(super) use address::client_address;
pub(super) use address::{
    SharedBy, client_key, is_forwarded, is_forwarded_locally, is_private, likely_address,
};
use windows::Windows;

const MINUTE: Duration = Duration::from_secs(60);

/// The most addresses that are remembered as exhausted; the least used are dropped.
const MAX_EXHAUSTED: usize = 10_000;

/// The daemon's limits.
pub(super) struct Limits {
    requests: Option<Limiter>,
    failures: Option<Limiter>,
    /// Addresses that have used up their wrong credentials, and until when.
    exhausted: Cache<IpAddr, Instant>,
    trusted_proxies: Vec<IpNet>,
}

impl Limits {
    pub fn new(config: &AuthConfig, redis: Option<&RedisCounter>, metrics: &Metrics) -> Self {
        let limiter = |limit, refusal, kind| Limiter::new(limit, refusal, kind, redis, metrics);
        Self {
            requests: limiter(config.requests_per_minute, RateLimit::Requests, "caller"),
            failures: limiter(
                config.failures_per_minute,
                RateLimit::AuthFailures,
                "address",
            ),
            exhausted: Cache::new(MAX_EXHAUSTED),
            trusted_proxies: config.trusted_proxies.clone(),
        }
    }

    /// The client's address, also behind trusted proxies.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        address::client_address(peer, headers, &self.trusted_proxies)
    }

    /// What may stand for many clients with the address `client`.
    pub fn shared_by(&self, peer: IpAddr, client: IpAddr, headers: &HeaderMap) -> SharedBy {
        address::shared_by(peer, client, headers, &self.trusted_proxies)
    }

    /// Counts a request of `user`; an error beyond `RATE_LIMIT_PER_MINUTE`. `None` if the limit is
    /// off.
    pub async fn count_request(
        &self,
        user: &UserId,
        now: Timestamp,
    ) -> Result<Option<Allowance>, ApiError> {
        let Some(limiter) = &self.requests else {
            return Ok(None);
        };
        limiter.count(user.as_str(), now).await.map(Some)
    }

    /// Counts a request with wrong credentials; an error beyond `AUTH_FAILURES_PER_MINUTE`.
    pub async fn count_failure(&self, client: IpAddr, now: Timestamp) -> Result<(), ApiError> {
        let Some(limiter) = &self.failures else {
            return Ok(());
        };
        let client = client_key(client);
        let (count, left) = limiter.tally(&client.to_string()).await;
        if count >= limiter.limit {
            self.exhausted.insert(client, Instant::now() + left);
        }
        limiter.judge(count, left, now).map(drop)
    }

    /// What is left to an address that has used up its wrong credentials: nothing, until the
    /// window ends. `None` for every other address. Asks nobody.
    pub fn exhausted(&self, client: IpAddr, now: Timestamp) -> Option<Allowance> {
        let limiter = self.failures.as_ref()?;
        let client = client_key(client);
        let until = self.exhausted.get(&client)?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.exhausted.remove(&client);
            return None;
        }
        Some(limiter.allowance(limiter.limit, left, now))
    }

    /// Counts a request that was refused because of [`Self::exhausted`].
    pub fn count_refusal(&self) {
        if let Some(limiter) = &self.failures {
            limiter.exceeded.inc();
        }
    }
}

/// One limit.
struct Limiter {
    limit: u64,
    /// The error beyond it.
    refusal: RateLimit,
    /// Its name in Redis and in the metrics.
    kind: &'static str,
    own: Windows,
    shared: Option<RedisCounter>,
    exceeded: IntCounter,
}

impl Limiter {
    /// `None` if the limit is off.
    fn new(
        limit: u32,
        refusal: RateLimit,
        kind: &'static str,
        redis: Option<&RedisCounter>,
        metrics: &Metrics,
    ) -> Option<Self> {
        (limit > 0).then(|| Self {
            limit: u64::from(limit),
            refusal,
            kind,
            own: Windows::new(MINUTE),
            shared: redis.cloned(),
            exceeded: metrics.rate_limited.with_label_values(&[kind]),
        })
    }

    /// Counts a request of `key`.
    async fn count(&self, key: &str, now: Timestamp) -> Result<Allowance, ApiError> {
        let (count, left) = self.tally(key).await;
        self.judge(count, left, now)
    }

    /// Counts `key` once more: the count, and what is left of its window.
    async fn tally(&self, key: &str) -> (u64, Duration) {
        let shared = match &self.shared {
            Some(redis) => redis.count(&format!("{}:{key}", self.kind), MINUTE).await,
            None => None,
        };
        match shared {
            Some(counted) => (counted.count, counted.left),
            None => self.own.count(key),
        }
    }

    fn judge(&self, count: u64, left: Duration, now: Timestamp) -> Result<Allowance, ApiError> {
        let allowance = self.allowance(count, left, now);
        if count > self.limit {
            self.exceeded.inc();
            return Err(ApiError::RateLimited {
                limit: self.refusal,
                allowance,
            });
        }
        Ok(allowance)
    }

    fn allowance(&self, count: u64, left: Duration, now: Timestamp) -> Allowance {
        Allowance {
            limit: self.limit,
            remaining: self.limit.saturating_sub(count),
            reset: now.saturating_add(left),
            left,
        }
    }
}
