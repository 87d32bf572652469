//! `/api/auth`: refresh tokens of the sign-in service; contract section 6.
//!
//! These are the only endpoints that read cookies. A cookie only names a refresh token.

use cookie::Cookie;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use crate::store::{RefreshToken, RefreshTokenHash};
use crate::telemetry::REFRESH;

use super::endpoint::{Call, Inputs};
use super::error::ApiError;
use super::reply::Reply;

/// The names of the cookie: the sign-in service's, and the previous service's (contract 10.23).
pub(super) const COOKIE_NAMES: [&str; 2] = ["refresh_token", "refreshToken"];

/// Make a browser delete both cookies.
static CLEARED: [HeaderValue; 2] = [
    HeaderValue::from_static(
        r#"refresh_token=""; HttpOnly; Max-Age=0; Path=/; SameSite=strict; Secure"#,
    ),
    HeaderValue::from_static(
        r#"refreshToken=""; HttpOnly; Max-Age=0; Path=/; SameSite=strict; Secure"#,
    ),
];

/// A new access token.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AccessToken {
    /// A JWT, valid for half an hour unless configured otherwise.
    access_token: String,
}

/// The session is over.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LoggedOut {
    /// Always true.
    success: bool,
    /// For people.
    message: &'static str,
}

pub(super) async fn refresh(call: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    let context = &call.context;
    let refuse = |reason, error| {
        let errors = &context.metrics.token_refresh_errors;
        errors.with_label_values(&[reason]).inc();
        Err(error)
    };
    let signer = context.auth.signer()?;
    let [current, former] = COOKIE_NAMES.map(|name| cookie(call.head.headers(), name));
    let Some(token) = current.or(former) else {
        return refuse("missing", ApiError::MissingRefreshToken);
    };
    let user = match context.store.refresh_token(&token).await? {
        RefreshToken::Good(user) => user,
        RefreshToken::Expired => return refuse("expired", ApiError::RefreshTokenExpired),
        RefreshToken::Unknown => return refuse("invalid", ApiError::InvalidRefreshToken),
    };
    let now = context.clock.now();
    let access_token = signer.issue(&user, now)?;
    context.metrics.clients.done(REFRESH, now);
    context.metrics.token_refreshes.inc();
    Ok(Reply::json(StatusCode::OK, &AccessToken { access_token })?)
}

pub(super) async fn logout(call: Call, _: Inputs) -> Result<Reply, ApiError> {
    let headers = call.head.headers();
    let tokens: Vec<_> = COOKIE_NAMES
        .iter()
        .filter_map(|name| cookie(headers, name))
        .collect();
    // A failure does not fail the call: contract 6.2.
    if let Err(error) = call.context.store.forget_refresh_tokens(&tokens).await {
        tracing::warn!(%error, "a sign-out could not delete its refresh token");
    }
    let answer = LoggedOut {
        success: true,
        message: "Signed out",
    };
    let mut reply = Reply::json(StatusCode::OK, &answer)?;
    for cleared in &CLEARED {
        reply.headers.append(SET_COOKIE, cleared.clone());
    }
    Ok(reply)
}

/// A shorter body holds no token: clients send `{}` where a library wants a body.
const SHORTEST_BODY: usize = 20;

/// What a request has in place of the cookie: for `/status`.
pub(super) fn in_place_of_cookie(headers: &HeaderMap) -> &'static str {
    let is_similar = |cookie: Cookie<'_>| {
        let name = cookie.name().to_ascii_lowercase();
        name.contains("refresh") && !cookie.value_trimmed().is_empty()
    };
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if cookies(headers).any(is_similar) {
        "another cookie"
    } else if headers.contains_key(AUTHORIZATION) {
        "Authorization"
    } else if length.is_some_and(|length: usize| length >= SHORTEST_BODY) {
        "a body"
    } else {
        "no cookie"
    }
}

/// Said for `/status` if both cookies are there: only the first of [`COOKIE_NAMES`] is read.
pub(super) fn both_cookies(headers: &HeaderMap) -> Option<&'static str> {
    let is_there = |name: &&str| cookie(headers, name).is_some();
    COOKIE_NAMES.iter().all(is_there).then_some("both cookies")
}

/// The hash of a cookie's value; `None` when it is not sent or empty.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<RefreshTokenHash> {
    cookies(headers)
        .find(|cookie| cookie.name() == name && !cookie.value_trimmed().is_empty())
        .map(|cookie| RefreshTokenHash::new(cookie.value_trimmed()))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Cookie<'_>> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .flat_map(Cookie::split_parse)
        .filter_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn refresh_tokens_elsewhere() {
        let of = |name: &'static str, value: &'static str| {
            let line = (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
            in_place_of_cookie(&HeaderMap::from_iter([line]))
        };
        for (name, value, expected) in [
            (
                "cookie",
                "a=b; __Secure-refresh_token=abc",
                "another cookie",
            ),
            ("cookie", "refresh_token=; theme=dark", "no cookie"),
            ("authorization", "Bearer abc", "Authorization"),
            ("content-length", "60", "a body"),
            ("content-length", "2", "no cookie"),
            ("accept", "*/*", "no cookie"),
        ] {
            assert_eq!(of(name, value), expected, "{name}: {value}");
        }
        let both = "refresh_token=old; refreshToken=new";
        let both = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(both))]);
        assert_eq!(both_cookies(&both), Some("both cookies"));
    }
}
