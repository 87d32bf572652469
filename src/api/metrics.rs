//! `/metrics`: Prometheus text.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::context::ApiContext;
use super::error::ApiError;
use super::error_body::{ErrorEnvelope, PlainError};
use super::request::{endpoint, with};
use super::route_table::METRICS;

/// Served here unless `METRICS_ADDR` moves it to a listener of its own.
pub(super) fn routes(context: &ApiContext) -> BoxedFilter<(Response,)> {
    endpoint(&METRICS, Method::GET)
        .and(with(context))
        .map(|_, context: ApiContext| {
            if context.public_metrics {
                metrics(&context)
            } else {
                ApiError::not_found().into_response()
            }
        })
        .boxed()
}

/// All metrics as they are now, as Prometheus text.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "Prometheus text", body = String, content_type = "text/plain"),
        (status = 404, description = "They are on a listener of their own", body = PlainError),
        (status = 500, description = "A fault of the server", body = ErrorEnvelope),
    ),
)]
pub(super) fn metrics(context: &ApiContext) -> Response {
    match context.metrics.render(&context.store) {
        Ok(text) => {
            let mut response = Response::new(text.into());
            response.headers_mut().insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
            );
            response
        }
        Err(error) => ApiError::internal(error).into_response(),
    }
}
