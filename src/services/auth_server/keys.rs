//! The public keys that the auth server signs JWTs with (RFC 7517).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::Algorithm;

use crate::clock::Clock;
use crate::domain::Timestamp;

use super::absent::AbsentIds;
use super::age::has_passed;
use super::client::Client;
use super::error::AuthServerError;
use super::key_set::{Claims, Signed, TrustedKey, is_supported, read};

pub(super) const PATH: &str = "/api/auth/jwks";

/// The time between two requests because of tokens that none of the keys has signed.
const PAUSE: Duration = Duration::from_secs(60);

/// The time between two requests while no key is known.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Older keys are fetched again, so that a withdrawn one does not stay valid.
const MAX_AGE: Duration = Duration::from_secs(600);

pub(super) const MAX_BODY: usize = 256 * 1024;

/// So many keys are tried for a token that names none of them.
const MOST_TRIED: usize = 32;

type KeySet = Arc<[Arc<TrustedKey>]>;

pub(super) struct Keys {
    client: Client,
    clock: Clock,
    known: RwLock<Known>,
    /// Held during a request, so that one request serves all waiting callers.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// The newest valid set; a failed request does not remove it.
    keys: Option<KeySet>,
    /// When `keys` was fetched.
    fetched_at: Option<Timestamp>,
    /// When the last request was sent, and its error.
    last_request: Option<(Timestamp, Option<AuthServerError>)>,
    /// How many requests were answered, or failed.
    requests: u64,
    /// The server has no key set: every token that needs one is refused.
    has_none: bool,
    /// The ids that the set before this one had and this one has not.
    withdrawn: Vec<String>,
    absent: AbsentIds,
}

impl Known {
    /// How long no request may be sent; zero if one may.
    fn pause_left(&self, now: Timestamp) -> Duration {
        let Some((at, error)) = &self.last_request else {
            return Duration::ZERO;
        };
        let pause = match error {
            Some(AuthServerError::Limited(wait)) => *wait,
            _ => Duration::ZERO,
        };
        let pause = pause.max(match self.keys.as_deref() {
            Some(keys) if !keys.is_empty() => PAUSE,
            _ => FIRST_PAUSE,
        });
        if has_passed(*at, pause, now) {
            return Duration::ZERO;
        }
        let passed = now.micros().saturating_sub(at.micros()).unsigned_abs();
        pause.saturating_sub(Duration::from_micros(passed))
    }

    fn may_fetch(&self, now: Timestamp) -> bool {
        self.pause_left(now).is_zero()
    }

    /// Whether it is known that there is or was a key with this id, for any algorithm, or that
    /// there was none when the server was asked because of it.
    fn has_looked_for(&self, id: &str) -> bool {
        let mut published = self.ids().chain(self.withdrawn.iter().map(String::as_str));
        published.any(|one| one == id) || self.absent.contains(id)
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let keys = self.keys.as_deref().unwrap_or_default().iter();
        keys.filter_map(|key| key.id.as_deref())
    }

    fn replace(&mut self, keys: KeySet, now: Timestamp) {
        let mut withdrawn: Vec<String> = self.ids().map(str::to_owned).collect();
        self.keys = Some(keys);
        self.fetched_at = Some(now);
        withdrawn.retain(|old| self.ids().all(|id| id != old));
        self.withdrawn = withdrawn;
    }

    fn is_old(&self, now: Timestamp) -> bool {
        self.fetched_at
            .is_some_and(|at| has_passed(at, MAX_AGE, now))
    }

    fn of(&self, algorithm: Algorithm) -> impl Iterator<Item = &Arc<TrustedKey>> {
        let keys = self.keys.as_deref().unwrap_or_default().iter();
        keys.filter(move |key| key.algorithm == algorithm)
    }

    /// Whether there is the key that a token names; any, if it names none.
    fn has(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        self.of(algorithm)
            .any(|key| id.is_none() || key.id.as_deref() == id)
    }

    /// The keys that may have signed a token: the one that it names, and those without an id, which
    /// is optional on both sides (RFC 7517, section 4.5; RFC 7515, section 4.1.4).
    fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> Vec<Arc<TrustedKey>> {
        let named = self
            .of(algorithm)
            .filter(|key| id.is_some() && key.id.as_deref() == id);
        let others = self
            .of(algorithm)
            .filter(|key| id.is_none() || key.id.is_none());
        named.chain(others).take(MOST_TRIED).cloned().collect()
    }
}

