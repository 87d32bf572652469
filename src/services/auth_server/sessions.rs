//! Asks the auth server for the user of an opaque token, and caches the answer.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::domain::{Timestamp, UserId};

use super::age::has_passed;
use super::breaker::Breaker;
use super::client::{Asker, Client};
use super::error::AuthServerError;

pub(super) const PATH: &str = "/api/auth/get-session";

/// How long an answer is cached; a session that ends sooner is cached until then.
const CACHE_VALID: Duration = Duration::from_secs(60);
const CACHE_INVALID: Duration = Duration::from_secs(5);

/// The most cached answers, of about 200 bytes each.
const CACHE_SIZE: usize = 20_000;

/// The most askers that the server refused with 429 and that are remembered.
const MAX_LIMITED: usize = 10_000;

/// The most requests in progress, and how long another one waits for a permit.
const MAX_CONCURRENT: usize = 32;
const PERMIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Room for a session with everything that plugins add to it.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// The largest cookie that browsers support (RFC 6265, section 6.1).
const MAX_TOKEN: usize = 4096;

/// The SHA-256 of a token; the token itself is not kept.
type Key = [u8; 32];

pub(super) struct Sessions {
    client: Client,
    clock: Clock,
    cache: Cache<Key, Cached>,
    /// Until when the server is not asked on behalf of an address. The server counts by the
    /// address that it is told, so one asker's limit must not cut off the others.
    limited: Cache<IpAddr, Limited>,
    permits: Semaphore,
    breaker: Breaker,
    /// When and why the newest question was not answered; `None` if it was.
    failure: Mutex<Option<(Timestamp, AuthServerError)>>,
}

#[derive(Clone)]
struct Limited {
    since: Timestamp,
    wait: Duration,
}

#[derive(Clone)]
enum Cached {
    Answer(Verdict),
    /// For the callers that waited for this request; later ones ask again.
    Failure(AuthServerError, Instant),
}

#[derive(Clone)]
struct Verdict {
    user: Option<UserId>,
    asked_at: Timestamp,
    valid_for: Duration,
}

impl Sessions {
    pub fn new(client: Client, clock: Clock) -> Self {
        Self {
            client,
            cache: Cache::new(CACHE_SIZE),
            limited: Cache::new(MAX_LIMITED),
            permits: Semaphore::new(MAX_CONCURRENT),
            breaker: Breaker::new(clock.clone()),
            failure: Mutex::default(),
            clock,
        }
    }

    /// Whether the server failed when it was last asked.
    pub fn is_down(&self) -> bool {
        self.breaker.has_opened()
    }

    /// When and why the newest question was not answered.
    pub fn failure(&self) -> Option<(Timestamp, String)> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = failure.as_ref()?;
        Some((*at, error.label()?))
    }

    /// The user of `token`, cached or asked for on behalf of `address`. Callers with the same
    /// token share one request.
    pub async fn user(
        &self,
        token: &str,
        address: IpAddr,
    ) -> Result<Option<UserId>, AuthServerError> {
        // Session tokens fit into a cookie; a `;` would start another cookie.
        if !fits_cookie(token) {
            return Ok(None);
        }
        let key: Key = Sha256::digest(token).into();
        let started_at = Instant::now();
        let now = self.clock.now();
        let entry = self.cache.entry_async(&key, |_, cached| match cached {
            Cached::Answer(verdict) if !has_passed(verdict.asked_at, verdict.valid_for, now) => {
                EntryAction::Retain(Ok(verdict.user.clone()))
            }
            Cached::Failure(error, at) if *at >= started_at => {
                EntryAction::Retain(Err(error.clone()))
            }
            Cached::Answer(_) | Cached::Failure(..) => EntryAction::ReplaceWithGuard,
        });
        let guard = match entry.await {
            EntryResult::Retained(answer) => return answer,
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => Some(guard),
            // The closure removes nothing, and there is no time limit.
            EntryResult::Removed(..) | EntryResult::Timeout => None,
        };
        let answer = self.ask(token, address).await;
        if let Some(guard) = guard {
            // Fails if the entry was evicted meanwhile: then the answer is not cached.
            let _ = guard.insert(match &answer {
                Ok(verdict) => Cached::Answer(verdict.clone()),
                Err(error) => Cached::Failure(error.clone(), Instant::now()),
            });
        }
        answer.map(|verdict| verdict.user)
    }

    async fn ask(&self, token: &str, address: IpAddr) -> Result<Verdict, AuthServerError> {
        let circuit_open = || {
            self.client.count("session", "resting");
            AuthServerError::CircuitOpen
        };
        if self.breaker.is_open() {
            return Err(circuit_open());
        }
        if let Some(wait) = self.limited_for(address) {
            self.client.count("session", "limited");
            return Err(AuthServerError::Limited(wait));
        }
        let Ok(Ok(_permit)) = tokio::time::timeout(PERMIT_TIMEOUT, self.permits.acquire()).await
        else {
            self.client.count("session", "busy");
            return Err(AuthServerError::Busy);
        };
        let attempt = self.breaker.attempt().ok_or_else(circuit_open)?;
        let asker = Asker {
            cookie: cookie(token)?,
            address,
        };
        let asked_at = self.clock.now();
        let answer = self
            .client
            .ask("session", PATH, Some(asker), MAX_BODY, |body| {
                read(body, asked_at)
            })
            .await;
        let failure = answer.as_ref().err().cloned();
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) =
            failure.map(|error| (self.clock.now(), error));
        match &answer {
            Err(error) if error.is_server_failure() => attempt.failed(),
            Err(AuthServerError::Limited(wait)) => {
                tracing::warn!(
                    seconds = wait.as_secs(),
                    "the auth server limits requests; it is not asked for this address meanwhile"
                );
                let limited = Limited {
                    since: self.clock.now(),
                    wait: *wait,
                };
                self.limited.insert(address, limited);
                // It answers, so it has not failed; nor does this end an outage.
                drop(attempt);
            }
            Ok(_) | Err(_) => attempt.succeeded(),
        }
        answer
    }

    /// How long the server must not be asked on behalf of `address`.
    fn limited_for(&self, address: IpAddr) -> Option<Duration> {
        let Limited { since, wait } = self.limited.get(&address)?;
        let now = self.clock.now();
        if has_passed(since, wait, now) {
            self.limited.remove(&address);
            return None;
        }
        let passed = now.micros().saturating_sub(since.micros()).unsigned_abs();
        Some(wait.saturating_sub(Duration::from_micros(passed)))
    }
}

