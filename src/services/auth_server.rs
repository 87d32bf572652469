//! The auth server (`AUTH_SERVER_URL`): it validates opaque session tokens and publishes the
//! keys that sign its JWTs.
//!
//! An unreachable server is an error, never an invalid token: clients sign their users out when a
//! token is invalid.

use std::net::IpAddr;
use std::sync::Arc;

use jsonwebtoken::Header;
use prometheus::IntCounterVec;
use url::Url;

use crate::clock::Clock;
use crate::domain::UserId;
use crate::services::http_client::ClientError;

mod absent;
mod age;
mod breaker;
mod client;
mod error;
mod keys;
mod sessions;
mod survey;

use client::Client;
pub use error::AuthServerError;
use keys::Keys;
pub use keys::{Claims, signature_only};
use sessions::Sessions;
pub(crate) use survey::{PublishedKeys, SessionAnswer, Survey, speaks_tls, survey};

/// The client of the auth server, with its caches.
pub struct AuthServer {
    origin: String,
    issuer: String,
    sessions: Sessions,
    keys: Arc<Keys>,
}

/// What the server's keys say about a token.
pub enum Signed {
    /// One of them signed it.
    Good(Claims),
    /// The key that it names did not sign it.
    Wrong,
    /// There is no such key.
    UnknownKey,
}

impl AuthServer {
    /// Sends nothing yet. `issuer` is the `iss` of its JWTs, if it is not the origin of `base`.
    /// `requests` counts by `question` (`session`, `jwks`) and `outcome`.
    pub fn new(
        base: &Url,
        issuer: Option<&str>,
        clock: Clock,
        requests: IntCounterVec,
    ) -> Result<Self, ClientError> {
        let client = Client::new(base, requests)?;
        let origin = base.origin().ascii_serialization();
        Ok(Self {
            issuer: issuer.unwrap_or(&origin).to_owned(),
            origin,
            sessions: Sessions::new(client.clone(), clock.clone()),
            keys: Arc::new(Keys::new(client, clock)),
        })
    }

    /// Whether it has failed so often that it is not asked for a while.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.sessions.is_down()
    }

    /// What its JWTs have as `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Scheme, host and port: beside the issuer, what its JWTs may have as `aud`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The user of an opaque token that came from `address`; the answer may be a minute old.
    pub async fn session_user(
        &self,
        token: &str,
        address: IpAddr,
    ) -> Result<Option<UserId>, AuthServerError> {
        self.sessions.user(token, address).await
    }

    /// Whether [`Self::signed_claims`] needs no request for a token with this header.
    #[must_use]
    pub fn knows_key_of(&self, header: &Header) -> bool {
        self.keys.knows(header.alg, header.kid.as_deref())
    }

    /// What the server's keys say about a token with this header. Only the signature is checked.
    pub async fn signed_claims(
        &self,
        token: &[u8],
        header: &Header,
    ) -> Result<Signed, AuthServerError> {
        let keys = Keys::matching(&self.keys, header.alg, header.kid.as_deref()).await?;
        if keys.is_empty() {
            return Ok(Signed::UnknownKey);
        }
        let claims = keys.iter().find_map(|key| key.claims(token));
        Ok(claims.map_or(Signed::Wrong, Signed::Good))
    }
}
