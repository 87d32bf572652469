//! Fingerprints of settings, so that a running daemon's configuration can be compared with
//! another one without showing it.
//!
//! `GET /status` is as open as `/metrics`, so a fingerprint must tell nothing to somebody who only
//! reads it. A plain or salted hash would: many settings have few possible values, which can be
//! tried one by one. A key that the asker sends would not help, because then the asker can try
//! them. So the key is derived from `SESSION_HASH_SECRET`, which the daemon and the command that
//! compares both have, and nobody else. It is random and long, or there are no fingerprints.
//! Equal values have equal fingerprints as long as that secret stays; a reader without it learns
//! only whether a setting was changed.

use std::collections::BTreeMap;

use super::audit::Audit;
use super::inventory::set_name;
use super::reader::default_text;
use super::secret_name::SecretName;
use super::secret_text::read_secret_file;
use super::source::Source;
use super::strength::weakness;
use super::variable::Variable;
use super::variables::VARIABLES;

/// What the key is for (BLAKE3's `derive_key`).
const PURPOSE: &str = "todoctl 2026 fingerprints of settings";

/// How much of a hash is shown, in hexadecimal digits: chance makes two values equal once in 2^64.
const DIGITS: usize = 16;

/// Settings that may differ between a daemon and a command on the same machine.
const NOT_COMPARED: [&str; 5] = ["HOST", "PORT", "LOG_LEVEL", "LOG_FORMAT", "LOG_REQUESTS"];

/// By the name of the variable. Empty without a strong `SESSION_HASH_SECRET`.
pub type Fingerprints = BTreeMap<String, String>;

/// The fingerprints of the values in effect.
#[must_use]
pub(crate) fn fingerprints(source: &Source, audit: &Audit) -> Fingerprints {
    let secret = audit.own_secrets.current(SecretName::SessionHashSecret);
    let Some(secret) = secret.filter(|secret| weakness(secret.expose()).is_none()) else {
        return Fingerprints::new();
    };
    let key = blake3::derive_key(PURPOSE, secret.expose().as_bytes());
    let compared = VARIABLES
        .iter()
        .filter(|one| !NOT_COMPARED.contains(&one.name));
    let fingerprint = |variable: &&Variable| {
        let value = value(source, audit, variable)?;
        let text = format!("{}\0{value}", variable.name);
        let hash = blake3::keyed_hash(&key, text.as_bytes());
        Some((variable.name.to_owned(), hash.to_hex()[..DIGITS].to_owned()))
    };
    compared.filter_map(fingerprint).collect()
}

/// The text in effect; `None` where the variable is not set and has no default.
fn value(source: &Source, audit: &Audit, variable: &Variable) -> Option<String> {
    let own = SecretName::ALL
        .into_iter()
        .find(|name| name.as_str() == variable.name);
    if let Some(secret) = own.and_then(|name| audit.own_secrets.current(name)) {
        return Some(secret.expose().to_owned());
    }
    let Some(name) = set_name(source, variable) else {
        return default_text(variable, audit.environment).map(String::from);
    };
    let text = source.get(&name).unwrap_or_default();
    if variable.kind.has_file() && name == variable.file_name() {
        return read_secret_file(text.as_ref()).ok();
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a69780f1e2d3c4b5a6978";

    fn of(values: &[(&str, &str)]) -> Fingerprints {
        let database = ("DATABASE_URL", "postgresql://todo:canary@localhost/todo");
        let all = [&[database], values].concat();
        let source = Source::from_values(all);
        fingerprints(&source, &Audit::of(&source))
    }

    #[test]
    fn equal_values_have_equal_fingerprints() {
        let base = [("SESSION_HASH_SECRET", SECRET)];
        let one = of(&base);
        assert_eq!(
            one,
            of(&[
                base[0],
                ("PORT", "9000"),
                ("WORKERS", &one_of_default("WORKERS"))
            ])
        );
        let other = of(&[base[0], ("REQUEST_TIMEOUT_SECONDS", "7")]);
        let differing: Vec<&String> = one
            .keys()
            .filter(|name| one.get(*name) != other.get(*name))
            .collect();
        assert_eq!(differing, ["REQUEST_TIMEOUT_SECONDS"]);
    }

    fn one_of_default(name: &str) -> String {
        let variable = Variable::of(name).unwrap();
        default_text(variable, crate::config::Environment::Development)
            .unwrap()
            .into_owned()
    }

    /// Somebody without the secret cannot try values.
    #[test]
    fn another_key_makes_other_fingerprints() {
        let one = of(&[("SESSION_HASH_SECRET", SECRET)]);
        let other = of(&[("SESSION_HASH_SECRET", &SECRET.replace("0f", "f0"))]);
        assert_eq!(one.len(), other.len());
        assert!(one.iter().all(|(name, value)| other[name] != *value));
        assert_eq!(of(&[("SESSION_HASH_SECRET", "weak")]), Fingerprints::new());
        assert_eq!(of(&[]), Fingerprints::new());
    }
}
