//! The public keys that the auth server signs JWTs with (RFC 7517).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::domain::Timestamp;

use super::absent::AbsentIds;
use super::age::has_passed;
use super::client::Client;
use super::error::AuthServerError;

pub(super) const PATH: &str = "/api/auth/jwks";

/// The time between two requests because of unknown key ids.
const PAUSE: Duration = Duration::from_secs(60);

/// The time between two requests while no key is known.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Older keys are fetched again, so that a withdrawn one does not stay valid.
const MAX_AGE: Duration = Duration::from_secs(600);

pub(super) const MAX_BODY: usize = 256 * 1024;

/// More keys than any server publishes. A token without a key id is checked with every key for
/// its algorithm.
const MAX_KEYS: usize = 32;

/// RFC 7518, section 3.3: 2048 bits or more.
const MIN_RSA_BYTES: usize = 256;

/// The claims of a JWT whose signature is valid.
pub type Claims = Map<String, Value>;

/// Rules for [`jsonwebtoken::decode`] that check the signature, with this algorithm only.
/// The caller checks the claims against the injected clock.
#[must_use]
pub fn signature_only(algorithm: Algorithm) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.validate_exp = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    rules
}

/// A key for one algorithm.
pub(super) struct TrustedKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    rules: Validation,
}

impl TrustedKey {
    /// The claims of `token` if this key signed it with its algorithm.
    pub fn claims(&self, token: &[u8]) -> Option<Claims> {
        jsonwebtoken::decode(token, &self.key, &self.rules)
            .ok()
            .map(|token| token.claims)
    }
}

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

    fn matching(&self, algorithm: Algorithm, id: Option<&str>) -> Vec<Arc<TrustedKey>> {
        let keys = self.keys.as_deref().unwrap_or_default().iter();
        keys.filter(|key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id))
            .cloned()
            .collect()
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

    /// The keys that may have signed a token with this algorithm and key id.
    ///
    /// Known keys are returned at once. Otherwise the server is asked, unless it was asked
    /// recently. An error means that nobody can tell whether there is such a key: the last
    /// request failed, or was sent before a token named this key for the first time.
    pub async fn matching(
        this: &Arc<Self>,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Result<Vec<Arc<TrustedKey>>, AuthServerError> {
        if !is_supported(algorithm) {
            return Ok(Vec::new());
        }
        let now = this.clock.now();
        let (found, old, requests) = this.read(|known| {
            let old = known.is_old(now) && known.may_fetch(now);
            (known.matching(algorithm, id), old, known.requests)
        });
        if !found.is_empty() {
            if old {
                let this = Arc::clone(this);
                tokio::spawn(async move { this.refresh().await });
            }
            return Ok(found);
        }
        this.refresh().await;
        let answer = this.read(|known| {
            let found = known.matching(algorithm, id);
            if !found.is_empty() {
                return Ok(found);
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
                _ => Ok(found),
            }
        });
        if let (Ok(found), Some(id)) = (&answer, id)
            && found.is_empty()
        {
            let mut known = this.known.write().unwrap_or_else(PoisonError::into_inner);
            known.absent.add(id);
        }
        answer
    }

    /// Whether [`Self::matching`] needs no request.
    pub fn knows(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        !is_supported(algorithm) || self.read(|known| !known.matching(algorithm, id).is_empty())
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
                known.replace(keys, now);
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

fn is_supported(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::EdDSA | Algorithm::ES256 | Algorithm::RS256
    )
}

fn read(body: &[u8]) -> Result<KeySet, AuthServerError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set =
        serde_json::from_slice(body).map_err(|_| AuthServerError::Unreadable("not a key set"))?;
    // RFC 7517, section 5: keys of unknown kinds are ignored.
    let keys = set.keys.into_iter().filter_map(trusted);
    Ok(keys.take(MAX_KEYS).map(Arc::new).collect())
}

/// A key that verifies signatures with one of the algorithms, or `None`.
///
/// The algorithm follows from the key's type and never from a token, so that no token can
/// make a public key serve as a shared secret.
pub(super) fn trusted(key: Value) -> Option<TrustedKey> {
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        _ => return None,
    };
    let common = jwk.common.clone();
    let is_for_signatures = common
        .key_algorithm
        .is_none_or(|named| named == algorithm.into())
        && common
            .public_key_use
            .is_none_or(|purpose| purpose == PublicKeyUse::Signature)
        && common
            .key_operations
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (is_for_signatures && has_valid_length(algorithm, &key)).then(|| TrustedKey {
        id: common.key_id,
        algorithm,
        key,
        rules: signature_only(algorithm),
    })
}

/// Whether the key has the length that its algorithm requires.
fn has_valid_length(algorithm: Algorithm, key: &DecodingKey) -> bool {
    match (algorithm, key.kind()) {
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
        // An uncompressed point: its tag and two coordinates.
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65,
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
            n.iter().skip_while(|byte| **byte == 0).count() >= MIN_RSA_BYTES
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const EC_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const EC_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn accepted(key: &Value) -> Vec<Algorithm> {
        let body = json!({ "keys": [key] }).to_string();
        let keys = read(body.as_bytes()).unwrap();
        keys.iter().map(|key| key.algorithm).collect()
    }

    /// Keys of RFC 8037, appendix A.2, and RFC 7515, appendix A.3.
    #[test]
    fn each_kind_of_key_has_one_algorithm() {
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "kid": "1", "createdAt": 17.5 });
        assert_eq!(accepted(&ed), [Algorithm::EdDSA]);
        let ec = json!({ "kty": "EC", "crv": "P-256", "x": EC_X, "y": EC_Y, "use": "sig" });
        assert_eq!(accepted(&ec), [Algorithm::ES256]);
        let rsa = json!({ "kty": "RSA", "n": "_".repeat(341) + "w", "e": "AQAB", "alg": "RS256" });
        assert_eq!(accepted(&rsa), [Algorithm::RS256]);

        let with = |key: &Value, name: &str, value: Value| {
            let mut key = key.clone();
            key[name] = value;
            key
        };
        for bad in [
            json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
            json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
            json!({}),
            json!(7),
            with(&ed, "x", json!("AAAA")),
            with(&ed, "x", json!("*")),
            with(&ed, "crv", json!("Ed448")),
            with(&ed, "alg", json!("HS256")),
            with(&ed, "use", json!("enc")),
            with(&ec, "crv", json!("P-384")),
            with(&ec, "crv", json!("secp256k1")),
            with(&ec, "y", json!("AAAA")),
            with(&ec, "key_ops", json!(["sign"])),
            with(&rsa, "n", json!("_".repeat(170) + "w")),
            with(&rsa, "alg", json!("PS256")),
        ] {
            assert_eq!(accepted(&bad), [], "{bad}");
        }
    }

    #[test]
    fn sets() {
        assert_eq!(read(br#"{"keys":[]}"#).unwrap().len(), 0);
        for bad in ["", "null", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        let one = json!({ "kty": "OKP", "crv": "Ed25519", "x": X });
        let many = json!({ "keys": vec![one; MAX_KEYS + 1] }).to_string();
        assert_eq!(read(many.as_bytes()).unwrap().len(), MAX_KEYS);
    }
}
