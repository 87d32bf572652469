//! JWTs: whose signature is good, and what its claims are worth (contract 2.1).
//!
//! A token names the algorithm that it was signed with, and must not be believed:
//! HS256 is only ever checked with `JWT_SECRET`, every other algorithm only with
//! a key of the auth server that is meant for it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use crate::config::{AuthConfig, RotatingSecret, Secret, spellings};
use crate::domain::{Timestamp, UserId};
use crate::services::auth_server::{AuthServer, Claims, Signed, signature_only};

use super::super::error::ApiError;
use super::super::refusal::{Refusal, name_of};
use super::origin::Origin;

/// How far another machine's clock may be ahead of ours, in seconds (contract 10.32).
const CLOCK_SKEW_SECONDS: f64 = 30.0;

/// Longer tokens are not compared with other keys.
const LONGEST_COMPARED: usize = 4096;

/// A time that is so many times the present one is not in seconds.
const MILLISECONDS: f64 = 100.0;

/// What tokens may be signed with, the first with `JWT_SECRET` alone.
const ACCEPTED: [Algorithm; 4] = [
    Algorithm::HS256,
    Algorithm::EdDSA,
    Algorithm::ES256,
    Algorithm::RS256,
];

/// Other algorithms, by their names in tokens.
const OTHERS: [&str; 13] = [
    "ES256K", "ES384", "ES512", "Ed25519", "Ed448", "HS384", "HS512", "PS256", "PS384", "PS512",
    "RS384", "RS512", "none",
];

/// Judges tokens.
pub(super) struct Jwts {
    shared: Vec<DecodingKey>,
    /// What `JWT_SECRET` may be taken for, and the other secrets.
    similar: Vec<(&'static str, DecodingKey)>,
    rules: Validation,
    signer: Option<Signer>,
}

/// Who signed a token, which decides what it has to say.
enum Issuer<'a> {
    /// Somebody who knows `JWT_SECRET`.
    Shared,
    /// The auth server.
    AuthServer(&'a AuthServer),
}

/// How long a token is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    Ends,
    /// Its time of expiry is in milliseconds, so it is accepted for thousands of years.
    Milliseconds,
}

/// What `JWT_SECRET` says about a token.
enum Shared {
    Good(Claims),
    Bad(Refusal),
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
            similar: similar(config),
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
        origin: Origin,
        now: Timestamp,
    ) -> Result<(UserId, Lifetime), ApiError> {
        match self.shared(token) {
            Shared::Good(claims) => user_of(&claims, &Issuer::Shared, now),
            Shared::Bad(reason) => refused(reason),
            Shared::Other => {
                let Ok(header) = jsonwebtoken::decode_header(token) else {
                    return refused(undecodable(token));
                };
                if !ACCEPTED.contains(&header.alg) {
                    return refused(Refusal::Algorithm(other_algorithm(token)));
                }
                let Some(server) = auth_server else {
                    return refused(Refusal::UnknownKey(header.alg));
                };
                if has_critical(&header) {
                    return refused(Refusal::Critical);
                }
                if !server.knows_key_of(&header) {
                    origin.may_ask()?;
                }
                match Box::pin(server.signed_claims(token, &header)).await? {
                    Signed::Good(claims) => user_of(&claims, &Issuer::AuthServer(server), now),
                    Signed::Wrong => refused(Refusal::Signature(name_of(header.alg))),
                    Signed::UnknownKey => refused(Refusal::UnknownKey(header.alg)),
                }
            }
        }
    }

    fn shared(&self, token: &[u8]) -> Shared {
        for key in &self.shared {
            match jsonwebtoken::decode::<Claims>(token, key, &self.rules) {
                Ok(token) if has_critical(&token.header) => {
                    return Shared::Bad(Refusal::Critical);
                }
                Ok(token) => return Shared::Good(token.claims),
                Err(error) => match error.kind() {
                    // Another key may fit; any other fault is the token's own.
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::InvalidAlgorithm => return Shared::Other,
                    _ => return Shared::Bad(undecodable(token)),
                },
            }
        }
        if self.shared.is_empty() {
            Shared::Other
        } else {
            Shared::Bad(Refusal::Signature(self.signed_with(token)))
        }
    }

    /// How the key of a token that `JWT_SECRET` has not signed is spelt, or whose it is; the name of the
    /// algorithm where that is not known.
    fn signed_with(&self, token: &[u8]) -> &'static str {
        let is_usual = token.len() <= LONGEST_COMPARED;
        let mut similar = self.similar.iter().filter(|_| is_usual);
        let is_of = |key| jsonwebtoken::decode::<Claims>(token, key, &self.rules).is_ok();
        let found = similar.find(|(_, key)| is_of(key));
        found.map_or(name_of(Algorithm::HS256), |(whose, _)| whose)
    }
}

