//! One call of somebody known: what the handlers behind a credential share.

use bytes::Buf;
use futures_util::Stream;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use warp::reply::Response;

use super::auth::Caller;
use super::context::ApiContext;
use super::error::ApiError;
use super::input::parse_json;
use super::request::{SharedHead, read_body};

/// One call of somebody known.
pub(super) struct Call {
    pub head: SharedHead,
    pub context: ApiContext,
    pub caller: Caller,
}

/// Which credentials a route takes; contract 2.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// A user's token, or the service on behalf of a user (2.2).
    UserOrService,
    /// A user's token alone.
    User,
    /// A user's token, or the service that reads keys (2.3).
    UserOrKeyReader,
}

/// [`answered_for`] users and services.
pub(super) async fn answered<F, T>(head: SharedHead, context: ApiContext, handler: F) -> Response
where
    F: FnOnce(Call) -> T,
    T: Future<Output = Result<Response, ApiError>>,
{
    answered_for(Access::UserOrService, head, context, handler).await
}

/// Finds out who is calling and whether so many calls are allowed, runs the
/// handler, and turns what comes of it into a response.
pub(super) async fn answered_for<F, T>(
    access: Access,
    head: SharedHead,
    context: ApiContext,
    handler: F,
) -> Response
where
    F: FnOnce(Call) -> T,
    T: Future<Output = Result<Response, ApiError>>,
{
    let now = context.clock.now();
    let (auth, headers, store) = (&context.auth, &head.headers, &context.store);
    let caller = match access {
        Access::UserOrService => auth.caller(headers, store, now).await,
        Access::User => auth.user(headers, store, now).await,
        Access::UserOrKeyReader => auth.key_reader(headers, store, now).await,
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    let kind = caller.kind;
    let allowance = match context.limits.admit(&caller.user, now).await {
        Ok(allowance) => allowance,
        Err(error) => return error.into_response(),
    };
    let call = Call {
        head,
        context,
        caller,
    };
    let mut response = handler(call).await.unwrap_or_else(ApiError::into_response);
    response.extensions_mut().insert(kind);
    if let Some(allowance) = allowance {
        response.extensions_mut().insert(allowance);
    }
    response
}

/// The body as JSON; `None` when there is none.
pub(super) async fn json_body<S, B>(call: &Call, body: S) -> Result<Option<Value>, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let context = &call.context;
    let bytes = read_body(
        &call.head,
        body,
        context.max_body_bytes,
        context.request_timeout / 2,
    )
    .await?;
    Ok(parse_json(&call.head.headers, &bytes)?)
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, ApiError> {
    Ok(json_response(status, json_bytes(value)?))
}

/// A value as JSON.
pub(super) fn json_bytes(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(ApiError::internal)
}

/// An answer whose body was written before.
pub(super) fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

/// 204.
pub(super) fn no_content() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
