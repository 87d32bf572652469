//! Every variable with its effective value and where that comes from, safe to show.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::audit::Audit;
use super::database::DATABASE_URL;
use super::database_url::{self, DatabaseTarget};
use super::generated;
use super::reader::default_text;
use super::redis_address;
use super::secret::Secret;
use super::secret_text::read_secret_file;
use super::source::{Origin, Source};
use super::strength::weakness;
use super::variable::{Kind, Variable};
use super::variables::VARIABLES;

/// One variable as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name, or the alias that is set.
    pub name: String,
    /// What may be shown of its value; `None` where it is not set and has no default.
    pub value: Option<String>,
    /// `option`, `environment`, `file`, `generated`, `default` or `unset`.
    pub source: &'static str,
    /// Whether `value` describes the value instead of being it.
    pub secret: bool,
}

/// What may be shown of a value.
enum Shown {
    Value(String),
    Description(String),
}

const UNUSABLE: &str = "(not usable: todoctl config check)";

/// All variables, in the order of `.env.example`.
#[must_use]
pub fn inventory(source: &Source, audit: &Audit) -> Vec<Entry> {
    let entry = |variable: &&Variable| match set_name(source, variable) {
        Some(name) => set(source, audit, variable, &name),
        None => unset(audit, variable),
    };
    VARIABLES.iter().map(entry).collect()
}

/// The name under which a variable is set: its own, its alias or `NAME_FILE`.
pub(super) fn set_name(source: &Source, variable: &Variable) -> Option<String> {
    let file = variable.kind.has_file().then(|| variable.file_name());
    let mut names = variable.names().map(str::to_owned).chain(file);
    names.find(|name| source.origin(name).is_some())
}

fn set(source: &Source, audit: &Audit, variable: &Variable, name: &str) -> Entry {
    let has_problem = audit.problems.iter().any(|problem| {
        let wrong = problem.variable.as_str();
        wrong == name || wrong == variable.name || wrong == variable.file_name()
    });
    let shown = if variable.kind == Kind::Secret {
        Shown::Description(describe_secret(audit, variable))
    } else if has_problem {
        // A value that is not understood may be anything, even a secret.
        Shown::Description(UNUSABLE.to_owned())
    } else {
        let text = source.get(name).unwrap_or_default();
        if name == variable.file_name() {
            let text = read_secret_file(text.as_ref()).unwrap_or_default();
            without_secrets(variable, text)
        } else {
            without_secrets(variable, text.to_owned())
        }
    };
    let (value, secret) = match shown {
        Shown::Value(text) => (text, false),
        Shown::Description(text) => (text, true),
    };
    Entry {
        name: name.to_owned(),
        value: Some(value),
        source: match source.origin(name) {
            Some(Origin::Option) => "option",
            Some(Origin::File) => "file",
            Some(Origin::Environment) | None => "environment",
        },
        secret,
    }
}

fn unset(audit: &Audit, variable: &Variable) -> Entry {
    let mut entry = Entry {
        name: variable.name.to_owned(),
        value: default_text(variable, audit.environment).map(String::from),
        source: "default",
        secret: false,
    };
    if variable.name == DATABASE_URL.variable.name {
        entry.value = audit.target().map(DatabaseTarget::redacted);
    } else if is_generated(audit, variable) {
        entry.value = Some(describe_secret(audit, variable));
        entry.source = "generated";
        entry.secret = true;
    } else if is_missing(audit, variable) {
        entry.value = Some("(generated at the first start)".to_owned());
        entry.secret = true;
    }
    if entry.value.is_none() {
        entry.source = "unset";
    }
    entry
}

fn is_generated(audit: &Audit, variable: &Variable) -> bool {
    let Some(DatabaseTarget::Sqlite(file)) = audit.target() else {
        return false;
    };
    let path = generated::path(file, variable.name);
    audit.secret_files.contains(&path)
}

fn is_missing(audit: &Audit, variable: &Variable) -> bool {
    let mut missing = audit.missing_secrets().iter();
    missing.any(|secret| secret.as_str() == variable.name)
}

fn describe_secret(audit: &Audit, variable: &Variable) -> String {
    let mut known = audit.secrets.iter();
    let Some((_, secret)) = known.find(|(name, _)| *name == variable.name) else {
        return UNUSABLE.to_owned();
    };
    let count = secret.expose().chars().count();
    match weakness(secret.expose()) {
        None => format!(
            "set ({count} characters, fingerprint {})",
            fingerprint(secret)
        ),
        Some(_) => format!("set ({count} characters, weak)"),
    }
}