/// The session cookie of better-auth, under both of its names.
pub(super) fn cookie(token: &str) -> Result<HeaderValue, AuthServerError> {
    HeaderValue::from_str(&format!(
        "better-auth.session_token={token}; __Secure-better-auth.session_token={token}"
    ))
    .map_err(|_| AuthServerError::Unreadable("the token does not fit into a header"))
}

/// What is wrong with a body that is neither `null` nor a session.
pub(super) fn fault_of(body: &[u8]) -> Option<&'static str> {
    match read(body, Timestamp::from_micros_clamped(0)) {
        Err(AuthServerError::Unreadable(why)) => Some(why),
        _ => None,
    }
}

/// The server's answer: `null`, or the session and its user.
fn read(body: &[u8], asked_at: Timestamp) -> Result<Verdict, AuthServerError> {
    const NEITHER: AuthServerError = AuthServerError::Unreadable("neither null nor a session");
    let answer: Value = serde_json::from_slice(body).map_err(|_| NEITHER)?;
    let invalid = Verdict {
        user: None,
        asked_at,
        valid_for: CACHE_INVALID,
    };
    if answer.is_null() {
        return Ok(invalid);
    }
    let (Some(session), Some(user)) = (answer.get("session"), answer.get("user")) else {
        return Err(NEITHER);
    };
    if !session.is_object() || !user.is_object() {
        return Err(NEITHER);
    }
    let text = |value: &Value, why| {
        let text = value.as_str().map(str::to_owned);
        text.ok_or(AuthServerError::Unreadable(why))
    };
    let expires_at = text(&session["expiresAt"], "session.expiresAt is not text")?;
    let expires_at: Timestamp = expires_at
        .parse()
        .map_err(|_| AuthServerError::Unreadable("session.expiresAt is not a time"))?;
    let user = UserId::new(text(&user["id"], "user.id is not text")?)
        .map_err(|_| AuthServerError::Unreadable("user.id is empty or too long"))?;
    let left = expires_at.micros().saturating_sub(asked_at.micros());
    Ok(match u64::try_from(left) {
        Ok(left) if left > 0 => Verdict {
            user: Some(user),
            asked_at,
            valid_for: Duration::from_micros(left).min(CACHE_VALID),
        },
        _ => invalid,
    })
}

/// Whether the token can be a cookie's value (RFC 6265, section 4.1.1).
fn fits_cookie(token: &str) -> bool {
    (1..=MAX_TOKEN).contains(&token.len())
        && token
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_values() {
        for token in [
            "abc",
            "abc.Q+/w==",
            "abc%2E%3D",
            "a!#$&'()*-._~:@[]{}|^`<>?",
        ] {
            assert!(fits_cookie(token), "{token}");
        }
        for token in [
            "", "a;b", "a b", "a,b", "a\"b", "a\\b", "a\tb", "ä", "a\r\nb",
        ] {
            assert!(!fits_cookie(token), "{token:?}");
        }
        assert!(!fits_cookie(&"x".repeat(MAX_TOKEN + 1)));
    }

    #[test]
    fn answers() {
        let now: Timestamp = "2031-01-01T00:00:00Z".parse().unwrap();
        let session = |expires: &str, user: &str| {
            format!(
                r#"{{"session":{{"id":"s","expiresAt":{expires}}},"user":{{"id":{user},"name":"A"}}}}"#
            )
        };
        let read = |text: &str| {
            read(text.as_bytes(), now)
                .map(|verdict| (verdict.user.map(|user| user.to_string()), verdict.valid_for))
        };
        let alice = |seconds| Ok((Some("alice".to_owned()), Duration::from_secs(seconds)));
        assert_eq!(read("null"), Ok((None, CACHE_INVALID)));
        let long = session(r#""2031-01-08T00:00:00.000Z""#, r#""alice""#);
        assert_eq!(read(&long), alice(60));
        let short = session(r#""2031-01-01T00:00:07.000Z""#, r#""alice""#);
        assert_eq!(read(&short), alice(7));
        let over = session(r#""2031-01-01T00:00:00.000Z""#, r#""alice""#);
        assert_eq!(read(&over), Ok((None, CACHE_INVALID)));
        for bad in [
            "",
            "{}",
            "<html>",
            "[]",
            "true",
            "nullnull",
            r#"{"session":null,"user":null}"#,
            &session("null", r#""alice""#),
            &session(r#""soon""#, r#""alice""#),
            &session(r#""2031-01-08T00:00:00.000Z""#, r#""""#),
        ] {
            assert!(
                matches!(read(bad), Err(AuthServerError::Unreadable(_))),
                "{bad}"
            );
        }
        for (bad, field) in [
            (session("7", r#""alice""#), "session.expiresAt is not text"),
            (
                session(r#""2031-01-08T00:00:00.000Z""#, "7"),
                "user.id is not text",
            ),
        ] {
            assert_eq!(fault_of(bad.as_bytes()), Some(field));
        }
    }
}
