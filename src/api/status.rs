//! `/status`: what `todoctl doctor` reads, as JSON.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::services::daemon::{DaemonStatus, MailStatus, PoolStatus};

use super::context::ApiContext;
use super::error::ApiError;
use super::request::{endpoint, with};
use super::route_table::STATUS;
use super::schema::{ErrorEnvelope, PlainError};

/// Served beside `/metrics`: on the public listener unless `METRICS_ADDR` is set.
pub(super) fn routes(context: &ApiContext) -> BoxedFilter<(Response,)> {
    endpoint(&STATUS, Method::GET)
        .and(with(context))
        .map(|_, context: ApiContext| {
            if context.public_metrics {
                status(&context)
            } else {
                ApiError::not_found().into_response()
            }
        })
        .boxed()
}

/// The daemon's version, connection pools, mails and reminders.
#[utoipa::path(
    get, path = "/status", tag = "operations",
    responses(
        (status = 200, description = "The daemon's state", body = DaemonStatus),
        (status = 404, description = "It is on the listener of METRICS_ADDR", body = PlainError),
        (status = 500, description = "A fault of the server", body = ErrorEnvelope),
    ),
)]
pub(super) fn status(context: &ApiContext) -> Response {
    match serde_json::to_string(&daemon_status(context)) {
        Ok(text) => {
            let mut response = Response::new(text.into());
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => ApiError::internal(error).into_response(),
    }
}

/// The state of this process.
pub(super) fn daemon_status(context: &ApiContext) -> DaemonStatus {
    let jobs = &context.metrics.jobs;
    let pools = context.store.pools().into_iter();
    DaemonStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pools: pools
            .map(|(name, pool)| PoolStatus {
                name: name.to_owned(),
                size: pool.size,
                idle: pool.idle,
                waiting: pool.waiting,
                max: pool.max,
            })
            .collect(),
        mails: jobs
            .outbox_rows()
            .map(|(pending, dead)| MailStatus { pending, dead }),
        last_reminder_run: Some(jobs.last_reminder_run.get()).filter(|seconds| *seconds > 0),
    }
}
