//! The one place that turns warp's rejections into answers.

use std::convert::Infallible;

use warp::Rejection;
use warp::reply::Response;

use super::error::ApiError;

/// No filter wanted the request. Why is known to the route table, and so to the
/// layers around warp, which put the answer's body together.
pub(super) async fn recover(_: Rejection) -> Result<Response, Infallible> {
    Ok(ApiError::unrouted().into_response())
}