/// Part of what is hashed, so that a fingerprint is not found in tables of other hashes.
const FINGERPRINT_DOMAIN: &[u8] = b"todoctl config fingerprint 1\n";

/// The first 16 bits of a hash, to compare the secrets of two services.
///
/// They do not help to find the other 240 bits of a random secret. They would confirm a guess
/// of a weak one, so weak secrets have no fingerprint.
fn fingerprint(secret: &Secret) -> String {
    let digest = Sha256::new()
        .chain_update(FINGERPRINT_DOMAIN)
        .chain_update(secret.expose())
        .finalize();
    format!("{}…", hex::encode(&digest[..2]))
}

fn without_secrets(variable: &Variable, text: String) -> Shown {
    match variable.kind {
        Kind::Plain => Shown::Value(text),
        Kind::Secret => Shown::Description(UNUSABLE.to_owned()),
        // Where a password is not encoded, a part of it takes the place of the host.
        Kind::SecretUrl if redis_address::check(&text).is_err() => {
            Shown::Description(UNUSABLE.to_owned())
        }
        Kind::Url | Kind::SecretUrl => bare_url(&text),
        Kind::DatabaseUrl => match database_url::parse(&text) {
            Ok(parsed) => match parsed.value {
                DatabaseTarget::Sqlite(_) => Shown::Value(parsed.value.redacted()),
                DatabaseTarget::Postgres(_) => Shown::Description(parsed.value.redacted()),
            },
            Err(_) => Shown::Description(UNUSABLE.to_owned()),
        },
    }
}

/// Without user, password, query and fragment.
fn bare_url(text: &str) -> Shown {
    let Ok(mut url) = Url::parse(text) else {
        return Shown::Description(UNUSABLE.to_owned());
    };
    let whole = url.clone();
    // Both fail only for URLs without a host, which have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    let shown = url.to_string();
    if url == whole {
        Shown::Value(shown)
    } else {
        Shown::Description(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[(&str, &str)], name: &str) -> Entry {
        let source = Source::from_values(values.iter().copied());
        let entries = inventory(&source, &Audit::of(&source));
        assert_eq!(entries.len(), VARIABLES.len());
        entries.into_iter().find(|one| one.name == name).unwrap()
    }

    #[test]
    fn values_and_sources() {
        let port = shown(&[], "PORT");
        assert_eq!(
            (port.value.as_deref(), port.source),
            (Some("8000"), "default")
        );
        let port = shown(&[("PORT", "9000")], "PORT");
        assert_eq!(
            (port.value.as_deref(), port.source),
            (Some("9000"), "environment")
        );
        let alias = shown(&[("DB_POOL_SIZE", "3")], "DB_POOL_SIZE");
        assert_eq!(alias.value.as_deref(), Some("3"));
    }

    #[test]
    fn secrets_are_described() {
        let secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
        let entry = shown(&[("JWT_SECRET", secret)], "JWT_SECRET");
        let text = entry.value.unwrap();
        assert!(
            text.starts_with("set (64 characters, fingerprint "),
            "{text}"
        );
        assert_eq!(
            fingerprint(&Secret::new(secret)),
            fingerprint(&Secret::new(secret))
        );
        assert_ne!(
            fingerprint(&Secret::new(secret)),
            fingerprint(&Secret::new("x"))
        );
        let weak = shown(&[("JWT_SECRET", "hunter2")], "JWT_SECRET");
        assert_eq!(weak.value.as_deref(), Some("set (7 characters, weak)"));
    }

    #[test]
    fn urls_lose_their_secrets() {
        let url = "postgresql://todo:canary@db:5432/todo";
        for (name, value) in [
            ("DATABASE_URL", url),
            ("DATABASE_URL", "postgresql://todo:canary@db@x/todo"),
            ("REDIS_URL", "redis://:canary@redis:6379/0"),
            ("REDIS_URL", "redis://:p@canary#1@redis:6379/0"),
            (
                "AUTH_SERVER_URL",
                "https://ops:canary@auth.example.com/?key=canary",
            ),
            ("PORT", "canary"),
        ] {
            let entry = shown(&[(name, value)], name);
            assert!(!format!("{entry:?}").contains("canary"), "{entry:?}");
        }
    }
}
