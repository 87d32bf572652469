//! Probes: `/health`, `/health/live`, `/health/ready`.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::config::HealthProbe;
use crate::store::StoreError;

use super::context::ApiContext;
use super::request::{endpoint, with};
use super::route_table::{HEALTH, HEALTH_LIVE, HEALTH_READY};

/// A probe answers within 3 s, whatever the database does.
const PROBE_LIMIT: Duration = Duration::from_millis(2500);

/// The three probes; nobody has to say who they are.
pub(super) fn routes(context: &ApiContext) -> BoxedFilter<(Response,)> {
    let health = endpoint(&HEALTH, Method::GET)
        .and(with(context))
        .then(|_, context: ApiContext| async move { health(&context).await });
    let live = endpoint(&HEALTH_LIVE, Method::GET).map(|_| live());
    let ready = endpoint(&HEALTH_READY, Method::GET)
        .and(with(context))
        .then(|_, context: ApiContext| async move { ready(&context).await });
    health.or(live).unify().or(ready).unify().boxed()
}

/// What `/health` says.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `healthy` or `unhealthy`.
    status: &'static str,
    /// Now, in UTC.
    #[schema(format = DateTime)]
    timestamp: String,
    /// `connected` or `disconnected`.
    database: &'static str,
}

/// What `/health/live` and `/health/ready` say.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProbeStatus {
    /// `alive`, `ready`, or why not: `draining`, `database`, `migrations`.
    status: &'static str,
}

/// Whether the service works, the database included.
#[utoipa::path(
    get, path = "/health", tag = "operations",
    responses(
        (status = 200, description = "It works", body = Health),
        (status = 503, description = "The database does not answer", body = Health),
    ),
)]
pub(super) async fn health(context: &ApiContext) -> Response {
    let answers = match context.health_probe {
        HealthProbe::Active => database_answers(context).await,
        // No query yet is no bad news: the daemon proved the database when it started.
        HealthProbe::Passive => context.store.last_answer().unwrap_or(true),
    };
    let (status, word, database) = if answers {
        (StatusCode::OK, "healthy", "connected")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", "disconnected")
    };
    let body = Health {
        status: word,
        timestamp: context.clock.now().to_offset_string(),
        database,
    };
    json(status, &body)
}

/// Whether the process runs; never asks the database.
#[utoipa::path(
    get, path = "/health/live", tag = "operations",
    responses((status = 200, description = "It runs", body = ProbeStatus)),
)]
pub(super) fn live() -> Response {
    status_only(StatusCode::OK, "alive")
}

/// Whether requests should be sent here.
#[utoipa::path(
    get, path = "/health/ready", tag = "operations",
    responses(
        (status = 200, description = "They should", body = ProbeStatus),
        (status = 503, description = "Not now", body = ProbeStatus),
    ),
)]
pub(super) async fn ready(context: &ApiContext) -> Response {
    let unready = |reason| status_only(StatusCode::SERVICE_UNAVAILABLE, reason);
    if context.is_draining() {
        return unready("draining");
    }
    let Ok(Ok(pending)) =
        tokio::time::timeout(PROBE_LIMIT, context.store.migrations_pending()).await
    else {
        return unready("database");
    };
    context.metrics.migrations_pending.set(i64::from(pending));
    if pending {
        return unready("migrations");
    }
    if database_answers(context).await {
        status_only(StatusCode::OK, "ready")
    } else {
        unready("database")
    }
}

/// Whether the database answers a query now.
///
/// When every connection is busy the question cannot be asked; then the newest
/// query's outcome tells. A full pool is no reason to restart the process.
async fn database_answers(context: &ApiContext) -> bool {
    match tokio::time::timeout(PROBE_LIMIT, context.store.ping()).await {
        Ok(Ok(())) => true,
        Ok(Err(StoreError::PoolTimeout { .. })) => context.store.last_answer() == Some(true),
        Err(_) if context.store.is_saturated() => context.store.last_answer() == Some(true),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database does not answer");
            false
        }
        Err(_) => {
            tracing::warn!(limit = ?PROBE_LIMIT, "the database did not answer in time");
            false
        }
    }
}

fn status_only(status: StatusCode, word: &'static str) -> Response {
    json(status, &ProbeStatus { status: word })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_string(body).unwrap_or_default();
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    response
}
