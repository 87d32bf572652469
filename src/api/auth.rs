//! Authentication: identifies the caller from headers alone, never from a cookie.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prometheus::{HistogramVec, IntCounterVec};
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{AuthConfig, RotatingSecret};
use crate::domain::{Timestamp, UserId, is_cut_session_token};
use crate::services::auth_server::AuthServer;
use crate::store::{Store, StoreError};
use crate::telemetry::{Metrics, RecentClients, RefusalKind};

use super::error::ApiError;
use super::head::Head;
use super::limits::likely_address;
use super::refusal::Refusal;

mod form;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzzing;
mod headers;
mod in_place;
mod jwt;
#[cfg(feature = "micro")]
pub(super) mod micro;
mod origin;
mod own_secrets;

use form::{form_of, is_encrypted};
pub(super) use headers::{X_SERVICE_AUTH, X_USER_ID};
use headers::{bearer, looks_like_jwt, named_user};
use in_place::in_place_of_token;
use jwt::{Jwts, Lifetime, Signer};
pub(super) use origin::Origin;
use own_secrets::{OwnSecrets, is_own_session};

/// The credentials that identified a caller. Only this goes to the log, never a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallerKind {
    /// A JWT.
    User,
    /// The service token and `X-User-ID`.
    Service,
    /// A session token.
    Session,
}

impl CallerKind {
    /// For logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Session => "session",
        }
    }

    /// For metrics.
    pub fn method(self) -> &'static str {
        match self {
            Self::User => "jwt",
            Self::Service => "service",
            Self::Session => "session",
        }
    }
}

/// An identified caller.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The user whose data the call is about.
    pub user: UserId,
    pub kind: CallerKind,
}

/// Which credentials an endpoint accepts; contract 2.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// A user's token.
    User,
    /// A user's token, or the service on behalf of a user (2.2).
    UserOrService,
    /// A user's token, or the service that reads keys (2.3).
    UserOrKeyReader,
}

/// The most tokens that are remembered as good, at 32 bytes each.
const REMEMBERED: usize = 20_000;

/// A token that is accepted, although its time of expiry is in milliseconds.
const ENDLESS: RefusalKind = RefusalKind {
    status: StatusCode::OK.as_u16(),
    reason: "expiry_milliseconds",
    method: "",
    route: "",
    caller: "jwt",
};

/// The SHA-256 of a token; the token itself is not kept.
type TokenHash = [u8; 32];

/// Checks credentials.
pub(super) struct Authenticator {
    service_tokens: RotatingSecret,
    session_secrets: RotatingSecret,
    own_secrets: OwnSecrets,
    jwts: Jwts,
    auth_server: Option<AuthServer>,
    /// Session tokens that were good when last seen. They are looked up again all the same.
    were_good: Cache<TokenHash, ()>,
    /// Of todoctl's session tokens, since the start.
    sessions_in_use: AtomicU64,
    attempts: IntCounterVec,
    refusals: IntCounterVec,
    seconds: HistogramVec,
    recent: RecentClients,
}

impl Authenticator {
    /// Whether the auth server has failed so often that it is not asked for a while; `None` if there
    /// is none.
    pub fn is_auth_server_down(&self) -> Option<bool> {
        self.auth_server.as_ref().map(AuthServer::is_down)
    }

    /// Why the auth server gave no usable answer when it was last asked; `None` if it did.
    pub fn auth_server_failure(&self) -> Option<(Timestamp, String)> {
        self.auth_server.as_ref()?.failure()
    }

    /// The issuer of the newest token of the auth server that was refused for it.
    pub fn other_issuer(&self) -> Option<String> {
        self.auth_server.as_ref()?.other_issuer()
    }

    /// How many different session tokens of todoctl were accepted since the start.
    pub fn sessions_in_use(&self) -> u64 {
        self.sessions_in_use.load(Ordering::Relaxed)
    }

    pub fn new(config: &AuthConfig, auth_server: Option<AuthServer>, metrics: &Metrics) -> Self {
        Self {
            service_tokens: config.service_auth_token.clone(),
            session_secrets: config.session_hash_secret.clone(),
            own_secrets: OwnSecrets::new(config),
            jwts: Jwts::new(config),
            auth_server,
            were_good: Cache::new(REMEMBERED),
            sessions_in_use: AtomicU64::new(0),
            attempts: metrics.authentications.clone(),
            refusals: metrics.auth_refusals.clone(),
            seconds: metrics.auth_validation.clone(),
            recent: metrics.clients.clone(),
        }
    }

