//! JWTs: whose signature is good, and what its claims are worth (contract 2.1).
//!
//! A token names the algorithm that it was signed with, and must not be believed:
//! HS256 is only ever checked with `JWT_SECRET`, every other algorithm only with
//! a key of the auth server that is meant for it.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use crate::config::{AuthConfig, RotatingSecret, Secret};
use crate::domain::{Timestamp, UserId};
use crate::services::auth_server::{AuthServer, Claims, signature_only};

use super::super::error::ApiError;

/// How far another machine's clock may be ahead of ours, in seconds (contract 10.32).
const CLOCK_SKEW_SECONDS: f64 = 30.0;

/// Judges tokens.
pub(super) struct Jwts {
    shared: Vec<DecodingKey>,
    rules: Validation,
    signer: Option<Signer>,
}

/// Who signed a token, which decides what it has to say.
enum Issuer<'a> {
    /// Somebody who knows `JWT_SECRET`.
    Shared,
    /// The auth server at this origin.
    AuthServer(&'a str),
}

/// What `JWT_SECRET` says about a token.
enum Shared {
    Good(Claims),
    Bad,
    /// Not signed with HS256, or there is no secret: not for it to say.
    Other,
}

impl Jwts {
    pub fn new(config: &AuthConfig) -> Self {
        let bytes = |secret: &Secret| secret.expose().as_bytes().to_vec();
        Self {
            shared: config
                .jwt_secret
                .iter()
                .flat_map(RotatingSecret::all)
                .map(|secret| DecodingKey::from_secret(&bytes(secret)))
                .collect(),
            rules: signature_only(Algorithm::HS256),
            signer: config.jwt_secret.as_ref().map(|secret| Signer {
                key: EncodingKey::from_secret(&bytes(&secret.current)),
                lifetime: config.access_token_lifetime,
            }),
        }
    }

    /// Who issues tokens; `None` without a `JWT_SECRET`.
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// The user that a token names.
    pub async fn user(
        &self,
        token: &[u8],
        auth_server: Option<&AuthServer>,
        now: Timestamp,
    ) -> Result<UserId, ApiError> {
        match self.shared(token) {
            Shared::Good(claims) => user_of(&claims, &Issuer::Shared, now),
            Shared::Bad => Err(ApiError::InvalidToken),
            Shared::Other => {
                let server = auth_server.ok_or(ApiError::InvalidToken)?;
                let header =
                    jsonwebtoken::decode_header(token).map_err(|_| ApiError::InvalidToken)?;
                if has_critical(&header) {
                    return Err(ApiError::InvalidToken);
                }
                let claims = server.signed_claims(token, &header).await?;
                let claims = claims.ok_or(ApiError::InvalidToken)?;
                user_of(&claims, &Issuer::AuthServer(server.origin()), now)
            }
        }
    }

    fn shared(&self, token: &[u8]) -> Shared {
        for key in &self.shared {
            match jsonwebtoken::decode::<Claims>(token, key, &self.rules) {
                Ok(token) if has_critical(&token.header) => return Shared::Bad,
                Ok(token) => return Shared::Good(token.claims),
                Err(error) => match error.kind() {
                    // Another key may fit; any other fault is the token's own.
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::InvalidAlgorithm => return Shared::Other,
                    _ => return Shared::Bad,
                },
            }
        }
        if self.shared.is_empty() {
            Shared::Other
        } else {
            Shared::Bad
        }
    }
}

/// Issues access tokens, as the sign-in service does.
pub(in super::super) struct Signer {
    key: EncodingKey,
    lifetime: Duration,
}

impl Signer {
    /// An access token for `user`.
    ///
    /// It holds `sub`, `iat`, `exp` and `type`, and nothing else: that is what the
    /// services which share the secret know.
    pub fn issue(&self, user: &UserId, now: Timestamp) -> Result<String, ApiError> {
        let claims = json!({
            "sub": user,
            "iat": now.unix_seconds(),
            "exp": now.saturating_add(self.lifetime).unix_seconds(),
            "type": "access",
        });
        let header = Header::new(Algorithm::HS256);
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(ApiError::internal)
    }
}

/// RFC 7515, section 4.1.11: extensions that have to be understood. None is.
fn has_critical(header: &Header) -> bool {
    header.crit.is_some()
}

/// Judges the claims of a token whose signature is good.
fn user_of(claims: &Claims, issuer: &Issuer<'_>, now: Timestamp) -> Result<UserId, ApiError> {
    let claim = |name: &str| claims.get(name).filter(|value| !value.is_null());
    let time = |name| match claim(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(ApiError::InvalidToken),
    };
    let now = now.unix_seconds() as f64;
    let expires = time("exp")?.ok_or(ApiError::InvalidToken)?;
    if expires <= now {
        return Err(ApiError::TokenExpired);
    }
    for not_before in [time("nbf")?, time("iat")?].into_iter().flatten() {
        if not_before > now + CLOCK_SKEW_SECONDS {
            return Err(ApiError::InvalidToken);
        }
    }
    let kind = claim("type").map(Value::as_str);
    let fitting = match issuer {
        Issuer::Shared => claim("aud").is_none() && kind == Some(Some("access")),
        Issuer::AuthServer(origin) => {
            claim("iss").and_then(Value::as_str) == Some(*origin)
                && claim("aud").is_none_or(|audience| is_among(audience, origin))
                && kind.is_none_or(|kind| kind == Some("access"))
        }
    };
    if !fitting {
        return Err(ApiError::InvalidToken);
    }
    let subject = claim("sub")
        .and_then(Value::as_str)
        .ok_or(ApiError::InvalidToken)?;
    UserId::new(subject).map_err(|_| ApiError::InvalidToken)
}

/// RFC 7519, section 4.1.3: one audience, or several of them.
fn is_among(audience: &Value, wanted: &str) -> bool {
    match audience {
        Value::Array(several) => several.iter().any(|one| one == wanted),
        one => one == wanted,
    }
}
