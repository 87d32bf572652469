//! What `fuzz/` does with bearer values and JWTs.

use std::sync::LazyLock;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value};

use crate::config::{AuthConfig, RotatingSecret, Secret};
use crate::domain::{Timestamp, UserId};

use super::headers::{bearer, looks_like_jwt};
use super::jwt::Jwts;
use super::origin::Origin;

const SECRET: &str = "a-secret-that-nothing-else-is-signed-with";

static JWTS: LazyLock<Jwts> = LazyLock::new(|| {
    let secret = |text: &str| RotatingSecret {
        current: Secret::new(text),
        previous: Vec::new(),
    };
    Jwts::new(&AuthConfig {
        session_hash_secret: secret("unused"),
        service_auth_token: secret("unused"),
        encryption_key: secret("unused"),
        jwt_secret: Some(secret(SECRET)),
        access_token_lifetime: Duration::from_secs(1800),
        failures_per_minute: 0,
        requests_per_minute: 0,
        trusted_proxies: Vec::new(),
    })
});

/// `data` as a header's value; and, since no fuzzer forges a signature, as claims
/// that were signed.
pub(in crate::api) fn header_and_claims(data: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(data) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        if let Some(token) = bearer(&headers)
            && looks_like_jwt(token)
        {
            assert!(judge(token).is_none(), "a signature was forged");
        }
    }
    if let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(data) {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let Ok(token) = jsonwebtoken::encode(&Header::default(), &claims, &key) else {
            return;
        };
        assert!(looks_like_jwt(token.as_bytes()));
        if let Some(user) = judge(token.as_bytes()) {
            assert_eq!(claims["sub"], user.as_str());
            assert_eq!(claims["type"], "access");
            assert!(claims["exp"].as_f64() > Some(0.0));
        }
    }
}

/// At the beginning of 1970, so that few times are in the past.
fn judge(token: &[u8]) -> Option<UserId> {
    let now = Timestamp::from_micros_clamped(0);
    // Without an auth server nothing is waited for.
    let origin = Origin {
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        exhausted: None,
    };
    let judged = JWTS.user(token, None, origin, now).now_or_never()?;
    judged.ok().map(|(user, _)| user)
}
