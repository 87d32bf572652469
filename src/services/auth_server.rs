//! The auth server (`AUTH_SERVER_URL`): it validates opaque session tokens and publishes the
//! keys that sign its JWTs.
//!
//! An unreachable server is an error, never an invalid token: clients sign their users out when a
//! token is invalid.

use std::sync::Arc;

use jsonwebtoken::Header;
use prometheus::IntCounterVec;
use url::Url;

use crate::clock::Clock;
use crate::domain::UserId;
use crate::services::http_client::ClientError;

mod age;
mod breaker;
mod client;
mod error;
mod keys;
mod sessions;

use client::Client;
pub use error::AuthServerError;
use keys::Keys;
pub use keys::{Claims, signature_only};
use sessions::Sessions;

/// The client of the auth server, with its caches.
pub struct AuthServer {
    origin: String,
    sessions: Sessions,
    keys: Arc<Keys>,
}

impl AuthServer {
    /// Sends nothing yet. `requests` counts by `question` (`session`, `jwks`) and `outcome`.
    pub fn new(base: &Url, clock: Clock, requests: IntCounterVec) -> Result<Self, ClientError> {
        let client = Client::new(base, requests)?;
        Ok(Self {
            origin: base.origin().ascii_serialization(),
            sessions: Sessions::new(client.clone(), clock.clone()),
            keys: Arc::new(Keys::new(client, clock)),
        })
    }

    /// Scheme, host and port: the issuer and the audience of its JWTs.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The user of an opaque token; the answer may be a minute old.
    pub async fn session_user(&self, token: &str) -> Result<Option<UserId>, AuthServerError> {
        self.sessions.user(token).await
    }

    /// The claims of a token signed with one of the server's keys; `None` for any other token.
    ///
    /// Only the signature is checked. `header` is the token's header.
    pub async fn signed_claims(
        &self,
        token: &[u8],
        header: &Header,
    ) -> Result<Option<Claims>, AuthServerError> {
        let keys = Keys::matching(&self.keys, header.alg, header.kid.as_deref()).await?;
        Ok(keys.iter().find_map(|key| key.claims(token)))
    }
}
