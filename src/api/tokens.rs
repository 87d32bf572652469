//! `/api/auth`: refresh tokens of the sign-in service; contract section 6.
//!
//! These are the only routes that look at cookies, and a cookie proves nothing
//! here but which refresh token is meant.

use cookie::Cookie;
use http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::store::{RefreshToken, RefreshTokenHash};

use super::call::{Access, Call, answered_for, json};
use super::context::ApiContext;
use super::error::ApiError;
use super::error_body::{CodedError, ErrorEnvelope};
use super::request::{Head, SharedHead, endpoint, with};
use super::route_table::{AUTH_LOGOUT, AUTH_REFRESH};
use super::schema::CredentialsError;

/// The cookie's names: what the sign-in service sets, and what the previous service read.
const COOKIE_NAMES: [&str; 2] = ["refresh_token", "refreshToken"];

/// Makes a browser drop both cookies.
static CLEARED: [HeaderValue; 2] = [
    HeaderValue::from_static(
        r#"refresh_token=""; HttpOnly; Max-Age=0; Path=/; SameSite=strict; Secure"#,
    ),
    HeaderValue::from_static(
        r#"refreshToken=""; HttpOnly; Max-Age=0; Path=/; SameSite=strict; Secure"#,
    ),
];

/// Both session routes. Neither reads a body.
pub(super) fn routes(context: &ApiContext) -> BoxedFilter<(Response,)> {
    let refresh = endpoint(&AUTH_REFRESH, Method::POST)
        .and(with(context))
        .then(|head: SharedHead, context: ApiContext| async move {
            let outcome = refresh(&head, &context).await;
            outcome.unwrap_or_else(ApiError::into_response)
        });
    let logout = endpoint(&AUTH_LOGOUT, Method::POST)
        .and(with(context))
        .then(|head, context| {
            answered_for(Access::User, head, context, |call| async move {
                logout(&call).await
            })
        });
    refresh.or(logout).unify().boxed()
}

/// What a refresh gives.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AccessToken {
    /// A JWT, good for half an hour unless configured otherwise.
    access_token: String,
}

/// What a sign-out says.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LoggedOut {
    /// Always true.
    success: bool,
    /// For people.
    message: &'static str,
}

/// A new access token for the refresh token in the cookie, which stays as it is.
#[utoipa::path(
    post, path = "/api/auth/refresh", tag = "sessions",
    params(
        ("refresh_token" = Option<String>, Cookie, description = "The refresh token"),
        ("refreshToken" = Option<String>, Cookie, description = "The same, by its former name"),
    ),
    responses(
        (status = 200, description = "An access token", body = AccessToken),
        (status = 401, description = "No refresh token, or one that is unknown or expired", body = CodedError),
        (status = 500, description = "A fault of the server", body = ErrorEnvelope),
        (status = 503, description = "The database is not available, or no JWT_SECRET is configured", body = ErrorEnvelope),
    ),
)]
pub(super) async fn refresh(head: &Head, context: &ApiContext) -> Result<Response, ApiError> {
    let refused = |reason, code, message| {
        let errors = &context.metrics.token_refresh_errors;
        errors.with_label_values(&[reason]).inc();
        ApiError::bad_refresh_token(code, message)
    };
    let signer = context.auth.signer()?;
    let [current, former] = COOKIE_NAMES.map(|name| cookie(&head.headers, name));
    let token = current
        .or(former)
        .ok_or_else(|| refused("missing", "missing_refresh_token", "No refresh token"))?;
    let user = match context.store.refresh_token(&token).await? {
        RefreshToken::Good(user) => user,
        RefreshToken::Expired => {
            return Err(refused(
                "expired",
                "refresh_token_expired",
                "The refresh token has expired",
            ));
        }
        RefreshToken::Unknown => {
            return Err(refused(
                "invalid",
                "invalid_refresh_token",
                "Invalid refresh token",
            ));
        }
    };
    let access_token = signer.issue(&user, context.clock.now())?;
    context.metrics.token_refreshes.inc();
    uncached(&AccessToken { access_token })
}

/// Forgets the refresh tokens in the cookies and clears these. The access token that
/// was used stays good until it expires.
#[utoipa::path(
    post, path = "/api/auth/logout", tag = "sessions", security(("bearer" = [])),
    params(
        ("refresh_token" = Option<String>, Cookie, description = "The refresh token"),
        ("refreshToken" = Option<String>, Cookie, description = "The same, by its former name"),
    ),
    responses(
        (status = 200, description = "Signed out", body = LoggedOut,
         headers(("Set-Cookie" = String, description = "Twice: clears either cookie"))),
        (status = 401, description = "No credentials, or ones that are not good", body = CredentialsError),
        (status = 500, description = "A fault of the server", body = ErrorEnvelope),
        (status = 503, description = "The database or the auth server is not available", body = ErrorEnvelope),
    ),
)]
pub(super) async fn logout(call: &Call) -> Result<Response, ApiError> {
    let tokens: Vec<_> = COOKIE_NAMES
        .iter()
        .filter_map(|name| cookie(&call.head.headers, name))
        .collect();
    // The user leaves whatever happens: contract 6.2.
    if let Err(error) = call.context.store.forget_refresh_tokens(&tokens).await {
        tracing::warn!(%error, "a sign-out could not delete its refresh token");
    }
    let mut response = uncached(&LoggedOut {
        success: true,
        message: "Signed out",
    })?;
    for cleared in &CLEARED {
        response.headers_mut().append(SET_COOKIE, cleared.clone());
    }
    Ok(response)
}

/// The hash of a cookie's value; `None` when it is not sent or empty.
fn cookie(headers: &HeaderMap, name: &str) -> Option<RefreshTokenHash> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name && !cookie.value_trimmed().is_empty())
        .map(|cookie| RefreshTokenHash::new(cookie.value_trimmed()))
}

/// RFC 6749, section 5.1: a token must not stay in a cache.
fn uncached(value: &impl Serialize) -> Result<Response, ApiError> {
    let mut response = json(StatusCode::OK, value)?;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