    /// Identifies the caller of an endpoint.
    pub async fn identify(
        &self,
        access: Access,
        head: &Head,
        origin: Origin,
        store: &Store,
        now: Timestamp,
    ) -> Result<Caller, ApiError> {
        let started = Instant::now();
        let headers = head.headers();
        let has = |name: &HeaderName| headers.contains_key(name);
        let (kind, outcome) = match access {
            Access::UserOrService if has(&X_USER_ID) => {
                (Some(CallerKind::Service), self.service(headers))
            }
            Access::UserOrKeyReader if has(&X_USER_ID) && has(&X_SERVICE_AUTH) => {
                (Some(CallerKind::Service), self.key_service(headers))
            }
            // Elsewhere `X-User-ID` means nothing.
            Access::User | Access::UserOrService | Access::UserOrKeyReader => {
                self.user(access, headers, origin, store, now).await
            }
        };
        if let Err(error) = &outcome {
            self.count_refusal(kind, error, head, now);
        }
        self.observe(kind, outcome, started, now)
    }

    /// The user of a token, and what kind of token it is.
    async fn user(
        &self,
        access: Access,
        headers: &HeaderMap,
        origin: Origin,
        store: &Store,
        now: Timestamp,
    ) -> (Option<CallerKind>, Result<UserId, ApiError>) {
        match bearer(headers) {
            None if headers.contains_key(X_SERVICE_AUTH) => {
                let error = ApiError::NotAuthenticated(Refusal::ServiceAuthElsewhere);
                (Some(CallerKind::Service), Err(error))
            }
            None => (None, Err(ApiError::NotAuthenticated(Refusal::Missing))),
            Some(token) if self.is_service_token(token) => {
                let reason = if access == Access::UserOrService {
                    Refusal::ServiceTokenAlone
                } else {
                    Refusal::ServiceTokenElsewhere
                };
                let error = ApiError::InvalidToken(reason);
                (Some(CallerKind::Service), Err(error))
            }
            Some(token) if looks_like_jwt(token) => {
                let server = self.auth_server.as_ref();
                let judged = self.jwts.user(token, server, origin, now).await;
                if matches!(judged, Ok((_, Lifetime::Milliseconds))) {
                    self.count(ENDLESS, None, likely_address(origin.address, headers), now);
                }
                (Some(CallerKind::User), judged.map(|(user, _)| user))
            }
            Some(token) => {
                // Boxed, to keep it out of the future of every request.
                let user = Box::pin(self.session(token, origin, store)).await;
                (Some(CallerKind::Session), user)
            }
        }
    }

    /// Counts why credentials were refused, if that is the error.
    fn count_refusal(
        &self,
        kind: Option<CallerKind>,
        error: &ApiError,
        head: &Head,
        now: Timestamp,
    ) {
        let Some(reason) = error.refusal() else {
            return;
        };
        self.refusals.with_label_values(&[reason.label()]).inc();
        let kind = RefusalKind {
            status: error.status().as_u16(),
            reason: reason.label(),
            method: "",
            route: "",
            caller: kind.map_or("none", CallerKind::method),
        };
        let headers = head.headers();
        let detail = match reason {
            Refusal::Missing => Some(in_place_of_token(headers, head.query())),
            _ => reason.detail(),
        };
        let address = likely_address(head.client, headers);
        self.count(kind, detail, address, now);
    }

    fn count(
        &self,
        kind: RefusalKind,
        detail: Option<&'static str>,
        address: IpAddr,
        now: Timestamp,
    ) {
        let detail = detail.map(Cow::Borrowed);
        self.recent.refused(kind, detail, address, now);
    }

    /// Counts an attempt and how long it took.
    fn observe(
        &self,
        kind: Option<CallerKind>,
        outcome: Result<UserId, ApiError>,
        started: Instant,
        now: Timestamp,
    ) -> Result<Caller, ApiError> {
        let method = kind.map_or("none", CallerKind::method);
        let result = match &outcome {
            Ok(_) => "accepted",
            Err(error) if error.status().is_client_error() => "refused",
            Err(_) => "failed",
        };
        self.attempts.with_label_values(&[method, result]).inc();
        if outcome.is_ok() {
            self.recent.accepted(method, now);
        }
        self.seconds
            .with_label_values(&[method])
            .observe(started.elapsed().as_secs_f64());
        match (kind, outcome) {
            (Some(kind), Ok(user)) => Ok(Caller { user, kind }),
            (_, Err(error)) => Err(error),
            // No kind, no user: `outcome` is an error then.
            (None, Ok(_)) => Err(ApiError::NotAuthenticated(Refusal::Missing)),
        }
    }

