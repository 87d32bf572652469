//! The daemon's shared state.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, Fingerprints, HealthProbe, LogRequests};
use crate::domain::Timestamp;
use crate::services::ClientError;
use crate::services::auth_server::AuthServer;
use crate::services::key_provider::KeyProvider;
use crate::services::redis::{RedisCounter, RedisUrlError};
use crate::store::{CipherKeyError, KeyCipher, Store};
use crate::telemetry::Metrics;

use super::auth::Authenticator;
use super::cors::Cors;
use super::limits::Limits;
use super::schema_gap::SchemaGap;

/// The daemon's shared state. Cheap to clone: one `Arc`.
#[derive(Clone)]
pub struct ApiContext(Arc<Shared>);

/// Why the daemon could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Two metrics have one name.
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// `ENCRYPTION_KEY`.
    #[error(transparent)]
    EncryptionKey(#[from] CipherKeyError),
    /// The client of the key provider.
    #[error(transparent)]
    HttpClient(#[from] ClientError),
    /// `REDIS_URL`.
    #[error(transparent)]
    Redis(#[from] RedisUrlError),
}

/// What is behind an [`ApiContext`].
pub struct Shared {
    /// The database.
    pub store: Store,
    /// The source of the current time.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
    pub(super) auth: Authenticator,
    pub(super) cors: Cors,
    pub(super) limits: Limits,
    pub(super) key_cipher: KeyCipher,
    pub(super) key_provider: KeyProvider,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How long a request may take, its body included.
    pub request_timeout: Duration,
    pub(super) logged_requests: LogRequests,
    /// How `/health` learns about the database.
    pub health_probe: HealthProbe,
    /// When the daemon was set up.
    pub(super) started: Timestamp,
    pub(super) redis: Option<RedisCounter>,
    pub(super) fingerprints: Fingerprints,
    pub(super) schema_gap: SchemaGap,
    /// In seconds since 1970; 0 while it is not.
    draining_since: AtomicI64,
}

impl ApiContext {
    /// Creates the daemon's state. Must be called within a runtime.
    pub fn new(config: &Config, store: Store, clock: Clock) -> Result<Self, SetupError> {
        let metrics = Metrics::new(&store)?;
        let services = &config.services;
        let auth_server = services.auth_server_url.as_ref().map(|url| {
            let issuer = services.auth_issuer.as_deref();
            let requests = metrics.auth_server_requests.clone();
            AuthServer::new(url, issuer, clock.clone(), requests)
        });
        let redis = services
            .redis_url
            .as_ref()
            .map(|url| {
                let errors = metrics.rate_limit_backend_errors.clone();
                RedisCounter::new(url, &store.identity().scope(), clock.clone(), errors)
            })
            .transpose()?;
        Ok(Self(Arc::new(Shared {
            auth: Authenticator::new(&config.auth, auth_server.transpose()?, &metrics),
            cors: Cors::new(&config.http.cors_origins),
            limits: Limits::new(&config.auth, redis.as_ref(), &metrics),
            key_cipher: KeyCipher::new(&config.auth.encryption_key)?,
            key_provider: KeyProvider::new(services.gemini_api_url.as_ref())?,
            max_body_bytes: config.http.max_body_bytes,
            request_timeout: config.http.request_timeout,
            logged_requests: config.telemetry.requests,
            health_probe: config.database.health_probe,
            started: clock.now(),
            redis,
            fingerprints: config.fingerprints.clone(),
            schema_gap: SchemaGap::default(),
            draining_since: AtomicI64::new(0),
            store,
            clock,
            metrics,
        })))
    }

    /// From now on `/health/ready` answers 503, so that load balancers send requests elsewhere.
    pub fn start_draining(&self) {
        let now = self.0.clock.now().unix_seconds();
        self.0.draining_since.store(now, Ordering::Relaxed);
    }

    /// Whether the daemon is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining_since().is_some()
    }

    /// Since when the daemon is about to stop, in seconds since 1970.
    pub(super) fn draining_since(&self) -> Option<i64> {
        Some(self.0.draining_since.load(Ordering::Relaxed)).filter(|since| *since != 0)
    }
}

impl Deref for ApiContext {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
