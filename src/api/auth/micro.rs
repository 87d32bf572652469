//! The JWTs of `benches/micro.rs`.

use std::sync::LazyLock;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::config::{AuthConfig, RotatingSecret, Secret};
use crate::domain::{Timestamp, UserId};

use super::jwt::Jwts;
use super::origin::Origin;

static JWTS: LazyLock<Jwts> = LazyLock::new(|| {
    let secret = || RotatingSecret {
        current: Secret::new("a-secret-that-nothing-else-is-signed-with"),
        previous: Vec::new(),
    };
    Jwts::new(&AuthConfig {
        session_hash_secret: secret(),
        service_auth_token: secret(),
        encryption_key: secret(),
        jwt_secret: Some(secret()),
        access_token_lifetime: Duration::from_secs(1800),
        failures_per_minute: 0,
        requests_per_minute: 0,
        trusted_proxies: Vec::new(),
    })
});

/// At the beginning of 1970.
fn now() -> Timestamp {
    Timestamp::from_micros_clamped(0)
}

/// A token of the user; `None` if it cannot be signed.
#[must_use]
pub fn access_token(user: &UserId) -> Option<String> {
    JWTS.signer()?.issue(user, now()).ok()
}

/// The user that a token names, if the token is valid.
#[must_use]
pub fn identify(token: &str) -> Option<UserId> {
    // Without an auth server nothing is waited for.
    let origin = Origin {
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        exhausted: None,
    };
    let user = JWTS.user(token.as_bytes(), None, origin, now());
    user.now_or_never()?.ok().map(|(user, _)| user)
}
