//! Asks the auth server whom an opaque token stands for, and remembers the answer a while.

use std::time::{Duration, Instant};

use http::HeaderValue;
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::domain::{Timestamp, UserId};

use super::breaker::Breaker;
use super::client::Client;
use super::{AuthServerError, has_passed};

const PATH: &str = "/api/auth/get-session";

/// What an answer is good for, at most: a session that ends sooner is forgotten sooner.
const REMEMBER_YES: Duration = Duration::from_secs(60);
const REMEMBER_NO: Duration = Duration::from_secs(5);

/// Answers remembered at once, of about 200 bytes each.
const REMEMBERED: usize = 20_000;

/// Questions under way at once, and how long a further one waits for its turn.
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(1);

/// A session with everything that plugins add to it.
const MAX_BODY: usize = 64 * 1024;

/// What browsers keep of a cookie (RFC 6265, section 6.1).
const MAX_TOKEN: usize = 4096;

/// The SHA-256 of a token; the token itself is not kept.
type Key = [u8; 32];

pub(super) struct Sessions {
    client: Client,
    clock: Clock,
    cache: Cache<Key, Remembered>,
    turns: Semaphore,
    breaker: Breaker,
}

#[derive(Clone)]
enum Remembered {
    Answer(Verdict),
    /// Kept for those who waited for this very attempt; who comes later asks again.
    Failure(AuthServerError, Instant),
}

#[derive(Clone)]
struct Verdict {
    user: Option<UserId>,
    asked_at: Timestamp,
    good_for: Duration,
}

impl Sessions {
    pub fn new(client: Client, clock: Clock) -> Self {
        Self {
            client,
            cache: Cache::new(REMEMBERED),
            turns: Semaphore::new(AT_ONCE),
            breaker: Breaker::new(clock.clone()),
            clock,
        }
    }

    /// The user behind `token`, remembered or asked for. Callers with the same token
    /// share one question.
    pub async fn user(&self, token: &str) -> Result<Option<UserId>, AuthServerError> {
        // What no cookie can hold is nobody's session; a `;` would even start another cookie.
        if !fits_cookie(token) {
            return Ok(None);
        }
        let key: Key = Sha256::digest(token).into();
        let came = Instant::now();
        let now = self.clock.now();
        let entry = self
            .cache
            .entry_async(&key, |_, remembered| match remembered {
                Remembered::Answer(verdict)
                    if !has_passed(verdict.asked_at, verdict.good_for, now) =>
                {
                    EntryAction::Retain(Ok(verdict.user.clone()))
                }
                Remembered::Failure(error, at) if *at >= came => {
                    EntryAction::Retain(Err(error.clone()))
                }
                Remembered::Answer(_) | Remembered::Failure(..) => EntryAction::ReplaceWithGuard,
            });
        let guard = match entry.await {
            EntryResult::Retained(answer) => return answer,
            EntryResult::Vacant(guard) | EntryResult::Replaced(guard, _) => Some(guard),
            // Nothing above removes, and there is no time limit.
            EntryResult::Removed(..) | EntryResult::Timeout => None,
        };
        let answer = self.ask(token).await;
        if let Some(guard) = guard {
            // It fails when the entry was evicted meanwhile, which does not matter.
            let _ = guard.insert(match &answer {
                Ok(verdict) => Remembered::Answer(verdict.clone()),
                Err(error) => Remembered::Failure(error.clone(), Instant::now()),
            });
        }
        answer.map(|verdict| verdict.user)
    }

    async fn ask(&self, token: &str) -> Result<Verdict, AuthServerError> {
        let resting = || {
            self.client.count("session", "resting");
            AuthServerError::Resting
        };
        if self.breaker.is_open() {
            return Err(resting());
        }
        let Ok(Ok(_turn)) = tokio::time::timeout(PATIENCE, self.turns.acquire()).await else {
            self.client.count("session", "busy");
            return Err(AuthServerError::Busy);
        };
        let leave = self.breaker.leave().ok_or_else(resting)?;
        let cookie = HeaderValue::from_str(&format!(
            "better-auth.session_token={token}; __Secure-better-auth.session_token={token}"
        ))
        .map_err(|_| AuthServerError::Unreadable("the token fits no header"))?;
        let asked_at = self.clock.now();
        let answer = self
            .client
            .ask("session", PATH, Some(cookie), MAX_BODY, |body| {
                read(body, asked_at)
            })
            .await;
        match &answer {
            Err(error) if error.is_servers() => leave.failed(),
            Ok(_) | Err(_) => leave.succeeded(),
        }
        answer
    }
}

/// The server's answer: `null`, or the session and its user.
#[derive(Deserialize)]
struct Answer {
    session: AnsweredSession,
    user: AnsweredUser,
}

#[derive(Deserialize)]
struct AnsweredSession {
    #[serde(rename = "expiresAt")]
    expires_at: String,
}

#[derive(Deserialize)]
struct AnsweredUser {
    id: String,
}

fn read(body: &[u8], asked_at: Timestamp) -> Result<Verdict, AuthServerError> {
    let answer: Option<Answer> = serde_json::from_slice(body)
        .map_err(|_| AuthServerError::Unreadable("it is neither null nor a session"))?;
    let nobody = Verdict {
        user: None,
        asked_at,
        good_for: REMEMBER_NO,
    };
    let Some(Answer { session, user }) = answer else {
        return Ok(nobody);
    };
    let expires_at: Timestamp = session
        .expires_at
        .parse()
        .map_err(|_| AuthServerError::Unreadable("its expiresAt is no time"))?;
    let user =
        UserId::new(user.id).map_err(|_| AuthServerError::Unreadable("its user's id is none"))?;
    let left = expires_at.micros().saturating_sub(asked_at.micros());
    Ok(match u64::try_from(left) {
        Ok(left) if left > 0 => Verdict {
            user: Some(user),
            asked_at,
            good_for: Duration::from_micros(left).min(REMEMBER_YES),
        },
        _ => nobody,
    })
}

/// RFC 6265, section 4.1.1: what a cookie's value is made of.
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
                .map(|verdict| (verdict.user.map(|user| user.to_string()), verdict.good_for))
        };
        let alice = |seconds| Ok((Some("alice".to_owned()), Duration::from_secs(seconds)));
        assert_eq!(read("null"), Ok((None, REMEMBER_NO)));
        let long = session(r#""2031-01-08T00:00:00.000Z""#, r#""alice""#);
        assert_eq!(read(&long), alice(60));
        let short = session(r#""2031-01-01T00:00:07.000Z""#, r#""alice""#);
        assert_eq!(read(&short), alice(7));
        let over = session(r#""2031-01-01T00:00:00.000Z""#, r#""alice""#);
        assert_eq!(read(&over), Ok((None, REMEMBER_NO)));
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
            &session(r#""2031-01-08T00:00:00.000Z""#, "7"),
        ] {
            assert!(
                matches!(read(bad), Err(AuthServerError::Unreadable(_))),
                "{bad}"
            );
        }
    }
}
