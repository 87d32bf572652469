//! What a handler sees of a request.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::{Buf, Bytes};
use futures_util::Stream;
use http::{HeaderMap, Method};
use warp::{Filter, Rejection};

use super::context::ApiContext;
use super::error::ApiError;
use super::route_table::{Route, Target};

/// A request without its body.
#[derive(Debug)]
pub(super) struct Head {
    /// The method as sent, `HEAD` included.
    pub method: Method,
    /// The path as sent.
    pub path: String,
    /// The raw query, without its question mark.
    pub query: String,
    /// All headers.
    pub headers: HeaderMap,
    /// Who sent it, as far as the network and trusted proxies tell.
    pub client: IpAddr,
    /// What the path and the method lead to.
    pub target: Target,
    /// What `X-Request-ID` says.
    pub request_id: String,
    /// Set by the first answer: one that comes after the request timed out is
    /// neither counted nor logged a second time.
    pub answered: AtomicBool,
    /// Set once a task is being created that a second request would create again: what becomes
    /// of it is not known while there is no answer.
    pub creating: AtomicBool,
}

impl Head {
    /// The variable segment of the path, decoded; empty where the route has none.
    pub fn parameter(&self) -> &str {
        match &self.target {
            Target::Found {
                parameter: Some(segment),
                ..
            } => segment,
            _ => "",
        }
    }
}

/// The head, shared with the layers around warp, which need it for the answer.
pub(super) type SharedHead = Arc<Head>;

/// Lets a request pass that the route table sends to `route` with `method`.
pub(super) fn endpoint(
    route: &'static Route,
    method: Method,
) -> impl Filter<Extract = (SharedHead,), Error = Rejection> + Clone {
    warp::ext::get::<SharedHead>().and_then(move |head: SharedHead| {
        let hit = matches!(&head.target, Target::Found { route: found, .. } if std::ptr::eq(*found, route))
            && (head.method == method || (head.method == Method::HEAD && method == Method::GET));
        std::future::ready(if hit { Ok(head) } else { Err(warp::reject::not_found()) })
    })
}

/// Hands every handler its context.
pub(super) fn with(
    context: &ApiContext,
) -> impl Filter<Extract = (ApiContext,), Error = Infallible> + Clone + use<> {
    let context = context.clone();
    warp::any().map(move || context.clone())
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read_body<B: Buf>(
    head: &Head,
    body: impl Stream<Item = Result<B, warp::Error>>,
    limit: usize,
    patience: std::time::Duration,
) -> Result<Bytes, ApiError> {
    let announced = head
        .headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(ApiError::body_too_large(limit));
    }
    match tokio::time::timeout(patience, collect(body, limit)).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::body_too_slow()),
    }
}

async fn collect<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    limit: usize,
) -> Result<Bytes, ApiError> {
    use futures_util::StreamExt as _;

    let mut body = std::pin::pin!(body);
    let mut read = bytes::BytesMut::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(ApiError::body_broken)?;
        if read.len() + chunk.remaining() > limit {
            return Err(ApiError::body_too_large(limit));
        }
        read.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    Ok(read.freeze())
}
