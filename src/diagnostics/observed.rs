//! The daemon at its configured addresses, if one answers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{HttpConfig, TelemetryConfig};
use crate::services::daemon::{
    self, DaemonError, DaemonStatus, HealthAnswer, RequestStatus, ServiceStatus,
};

pub(super) struct Daemon {
    pub(super) health: Result<HealthAnswer, DaemonError>,
    pub(super) status: Result<DaemonStatus, DaemonError>,
}

impl Daemon {
    pub(super) async fn observe(
        http: &HttpConfig,
        telemetry: &TelemetryConfig,
        limit: Duration,
    ) -> Self {
        let base = daemon::local_address(http);
        let status_base = match telemetry.metrics_addr {
            Some(address) => daemon::local_address_of(address),
            None => base.clone(),
        };
        let health = async {
            let url = daemon::health_url(&base)?;
            daemon::health(&url, limit).await
        };
        let (health, status) = tokio::join!(health, daemon::status(&status_base, limit));
        Self { health, status }
    }

    /// Whether nothing listens at HOST and PORT.
    pub(super) fn is_absent(&self) -> bool {
        is_refused(&self.health)
    }

    /// Whether a todoctl daemon answers.
    pub(super) fn is_todoctl(&self) -> bool {
        self.status.is_ok()
            || self
                .health
                .as_ref()
                .is_ok_and(|answer| answer.database.is_some())
    }

    /// What it tells about its requests, if it answers.
    pub(super) fn requests(&self) -> Option<&RequestStatus> {
        let status = self.status.as_ref().ok()?;
        status.requests.as_ref()
    }

    /// Whether requests failed lately, and the newest of a route with an error of this kind.
    pub(super) fn has_failed_with(&self, kind: &str) -> bool {
        let newest = self
            .requests()
            .into_iter()
            .flat_map(|requests| &requests.failures)
            .filter_map(|route| route.newest.first());
        newest.into_iter().any(|failure| failure.kind == kind)
    }

    /// Whether it sends no mails now, because the provider forbids (403) that sender.
    pub(super) fn has_forbidden_sender(&self) -> bool {
        let mails = self.status.as_ref().ok().and_then(|one| one.mails.as_ref());
        let reason = mails.and_then(|mails| mails.paused_reason.as_deref());
        reason.is_some_and(|reason| reason.starts_with("403"))
    }

    /// How many keys of users could not be checked lately, for each reason.
    pub(super) fn key_obstacles(&self) -> &BTreeMap<String, u64> {
        static NONE: BTreeMap<String, u64> = BTreeMap::new();
        let requests = self.status.as_ref().ok();
        let requests = requests.and_then(|one| one.requests.as_ref());
        requests.map_or(&NONE, |requests| &requests.key_obstacles)
    }

    /// What the daemon tells about a service.
    pub(super) fn service(&self, name: &str) -> Option<&ServiceStatus> {
        let services = &self.status.as_ref().ok()?.services;
        services.iter().find(|one| one.name == name)
    }

    /// Whether nothing listens at the metrics' address.
    pub(super) fn has_free_metrics_address(&self) -> bool {
        is_refused(&self.status)
    }
}

fn is_refused<T>(answer: &Result<T, DaemonError>) -> bool {
    matches!(answer, Err(DaemonError::Unreachable(why)) if why.to_lowercase().contains("refused"))
}
