//! Recognizes tokens that hold a secret of todoctl, whole, damaged or in part, so that they are
//! not sent to another service.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;

use sha2::{Digest as _, Sha256};

use crate::config::{AuthConfig, CUT_OR_MORE, RotatingSecret, spellings};
use crate::domain::SESSION_PREFIX;

/// The SHA-256 of a token.
type TokenHash = [u8; 32];

/// Two texts with this many characters in common, in a row, are no strangers: by chance that
/// happens to less than one random token in a billion.
const RUN: usize = 12;

/// The runs of characters in todoctl's secrets, hashed with a key of this process.
pub(super) struct OwnSecrets {
    hasher: RandomState,
    runs: HashSet<u64>,
    /// The other secrets, and other spellings of the service token, by their hashes: comparing hashes
    /// takes no time that tells something.
    instead: HashMap<TokenHash, &'static str>,
}

impl OwnSecrets {
    pub fn new(config: &AuthConfig) -> Self {
        let secrets = [
            &config.service_auth_token,
            &config.session_hash_secret,
            &config.encryption_key,
        ];
        let hasher = RandomState::new();
        let runs = secrets
            .into_iter()
            .chain(&config.jwt_secret)
            .flat_map(RotatingSecret::all)
            .flat_map(|secret| runs(secret.expose()))
            .map(|run| hasher.hash_one(run))
            .collect();
        Self {
            hasher,
            runs,
            instead: instead_of_service_token(config),
        }
    }

    /// What a client has in place of the service token, in words.
    pub fn in_place_of_service_token(&self, token: &[u8]) -> &'static str {
        let hash: TokenHash = Sha256::digest(token).into();
        let found = self.instead.get(&hash).copied();
        let is_part = || std::str::from_utf8(token).is_ok_and(|token| self.resemble(token));
        found.unwrap_or_else(|| if is_part() { CUT_OR_MORE } else { ANOTHER })
    }

    /// Whether `token` is a session token of todoctl, or begins like a JWT without being one, or
    /// has characters in common with a secret.
    pub fn resemble(&self, token: &str) -> bool {
        let bare = token.trim_matches(|one: char| !one.is_ascii_alphanumeric());
        let begins = |prefix: &str| {
            bare.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        begins(SESSION_PREFIX)
            // The header of every JWT is an object, `{"` in base64url; better a damaged one is
            // refused than sent on.
            || (bare.starts_with("eyJ") && bare.matches('.').count() >= 2)
            || runs(token).any(|run| self.runs.contains(&self.hasher.hash_one(run)))
    }
}

/// A token that is neither another secret nor another spelling of the right one.
const ANOTHER: &str = "another";

fn instead_of_service_token(config: &AuthConfig) -> HashMap<TokenHash, &'static str> {
    let others = [
        ("ENCRYPTION_KEY", Some(&config.encryption_key)),
        ("JWT_SECRET", config.jwt_secret.as_ref()),
        ("SESSION_HASH_SECRET", Some(&config.session_hash_secret)),
    ];
    let others = others.into_iter().flat_map(|(name, secret)| {
        let all = secret.into_iter().flat_map(RotatingSecret::all);
        all.map(move |one| (name, one.expose().as_bytes().to_vec()))
    });
    let tokens = config.service_auth_token.all();
    let spelt = tokens.flat_map(|token| spellings(token.expose()));
    let all = spelt.chain(others);
    all.map(|(what, bytes)| (Sha256::digest(&bytes).into(), what))
        .collect()
}

/// Whether `todoctl session create` makes such tokens.
pub(super) fn is_own_session(token: &str) -> bool {
    token.starts_with(SESSION_PREFIX)
}

/// Every run of [`RUN`] bytes in `text`, in lower case; a shorter text is its only run.
fn runs(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let bytes = text.to_ascii_lowercase().into_bytes();
    let length = bytes.len().min(RUN);
    (0..=bytes.len() - length).map(move |at| bytes[at..at + length].to_vec())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Secret;

    const SERVICE: &str = "5f0c1d2e3b4a59687786958493a2b1c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60";

    fn own() -> OwnSecrets {
        let secret = |text: &str, previous: &[&str]| RotatingSecret {
            current: Secret::new(text),
            previous: previous.iter().map(|text| Secret::new(*text)).collect(),
        };
        OwnSecrets::new(&AuthConfig {
            session_hash_secret: secret("ab-session-hash-secret-0123456789", &[]),
            service_auth_token: secret(SERVICE, &["the-service-token-before-it-98765"]),
            encryption_key: secret("ZmVybmV0LWtleS1vZi0zMi1ieXRlcy1mb3ItdGVzdHM=", &[]),
            jwt_secret: Some(secret("tiny", &[])),
            access_token_lifetime: Duration::ZERO,
            failures_per_minute: 0,
            requests_per_minute: 0,
            trusted_proxies: Vec::new(),
        })
    }

    #[test]
    fn damaged_and_partial_secrets_are_recognized() {
        let own = own();
        let changed = SERVICE.replacen('9', "8", 1);
        for token in [
            SERVICE,
            &SERVICE[1..],
            &SERVICE[..40],
            &changed,
            &SERVICE.to_uppercase(),
            &format!("'{SERVICE}'"),
            &format!("SERVICE_AUTH_TOKEN={SERVICE}"),
            &format!("{SERVICE}{SERVICE}"),
            "the-service-token-before-it-9876",
            "ab-session-hash-secret-012345678",
            "ZmVybmV0LWtleS1vZi0zMi1ieXRlcy1mb3ItdGVzdHM",
            "tiny",
            "todo_0123",
            "TODO_0123",
            "'todo_0123'",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.abc=",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.abc.def",
        ] {
            assert!(own.resemble(token), "{token}");
        }
    }

    #[test]
    fn tokens_in_place_of_the_service_token() {
        let own = own();
        for (token, expected) in [
            (format!("\"{SERVICE}\""), "in quotes"),
            (SERVICE.to_uppercase(), "in capitals or small letters"),
            ("tiny".to_owned(), "JWT_SECRET"),
            (
                "ab-session-hash-secret-0123456789".to_owned(),
                "SESSION_HASH_SECRET",
            ),
            (SERVICE[..40].to_owned(), CUT_OR_MORE),
            ("Hk3Lq9.p+Q/w0==".to_owned(), ANOTHER),
        ] {
            let found = own.in_place_of_service_token(token.as_bytes());
            assert_eq!(found, expected, "{token}");
        }
    }

    #[test]
    fn strangers_are_not() {
        let own = own();
        for token in [
            "",
            "Hk3Lq9.p+Q/w0==",
            "mytodo_list",
            "5f0c1d2e3b4",
            "tiny2",
            "eyJhbGciOi.x",
            "Jx8dK2mZ0pQvR4tYw7uA1sLfG6hB3nCe.9rT5yU8iO2pW4qE7aS0dF1gH3jK6lZxM=",
        ] {
            assert!(!own.resemble(token), "{token}");
        }
    }
}
