//! `/metrics`: Prometheus text.

use http::{HeaderValue, StatusCode};

use super::endpoint::{Call, Inputs};
use super::error::ApiError;
use super::reply::Reply;

/// All metrics as they are now.
pub(super) async fn metrics(call: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    let context = &call.context;
    context.metrics.clients.scraped();
    let text = context.metrics.render(&context.store);
    let text = text.map_err(ApiError::internal)?;
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(Reply::content(
        StatusCode::OK,
        media_type,
        text.into_bytes(),
    ))
}
