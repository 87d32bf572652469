//! The headers that hold credentials.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use crate::api::error::ApiError;
use crate::domain::UserId;

/// The user on whose behalf a service calls; contract 2.2.
pub(in crate::api) const X_USER_ID: HeaderName = HeaderName::from_static("x-user-id");

/// The service token on the endpoint that reads a key; contract 2.3.
pub(in crate::api) const X_SERVICE_AUTH: HeaderName = HeaderName::from_static("x-service-auth");

/// The user that a service names in `X-User-ID`.
pub(super) fn named_user(headers: &HeaderMap) -> Result<UserId, ApiError> {
    let problem = |problem| ApiError::Header {
        name: "X-User-ID",
        problem,
    };
    let mut named = headers.get_all(X_USER_ID).iter();
    let (Some(value), None) = (named.next(), named.next()) else {
        return Err(problem("must be sent once".into()));
    };
    let text =
        std::str::from_utf8(value.as_bytes()).map_err(|_| problem("is not valid UTF-8".into()))?;
    UserId::new(text).map_err(|error| problem(error.to_string().into()))
}

/// The token behind `Authorization: Bearer`; `None` when there is none.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = value.split_at_checked("bearer".len())?;
    if !scheme.eq_ignore_ascii_case(b"bearer") || !rest.starts_with(b" ") {
        return None;
    }
    let token = rest.trim_ascii();
    (!token.is_empty()).then_some(token)
}

/// Three parts of base64url, separated by dots (RFC 7519, section 3).
pub(super) fn looks_like_jwt(token: &[u8]) -> bool {
    let base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut parts = 0;
    token.split(|byte| *byte == b'.').all(|part| {
        parts += 1;
        // The signature of an unsigned token is empty; such a token is still a JWT.
        part.iter().all(base64url) && (parts == 3 || !part.is_empty())
    }) && parts == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(value: &'static str) -> Option<Vec<u8>> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, http::HeaderValue::from_static(value));
        bearer(&headers).map(<[u8]>::to_vec)
    }

    /// contract 2.1: the scheme word in any case, several spaces.
    #[test]
    fn bearer_values() {
        for value in ["Bearer abc", "bearer  abc", "BEARER   abc "] {
            assert_eq!(token_of(value).as_deref(), Some(&b"abc"[..]), "{value}");
        }
        for value in ["Basic abc", "Bearer", "Bearer ", "Bearerabc", "abc", ""] {
            assert_eq!(token_of(value), None, "{value}");
        }
    }

    #[test]
    fn jwt_shapes() {
        for token in ["a.b.c", "eyJ0.e30.", "A-_9.x.y"] {
            assert!(looks_like_jwt(token.as_bytes()), "{token}");
        }
        for token in ["", "abc", "a.b", "a.b.c.d", "a..c", "a.b+.c", ".."] {
            assert!(!looks_like_jwt(token.as_bytes()), "{token}");
        }
    }
}