    /// contract 2.2: the service token, and the user in `X-User-ID`.
    fn service(&self, headers: &HeaderMap) -> Result<UserId, ApiError> {
        match bearer(headers) {
            None if headers.contains_key(X_SERVICE_AUTH) => {
                Err(ApiError::NotAuthenticated(Refusal::ServiceAuthElsewhere))
            }
            None => Err(ApiError::NotAuthenticated(Refusal::Missing)),
            Some(token) if self.is_service_token(token) => named_user(headers),
            Some(token) if looks_like_jwt(token) => {
                Err(ApiError::WrongServiceToken(Refusal::UserTokenAsService))
            }
            Some(token) => Err(ApiError::WrongServiceToken(self.wrong_service_token(token))),
        }
    }

    /// contract 2.3: the same in a header of its own, and without a challenge on failure.
    fn key_service(&self, headers: &HeaderMap) -> Result<UserId, ApiError> {
        let mut tokens = headers.get_all(X_SERVICE_AUTH).iter();
        let token = tokens.next().map_or(&b""[..], HeaderValue::as_bytes);
        if tokens.next().is_none() && self.is_service_token(token) {
            return named_user(headers);
        }
        Err(ApiError::WrongServiceAuth(self.wrong_service_token(token)))
    }

    fn wrong_service_token(&self, token: &[u8]) -> Refusal {
        Refusal::ServiceToken(self.own_secrets.in_place_of_service_token(token))
    }

    fn is_service_token(&self, token: &[u8]) -> bool {
        let accepted = self
            .service_tokens
            .all()
            .map(|secret| secret.expose().as_bytes().ct_eq(token))
            // Every secret is compared, so that the time tells nothing.
            .fold(subtle::Choice::from(0), |any, one| any | one);
        !token.is_empty() && bool::from(accepted)
    }

    /// The issuer of access tokens; an error without a `JWT_SECRET` to sign them with.
    pub fn signer(&self) -> Result<&Signer, ApiError> {
        self.jwts.signer().ok_or(ApiError::NoTokenIssuer)
    }

    /// contract 13: a session token from `todoctl_sessions`, or one that the auth server accepts.
    async fn session(
        &self,
        token: &[u8],
        origin: Origin,
        store: &Store,
    ) -> Result<UserId, ApiError> {
        let refused = |reason| Err(ApiError::InvalidToken(reason));
        let Ok(token) = std::str::from_utf8(token) else {
            return refused(Refusal::Malformed);
        };
        let hash: TokenHash = Sha256::digest(token).into();
        let is_new = self.were_good.get(&hash).is_none();
        if is_new {
            origin.may_ask()?;
        }
        let own: Result<Option<UserId>, StoreError> =
            store.session_user(&self.session_secrets, token).await;
        let user = match (own?, &self.auth_server) {
            (Some(user), _) => {
                if is_new {
                    self.sessions_in_use.fetch_add(1, Ordering::Relaxed);
                }
                Some(user)
            }
            _ if is_cut_session_token(token) => return refused(Refusal::CutSession),
            _ if is_own_session(token) => {
                if self.were_good.remove(&hash).is_some() {
                    self.sessions_in_use.fetch_sub(1, Ordering::Relaxed);
                }
                let secrets = &self.session_secrets;
                let has_ended = store.session_has_ended(secrets, token).await?;
                return refused(if has_ended {
                    Refusal::EndedSession
                } else {
                    Refusal::UnknownOwnSession
                });
            }
            _ if is_encrypted(token) => return refused(Refusal::Encrypted),
            // What is a secret between todoctl and its users is no business of the auth server.
            _ if self.own_secrets.resemble(token) => {
                return refused(Refusal::OwnSecret);
            }
            (None, None) => None,
            (None, Some(server)) => server.session_user(token, origin.address).await?,
        };
        let Some(user) = user else {
            self.were_good.remove(&hash);
            return refused(Refusal::UnknownSession(form_of(token)));
        };
        self.were_good.insert(hash, ());
        Ok(user)
    }
}
