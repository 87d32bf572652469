//! Reading the body of a request, wanted or not.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::HeaderMap;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::store::ClientWatch;

use super::error::ApiError;
use super::head::Head;
use super::input::parse_json;

/// A longer body is parsed on a thread for blocking work, so that other requests need not wait.
const PARSED_IN_PLACE: usize = 64 * 1024;

/// So many of them are parsed at a time, because a parsed body takes up to 20 times its size.
static PARSING: Semaphore = Semaphore::const_new(2);

/// So much of a body that nobody wants is read.
const DRAIN_BYTES: usize = 8 * 1024 * 1024;

/// For so long.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// After the client has closed its side, what has arrived is there within this time.
const CLOSED: Duration = Duration::from_millis(100);

/// Fails if the body is announced to be larger than `limit` bytes.
pub(super) fn check_length(headers: &HeaderMap, limit: usize) -> Result<(), ApiError> {
    let announced = headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    match announced {
        Some(length) if length > limit as u64 => Err(ApiError::BodyTooLarge { limit }),
        _ => Ok(()),
    }
}

/// Reads a body of at most `limit` bytes. What is missing does not come any more when `client` has
/// left.
pub(super) async fn read<S, B>(
    body: Pin<&mut S>,
    limit: usize,
    time_limit: Duration,
    client: &ClientWatch,
) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    tokio::select! {
        biased;
        read = collect(body, limit) => read,
        () = client.has_left(CLOSED) => {
            Err(ApiError::BodyIncomplete("the client closed its side".into()))
        },
        () = tokio::time::sleep(time_limit) => Err(ApiError::BodyTimedOut),
    }
}

async fn collect<S, B>(mut body: Pin<&mut S>, limit: usize) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let mut read = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|error| ApiError::BodyIncomplete(error.into()))?;
        if read.len() + chunk.remaining() > limit {
            return Err(ApiError::BodyTooLarge { limit });
        }
        read.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
    }
    Ok(read.freeze())
}

/// Parses it as JSON; `None` when it is empty.
pub(super) async fn parse(head: &Arc<Head>, body: Bytes) -> Result<Option<Value>, ApiError> {
    if body.len() <= PARSED_IN_PLACE {
        return Ok(parse_json(head.headers(), &body)?);
    }
    let _turn = PARSING.acquire().await.map_err(ApiError::internal)?;
    let head = head.clone();
    let parsed = tokio::task::spawn_blocking(move || parse_json(head.headers(), &body));
    Ok(parsed.await.map_err(ApiError::internal)??)
}

/// Reads what is left of a body that was answered early. Where unread bytes are, closing resets
/// the connection, and a proxy that still sends loses the answer (contract 10.20).
pub(super) async fn drain<S, B>(mut body: Pin<&mut S>)
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let discard = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(chunk)) = body.next().await {
            let Some(rest) = left.checked_sub(chunk.remaining()) else {
                return;
            };
            left = rest;
        }
    };
    // What is not read in time stays unread.
    let _ = tokio::time::timeout(DRAIN_TIME, discard).await;
}