impl Keys {
    pub fn new(client: Client, clock: Clock) -> Self {
        Self {
            client,
            clock,
            known: RwLock::default(),
            fetching: tokio::sync::Mutex::new(()),
        }
    }

    /// What the keys say about a token with this algorithm and key id.
    ///
    /// If none of the known keys has signed it, the server is asked, unless it was asked recently:
    /// it may have replaced a key, even under the same id. An error means that nobody can tell
    /// whether there is such a key: the last request failed, or was sent before a token named this
    /// key for the first time.
    pub async fn verify(
        this: &Arc<Self>,
        token: &[u8],
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Result<Signed, AuthServerError> {
        if !is_supported(algorithm) {
            return Ok(Signed::UnknownKey);
        }
        let now = this.clock.now();
        let (known, old, requests) = this.read(|known| {
            let old = known.is_old(now) && known.may_fetch(now);
            (known.candidates(algorithm, id), old, known.requests)
        });
        if let Some(claims) = claims(&known, token) {
            if old {
                let this = Arc::clone(this);
                tokio::spawn(async move { this.refresh().await });
            }
            return Ok(Signed::Good(claims));
        }
        this.refresh().await;
        let newer = this
            .read(|known| (known.requests != requests).then(|| known.candidates(algorithm, id)));
        match newer.and_then(|newer| claims(&newer, token)) {
            Some(claims) => Ok(Signed::Good(claims)),
            None => this.without_signer(algorithm, id, requests, now),
        }
    }

    /// The same for a token that none of the keys has signed. `requests` is how many there had been
    /// before this token arrived, at `now`.
    fn without_signer(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        requests: u64,
        now: Timestamp,
    ) -> Result<Signed, AuthServerError> {
        let answer = self.read(|known| {
            if known.has(algorithm, id) {
                return Ok(Signed::Wrong);
            }
            match &known.last_request {
                Some((_, Some(AuthServerError::Limited(_)))) => {
                    Err(AuthServerError::Limited(known.pause_left(now)))
                }
                Some((_, Some(error))) => Err(error.clone()),
                _ if known.requests == requests
                    && !known.has_none
                    && id.is_some_and(|id| !known.has_looked_for(id)) =>
                {
                    Err(AuthServerError::UnknownKey(known.pause_left(now)))
                }
                _ => Ok(Signed::UnknownKey),
            }
        });
        if let (Ok(Signed::UnknownKey), Some(id)) = (&answer, id) {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.absent.add(id);
        }
        answer
    }

    /// Whether there is a key that may have signed a token with this algorithm and key id.
    pub fn knows(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        !is_supported(algorithm) || self.read(|known| !known.candidates(algorithm, id).is_empty())
    }

    /// When and why the newest request failed.
    pub fn failure(&self) -> Option<(Timestamp, String)> {
        self.read(|known: &Known| {
            let (at, error) = known.last_request.as_ref()?;
            Some((*at, error.as_ref()?.label()?))
        })
    }

    /// Fetches the keys, unless another caller just did.
    async fn refresh(&self) {
        let _fetching = self.fetching.lock().await;
        let now = self.clock.now();
        if !self.read(|known| known.may_fetch(now)) {
            return;
        }
        let answer = self.client.ask("jwks", PATH, None, MAX_BODY, read).await;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.requests += 1;
        // A server that signs no tokens has no such page. One that had keys keeps them: a gateway
        // in front of it answers 404 too while it restarts.
        known.has_none = matches!(answer, Err(AuthServerError::Status(404)))
            && known.keys.as_deref().is_none_or(<[_]>::is_empty);
        if known.has_none {
            tracing::debug!("the auth server publishes no keys");
            known.last_request = Some((now, None));
            return;
        }
        known.last_request = Some((now, answer.as_ref().err().cloned()));
        match answer {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "fetched the auth server's keys");
                known.replace(keys.into_iter().map(Arc::new).collect(), now);
            }
            Err(error) => tracing::warn!(
                %error,
                kept = known.keys.as_ref().map_or(0, |keys| keys.len()),
                "cannot fetch the auth server's keys"
            ),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The claims of `token`, if one of the keys has signed it.
fn claims(keys: &[Arc<TrustedKey>], token: &[u8]) -> Option<Claims> {
    keys.iter().find_map(|key| key.claims(token))
}
