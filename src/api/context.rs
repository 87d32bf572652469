//! What every handler is given.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, HealthProbe};
use crate::services::ClientError;
use crate::services::auth_server::AuthServer;
use crate::store::Store;
use crate::telemetry::Metrics;

use super::auth::Authenticator;
use super::cors::Cors;

/// The daemon's shared state. Cheap to clone: one `Arc`.
#[derive(Clone)]
pub struct ApiContext(Arc<Shared>);

/// What is behind an [`ApiContext`].
pub struct Shared {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
    pub(super) auth: Authenticator,
    pub(super) cors: Cors,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How long a request may take, its body included.
    pub request_timeout: Duration,
    /// How `/health` learns about the database.
    pub health_probe: HealthProbe,
    /// Whether `/metrics` is on the public listener.
    pub public_metrics: bool,
    draining: AtomicBool,
}

/// The daemon's state could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A metric could not be registered.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// No HTTP client for a service.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl ApiContext {
    /// Puts the daemon's state together.
    pub fn new(config: &Config, store: Store, clock: Clock) -> Result<Self, ContextError> {
        let metrics = Metrics::new(&store)?;
        let auth_server =
            config.services.auth_server_url.as_ref().map(|url| {
                AuthServer::new(url, clock.clone(), metrics.auth_server_requests.clone())
            });
        Ok(Self(Arc::new(Shared {
            auth: Authenticator::new(&config.auth, auth_server.transpose()?, &metrics),
            cors: Cors::new(&config.http.cors_origins),
            max_body_bytes: config.http.max_body_bytes,
            request_timeout: config.http.request_timeout,
            health_probe: config.database.health_probe,
            public_metrics: config.telemetry.metrics_addr.is_none(),
            draining: AtomicBool::new(false),
            store,
            clock,
            metrics,
        })))
    }

    /// From now on `/health/ready` sends new requests elsewhere.
    pub fn start_draining(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the daemon is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }
}

impl Deref for ApiContext {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
