//! The auth server (`AUTH_SERVER_URL`): it vouches for opaque session tokens
//! and publishes the keys that its JWTs are signed with.
//!
//! Not being able to ask is an error of its own, never a "no": a client that
//! hears "no" signs its user out.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, Validation};
use prometheus::IntCounterVec;
use serde_json::{Map, Value};
use url::Url;

use crate::clock::Clock;
use crate::domain::{Timestamp, UserId};

use super::ClientError;

mod breaker;
mod client;
mod keys;
mod sessions;

use client::Client;
use keys::Keys;
use sessions::Sessions;

/// Connecting and the whole answer together.
const LIMIT: Duration = Duration::from_secs(2);

/// Why the auth server could not be asked. Never holds a token or an answer's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthServerError {
    /// No whole answer in time.
    #[error(
        "the auth server did not answer within {}",
        humantime::format_duration(LIMIT)
    )]
    TimedOut,
    /// No connection, or none that holds.
    #[error("the auth server cannot be reached: {0}")]
    Unreachable(String),
    /// A status that answers nothing.
    #[error("the auth server answered with status {0}")]
    Status(u16),
    /// An answer of another form than expected.
    #[error("the auth server's answer cannot be understood: {0}")]
    Unreadable(&'static str),
    /// Too many questions are under way.
    #[error("too many questions to the auth server are under way")]
    Busy,
    /// It failed several times in a row, and is left alone for a while.
    #[error("the auth server failed repeatedly and is not asked for a few seconds")]
    Resting,
}

impl AuthServerError {
    /// Whether the server, rather than the question, is at fault. A client must not be
    /// able to talk others out of the auth server's service by asking nonsense.
    fn is_servers(&self) -> bool {
        match self {
            Self::TimedOut | Self::Unreachable(_) | Self::Unreadable(_) => true,
            Self::Status(status) => !(400..500).contains(status) || matches!(status, 408 | 429),
            Self::Busy | Self::Resting => false,
        }
    }
}

/// The claims of a JWT whose signature is good.
pub type Claims = Map<String, Value>;

/// The auth server and what is remembered of its answers.
pub struct AuthServer {
    origin: String,
    sessions: Sessions,
    keys: Arc<Keys>,
}

impl AuthServer {
    /// Prepares to ask the server at `base`; nothing is sent yet.
    ///
    /// `requests` counts questions by `question` (`session`, `jwks`) and `outcome`.
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

    /// Whom an opaque token stands for, in the auth server's opinion of the last minute.
    pub async fn session_user(&self, token: &str) -> Result<Option<UserId>, AuthServerError> {
        self.sessions.user(token).await
    }

    /// The claims of a token that one of the server's keys signed; `None` for any other token.
    ///
    /// Only the signature is judged. `header` is the token's own.
    pub async fn signed_claims(
        &self,
        token: &[u8],
        header: &Header,
    ) -> Result<Option<Claims>, AuthServerError> {
        let keys = Keys::matching(&self.keys, header.alg, header.kid.as_deref()).await?;
        Ok(keys.iter().find_map(|key| key.claims(token)))
    }
}

/// Rules for [`jsonwebtoken::decode`] by which it checks the signature, with this
/// algorithm and no other. Claims are judged by the caller, against the injected clock.
#[must_use]
pub fn signature_only(algorithm: Algorithm) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.validate_exp = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    rules
}

/// Whether `span` has gone by since `since`. A clock that was set back counts as that,
/// lest something waits for hours.
fn has_passed(since: Timestamp, span: Duration, now: Timestamp) -> bool {
    now < since || now >= since.saturating_add(span)
}