fn similar(config: &AuthConfig) -> Vec<(&'static str, DecodingKey)> {
    let own = config.jwt_secret.iter().flat_map(RotatingSecret::all);
    let other_spellings = own.flat_map(|secret| spellings(secret.expose()));
    let others = [
        ("SERVICE_AUTH_TOKEN", &config.service_auth_token),
        ("SESSION_HASH_SECRET", &config.session_hash_secret),
        ("ENCRYPTION_KEY", &config.encryption_key),
    ];
    let others = others.into_iter().flat_map(|(name, secret)| {
        let bytes = move |one: &Secret| (name, one.expose().as_bytes().to_vec());
        secret.all().map(bytes)
    });
    let all = other_spellings.chain(others);
    all.map(|(whose, bytes)| (whose, DecodingKey::from_secret(&bytes)))
        .collect()
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

/// Why a token has no claims that can be read.
fn undecodable(token: &[u8]) -> Refusal {
    match algorithm(token) {
        Some(name) if name.parse::<Algorithm>().is_err() => {
            Refusal::Algorithm(other_algorithm(token))
        }
        _ => Refusal::Malformed,
    }
}

/// The algorithm that a token names and that is not accepted.
fn other_algorithm(token: &[u8]) -> &'static str {
    let name = algorithm(token).unwrap_or_default();
    let mut known = OTHERS.into_iter();
    known.find(|other| *other == name).unwrap_or("another")
}

/// What a token names as its algorithm.
fn algorithm(token: &[u8]) -> Option<String> {
    let header = token.split(|byte| *byte == b'.').next()?;
    let header = URL_SAFE_NO_PAD.decode(header).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    Some(header.get("alg")?.as_str()?.to_owned())
}

fn refused<T>(reason: Refusal) -> Result<T, ApiError> {
    Err(ApiError::InvalidToken(reason))
}

/// Judges the claims of a token whose signature is good.
fn user_of(
    claims: &Claims,
    issuer: &Issuer<'_>,
    now: Timestamp,
) -> Result<(UserId, Lifetime), ApiError> {
    let claim = |name: &str| claims.get(name).filter(|value| !value.is_null());
    let time = |name| match claim(name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(time) => Ok(Some(time)),
            None => refused(Refusal::TimeType),
        },
    };
    let now = now.unix_seconds() as f64;
    let Some(expires) = time("exp")? else {
        return refused(Refusal::Expiry);
    };
    if expires <= now {
        return Err(ApiError::TokenExpired(Refusal::Expired));
    }
    for not_before in [time("nbf")?, time("iat")?].into_iter().flatten() {
        if not_before > now * MILLISECONDS {
            return refused(Refusal::Milliseconds);
        }
        if not_before > now + CLOCK_SKEW_SECONDS {
            return refused(Refusal::TooEarly);
        }
    }
    let kind = claim("type").map(Value::as_str);
    match issuer {
        Issuer::Shared => {
            if claim("aud").is_some() {
                return refused(Refusal::Audience);
            }
            if kind != Some(Some("access")) {
                return refused(Refusal::Kind);
            }
        }
        Issuer::AuthServer(server) => {
            let issuer = claim("iss").and_then(Value::as_str);
            if issuer != Some(server.issuer()) {
                server.note_other_issuer(issuer.unwrap_or_default());
                return refused(Refusal::Issuer);
            }
            let is_known = |audience| {
                [server.issuer(), server.origin()]
                    .iter()
                    .any(|own| is_among(audience, own))
            };
            if !claim("aud").is_none_or(is_known) {
                return refused(Refusal::Audience);
            }
            if kind.is_some_and(|kind| kind != Some("access")) {
                return refused(Refusal::Kind);
            }
        }
    }
    let subject = claim("sub").and_then(Value::as_str);
    match subject.map(UserId::new) {
        Some(Ok(user)) if expires > now * MILLISECONDS => Ok((user, Lifetime::Milliseconds)),
        Some(Ok(user)) => Ok((user, Lifetime::Ends)),
        Some(Err(_)) | None => refused(Refusal::Subject),
    }
}

/// RFC 7519, section 4.1.3: one audience, or several of them.
fn is_among(audience: &Value, wanted: &str) -> bool {
    match audience {
        Value::Array(several) => several.iter().any(|one| one == wanted),
        one => one == wanted,
    }
}
