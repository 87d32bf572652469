//! Probes: `/health`, `/health/live`, `/health/ready`.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::config::HealthProbe;
use crate::store::StoreError;

use super::context::ApiContext;
use super::endpoint::{Call, Inputs};
use super::error::ApiError;
use super::reply::Reply;

/// A probe answers within 3 s, whatever the database does.
const PROBE_LIMIT: Duration = Duration::from_millis(2500);

/// The state of the service.
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

/// The state of the process.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProbeStatus {
    /// `alive`, `ready`, or why not: `draining`, `database`, `migrations`, `read_only`.
    status: &'static str,
}

pub(super) async fn health(call: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    let context = &call.context;
    let answers = match context.health_probe {
        HealthProbe::Active => database_answers(context).await,
        // Before the first query it counts as reachable: the daemon connected when it started.
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
    Ok(Reply::json(status, &body)?)
}

/// Does not query the database.
pub(super) async fn live(_: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    probe_status(StatusCode::OK, "alive")
}

pub(super) async fn ready(call: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    let context = &call.context;
    let unready = |reason| probe_status(StatusCode::SERVICE_UNAVAILABLE, reason);
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
    match answer(context, context.store.is_writable(), true).await {
        Some(true) => probe_status(StatusCode::OK, "ready"),
        Some(false) => unready("read_only"),
        None => unready("database"),
    }
}

/// Whether the database answers a query now.
async fn database_answers(context: &ApiContext) -> bool {
    answer(context, context.store.ping(), ()).await.is_some()
}

/// What the database answers to `question` now; `None` if it does not.
///
/// While every connection is busy, the outcome of the latest query decides, and the answer is
/// taken to be `busy`: a full pool is no reason to restart the process.
async fn answer<T>(
    context: &ApiContext,
    question: impl Future<Output = Result<T, StoreError>>,
    busy: T,
) -> Option<T> {
    let still_answers = || (context.store.last_answer() == Some(true)).then_some(busy);
    match tokio::time::timeout(PROBE_LIMIT, question).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(StoreError::PoolTimeout { .. })) => still_answers(),
        Err(_) if context.store.is_saturated() => still_answers(),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database does not answer");
            None
        }
        Err(_) => {
            tracing::warn!(limit = ?PROBE_LIMIT, "the database did not answer in time");
            None
        }
    }
}

fn probe_status(code: StatusCode, status: &'static str) -> Result<Reply, ApiError> {
    Ok(Reply::json(code, &ProbeStatus { status })?)
}
