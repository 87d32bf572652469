//! The auth server (`AUTH_SERVER_URL`): it validates opaque session tokens and publishes the
//! keys that sign its JWTs.
//!
//! An unreachable server is an error, never an invalid token: clients sign their users out when a
//! token is invalid.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use jsonwebtoken::Header;
use prometheus::IntCounterVec;
use url::Url;

use crate::clock::Clock;
use crate::domain::{Timestamp, UserId};
use crate::services::http_client::ClientError;

mod absent;
mod age;
mod breaker;
mod client;
mod error;
mod key_set;
mod keys;
mod sessions;
mod survey;

use client::Client;
pub use error::AuthServerError;
pub use key_set::{Claims, Signed, signature_only};
use keys::Keys;
use sessions::Sessions;
use survey::is_plain_address;
pub(crate) use survey::{PublishedKeys, SessionAnswer, Survey, speaks_tls, survey};

/// The client of the auth server, with its caches.
pub struct AuthServer {
    origin: String,
    issuer: String,
    sessions: Sessions,
    keys: Arc<Keys>,
    other_issuer: Mutex<Option<String>>,
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
            other_issuer: Mutex::default(),
        })
    }

    /// Whether it has failed so often that it is not asked for a while.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.sessions.is_down()
    }

    /// When and why it gave no usable answer to the newest question for a session or for its keys;
    /// `None` if it did.
    #[must_use]
    pub fn failure(&self) -> Option<(Timestamp, String)> {
        self.sessions.failure().or_else(|| self.keys.failure())
    }

    /// What its JWTs have as `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Notes the `iss` of a token that its keys have signed, where it is not the one that is accepted:
    /// an address, or none.
    pub fn note_other_issuer(&self, issuer: &str) {
        let mut other = self
            .other_issuer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if other.as_deref() != Some(issuer) {
            let noted = if is_plain_address(issuer) { issuer } else { "" };
            *other = Some(noted.to_owned());
        }
    }

    /// The newest of them.
    #[must_use]
    pub fn other_issuer(&self) -> Option<String> {
        let other = self.other_issuer.lock();
        other.unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Whether there is a key that may have signed a token with this header.
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
        Keys::verify(&self.keys, token, header.alg, header.kid.as_deref()).await
    }
}
