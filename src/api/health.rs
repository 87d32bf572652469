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
        HealthProbe::Active => ask(context, Box::pin(context.store.ping()), || ())
            .await
            .is_some(),
        // Before the first query there is nothing wrong: the daemon reached the database when it
        // started.
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
    let store = &context.store;
    // One time limit for both questions.
    let question = Box::pin(async {
        let pending = store.migrations_pending().await?;
        Ok((pending, pending || store.is_writable().await?))
    });
    let known = || (context.metrics.migrations_pending.get() != 0, true);
    let Some((pending, is_writable)) = ask(context, question, known).await else {
        return unready("database");
    };
    context.metrics.migrations_pending.set(i64::from(pending));
    match (pending, is_writable) {
        (true, _) => unready("migrations"),
        (false, false) => unready("read_only"),
        (false, true) => probe_status(StatusCode::OK, "ready"),
    }
}

/// What the database answers now; `None` if it does not.
///
/// While requests use every connection, the outcome of the newest query decides, and the answer is
/// what is known: a probe does not wait behind requests, and a full pool is no reason to restart
/// the process.
async fn ask<T>(
    context: &ApiContext,
    question: impl Future<Output = Result<T, StoreError>>,
    known: impl FnOnce() -> T,
) -> Option<T> {
    let is_well = || context.store.last_answer() == Some(true);
    let is_busy_and_well = || context.store.is_saturated() && is_well();
    if is_busy_and_well() {
        return Some(known());
    }
    match tokio::time::timeout(PROBE_LIMIT, question).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(StoreError::PoolTimeout { .. } | StoreError::TooBusy { .. })) if is_well() => {
            Some(known())
        }
        Err(_) if is_busy_and_well() => Some(known()),
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
