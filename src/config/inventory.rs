//! Every variable with its effective value and where that comes from, safe to show.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{
    Audit, DatabaseTarget, Environment, Kind, Origin, Secret, SecretName, Source, VARIABLES,
    Variable, database_url, generated_secret_path,
};

/// One variable as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name, or the alias that is set.
    pub name: String,
    /// What may be shown of its value; `None` where it is not set and has no default.
    pub value: Option<String>,
    /// `option`, `environment`, `file`, `generated`, `default` or `unset`.
    pub source: &'static str,
    /// Whether the value is shown in part only.
    pub secret: bool,
}

/// A value's text, and whether it is the value itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The value.
    Plain(String),
    /// Something about it.
    About(String),
}

/// So that nobody looks a fingerprint up in a table of other hashes.
const FINGERPRINT_DOMAIN: &[u8] = b"todoctl config fingerprint 1\n";

/// The first 16 bits of a hash, to compare the secrets of two services with.
///
/// Of a random secret that says nothing: 16 of its 256 bits. Of a word out of a dictionary
/// it confirms a guess, so weak secrets have none.
#[must_use]
pub fn fingerprint(secret: &Secret) -> String {
    let digest = Sha256::new()
        .chain_update(FINGERPRINT_DOMAIN)
        .chain_update(secret.expose())
        .finalize();
    format!("{}…", hex::encode(&digest[..2]))
}

/// All variables, in the order of `.env.example`.
#[must_use]
pub fn inventory(source: &Source) -> Vec<Entry> {
    let audit = Audit::of(source);
    VARIABLES
        .iter()
        .map(|variable| entry(source, &audit, variable))
        .collect()
}

fn entry(source: &Source, audit: &Audit, variable: &Variable) -> Entry {
    let file = format!("{}_FILE", variable.name);
    let names = [Some(variable.name), variable.alias, Some(file.as_str())];
    let set = names
        .into_iter()
        .flatten()
        .find(|name| source.origin(name).is_some())
        .filter(|name| *name != file || variable.kind.has_file());
    let Some(name) = set else {
        return unset(source, audit, variable);
    };
    let origin = match source.origin(name) {
        Some(Origin::Option) => "option",
        Some(Origin::File) => "file",
        _ => "environment",
    };
    let named = |one: &str| one == name || one == variable.name || one == file;
    let faulty = audit.problems.iter().any(|one| named(&one.variable));
    let shown = if variable.kind == Kind::Secret {
        about_secret(audit, variable)
    } else if faulty {
        // What is not understood may be anything, a secret too.
        Shown::About("(not usable: todoctl config check)".to_owned())
    } else {
        of_text(source, variable, name)
    };
    let (value, secret) = match shown {
        Shown::Plain(text) => (text, false),
        Shown::About(text) => (text, true),
    };
    Entry {
        name: name.to_owned(),
        value: Some(value),
        source: origin,
        secret,
    }
}

fn about_secret(audit: &Audit, variable: &Variable) -> Shown {
    let known = audit
        .secrets
        .iter()
        .find(|(name, _)| *name == variable.name);
    Shown::About(match known {
        Some((_, secret)) => {
            let count = secret.expose().chars().count();
            match super::secrets::weakness(secret.expose()) {
                None => format!(
                    "set ({count} characters, fingerprint {})",
                    fingerprint(secret)
                ),
                Some(_) => format!("set ({count} characters, weak)"),
            }
        }
        None => "(not usable: todoctl config check)".to_owned(),
    })
}

fn of_text(source: &Source, variable: &Variable, name: &str) -> Shown {
    let text = if name.ends_with("_FILE") {
        let path = source.get(name).unwrap_or_default();
        super::source::read_secret_file(path).unwrap_or_default()
    } else {
        source.get(name).unwrap_or_default().to_owned()
    };
    match variable.kind {
        Kind::Plain | Kind::Secret => Shown::Plain(text),
        Kind::DatabaseUrl => match database_url::parse(&text) {
            Ok(parsed) => match parsed.value {
                DatabaseTarget::Sqlite(_) => Shown::Plain(parsed.value.redacted()),
                DatabaseTarget::Postgres(_) => Shown::About(parsed.value.redacted()),
            },
            Err(_) => Shown::About("(not usable: todoctl config check)".to_owned()),
        },
        Kind::Url | Kind::SecretUrl => bare_url(&text),
    }
}

/// Without user, password, query and fragment.
fn bare_url(text: &str) -> Shown {
    let Ok(mut url) = Url::parse(text) else {
        return Shown::About("(not usable: todoctl config check)".to_owned());
    };
    let whole = url.clone();
    // Both refuse only URLs without a host, which have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    let shown = url.to_string();
    if url == whole {
        Shown::Plain(shown)
    } else {
        Shown::About(shown)
    }
}

fn unset(source: &Source, audit: &Audit, variable: &Variable) -> Entry {
    let mut entry = Entry {
        name: variable.name.to_owned(),
        value: variable.default.map(str::to_owned),
        source: "default",
        secret: false,
    };
    match variable.name {
        "WORKERS" => entry.value = Some(audit.http.workers.to_string()),
        "CORS_ORIGINS" if audit.environment == Environment::Development => {
            let origins: Vec<&str> = audit.http.cors_origins.iter().map(String::as_str).collect();
            entry.value = Some(origins.join(","));
        }
        "DATABASE_URL" if source.origin("DATABASE_URL").is_none() => {
            entry.value = audit.target().map(DatabaseTarget::redacted);
        }
        "RESEND_API_URL" => entry.value = Some("https://api.resend.com".to_owned()),
        "GEMINI_API_URL" => {
            entry.value = Some("https://generativelanguage.googleapis.com".to_owned());
        }
        _ => {}
    }
    if entry.value.is_none() {
        entry.source = "unset";
    }
    let Some(name) = SecretName::ALL
        .into_iter()
        .find(|one| one.as_str() == variable.name)
    else {
        return entry;
    };
    if let Some(DatabaseTarget::Sqlite(file)) = audit.target()
        && name != SecretName::JwtSecret
    {
        entry.secret = true;
        if generated_secret_path(file, variable.name).exists() {
            let (Shown::About(text) | Shown::Plain(text)) = about_secret(audit, variable);
            entry.value = Some(text);
            entry.source = "generated";
        } else {
            entry.source = "default";
            entry.value = Some("(made at the first start)".to_owned());
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[(&str, &str)], name: &str) -> Entry {
        let source = Source::from_values(values.iter().copied());
        let entries = inventory(&source);
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
    fn secrets_are_told_about() {
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
