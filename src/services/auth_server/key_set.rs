//! Sets of public keys (RFC 7517), and the keys among them that verify signatures.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::AuthServerError;

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
    pub id: Option<String>,
    pub algorithm: Algorithm,
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

/// Why a key of a set is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("of a kind that is not accepted")]
    Kind,
    #[error("too short")]
    Length,
    /// RFC 7517, sections 4.2 and 4.3.
    #[error("its use or key_ops is not to verify signatures")]
    Purpose,
    /// RFC 7517, section 4.4.
    #[error("its alg is not what such a key signs with")]
    Algorithm,
}

/// What the server's keys say about a token.
pub enum Signed {
    /// One of them signed it.
    Good(Claims),
    /// The key that it names did not sign it.
    Wrong,
    /// There is no such key.
    UnknownKey,
}

pub(super) fn is_supported(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::EdDSA | Algorithm::ES256 | Algorithm::RS256
    )
}

/// The usable keys of a set, in its order.
pub(super) fn read(body: &[u8]) -> Result<Vec<TrustedKey>, AuthServerError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set =
        serde_json::from_slice(body).map_err(|_| AuthServerError::Unreadable("not a key set"))?;
    // RFC 7517, section 5: keys of unknown kinds are ignored.
    let keys = set.keys.into_iter().map(trusted);
    Ok(keys.filter_map(Result::ok).collect())
}

/// A key that verifies signatures with one of the algorithms.
///
/// The algorithm follows from the key's type and never from a token, so that no token can
/// make a public key serve as a shared secret.
pub(super) fn trusted(key: Value) -> Result<TrustedKey, Unusable> {
    let jwk: Jwk = serde_json::from_value(key).map_err(|_| Unusable::Kind)?;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        _ => return Err(Unusable::Kind),
    };
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| Unusable::Kind)?;
    let common = jwk.common;
    let is_to_verify = common
        .public_key_use
        .is_none_or(|purpose| purpose == PublicKeyUse::Signature)
        && common
            .key_operations
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !is_to_verify {
        return Err(Unusable::Purpose);
    }
    if common
        .key_algorithm
        .is_some_and(|named| named != algorithm.into())
    {
        return Err(Unusable::Algorithm);
    }
    if !has_valid_length(algorithm, &key) {
        return Err(Unusable::Length);
    }
    Ok(TrustedKey {
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
    }
}
