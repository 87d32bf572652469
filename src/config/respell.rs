//! The spelling that todoctl reads, of a value in another one.

use std::borrow::Cow;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::bare_secret::{
    ENDS, TYPOGRAPHIC_QUOTES, bare_secret, cut, decoded, entry, is_of_generator,
};
use super::blanks_in_url::{is_blank, without_blanks};
use super::database_header::is_database;
use super::database_url;
use super::invisible;
use super::redis_address;
use super::secret_name::SecretName;
use super::strength::weakness;
use super::url_part::ENCODED;

/// Secrets that count as they are written, with what is around them, here and in other services.
const LITERAL: [SecretName; 3] = [
    SecretName::JwtSecret,
    SecretName::ServiceAuthToken,
    SecretName::SessionHashSecret,
];

/// A key that a provider has issued.
pub(super) const MAIL_KEY: &str = "RESEND_API_KEY";

/// The same value in the spelling that the variable `name` needs; `None` where the spelling is
/// right already, or the value cannot be recognized.
pub(crate) fn respelt(name: &str, value: &str) -> Option<String> {
    // Within a value that no program has made, some of them join letters.
    let is_secret = name == MAIL_KEY || LITERAL.iter().any(|one| one.as_str() == name);
    let visible = if is_secret {
        invisible::removed(value)
    } else {
        invisible::trimmed(value).to_owned()
    };
    let spelt = respelt_visible(name, &visible).unwrap_or(visible);
    let spelt = if name.ends_with("_URL") {
        spelt.trim_end_matches(ENDS).to_owned()
    } else {
        spelt
    };
    (spelt != value).then_some(spelt)
}

/// Whether the URL ends with a sign that is not a part of it.
pub(super) fn has_foreign_end(url: &str) -> bool {
    url.ends_with(ENDS)
}

fn respelt_visible(name: &str, value: &str) -> Option<String> {
    match name {
        "DATABASE_URL" | "DATABASE_URL_UNPOOLED" => database_url(value),
        "REDIS_URL" => redis_url(value),
        _ if name == SecretName::EncryptionKey.as_str() => fernet_key(value),
        _ if name == SecretName::EncryptionKey.previous() => fernet_keys(value),
        MAIL_KEY => {
            let is_key =
                |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
            let encoded = decoded(value).filter(|key| key.starts_with("re_"));
            let bare = encoded.unwrap_or_else(|| bare_secret(name, value).to_owned());
            let bare = bare.trim_end_matches(ENDS).to_owned();
            (bare != value && is_key(&bare)).then_some(bare)
        }
        _ => {
            let secret = LITERAL.into_iter().find(|one| one.as_str() == name)?;
            let is_usable = |text: &str| secret.fault(text).is_none() && weakness(text).is_none();
            let encoded = decoded(value).filter(|text| is_of_generator(text));
            let inner = encoded.or_else(|| entry(name, value));
            let bare = inner.unwrap_or_else(|| bare_secret(name, value).to_owned());
            let cut = cut(&bare).unwrap_or(bare);
            (cut != value && is_usable(&cut)).then_some(cut)
        }
    }
}

/// As [`respelt`], for the variables of which both spellings are one value. A secret without what is around
/// it is another one.
pub(crate) fn other_spelling(name: &str, value: &str) -> Option<String> {
    let is_literal = name == MAIL_KEY || LITERAL.iter().any(|one| one.as_str() == name);
    respelt(name, value).filter(|_| !is_literal)
}

/// Whether the sign is a quote, as a shell, a word processor or a web page writes it.
pub(super) fn is_quote(sign: char) -> bool {
    matches!(sign, '"' | '\'' | '`') || TYPOGRAPHIC_QUOTES.contains(&sign)
}

/// Whether typographic quotes are around the value.
pub(super) fn has_typographic_quotes(value: &str) -> bool {
    value.trim().starts_with(TYPOGRAPHIC_QUOTES) && value.trim().ends_with(TYPOGRAPHIC_QUOTES)
}

/// A list of keys, each in the right spelling; `None` if one of them cannot be recognized.
fn fernet_keys(value: &str) -> Option<String> {
    let is_right = |key: &str| SecretName::EncryptionKey.fault(key).is_none();
    let keys = value.split(',').map(|key| match key.trim() {
        key if is_right(key) => Some(key.to_owned()),
        key => fernet_key(key),
    });
    let list = keys.collect::<Option<Vec<String>>>()?.join(",");
    (list != value).then_some(list)
}

fn database_url(value: &str) -> Option<String> {
    if let Some(url) = file_url(value).or_else(|| decoded(value).filter(|url| url.contains("://")))
    {
        return database_url::parse(&url).is_ok().then_some(url);
    }
    let is_read = |text: &String| database_url::parse(text).is_ok();
    let bare = without_blanks(&bare_url(value));
    let encoded = encoded(&bare);
    [Some(bare), encoded]
        .into_iter()
        .flatten()
        .find(is_read)
        .filter(|found| found != value)
}

fn redis_url(value: &str) -> Option<String> {
    let is_read = |text: &String| redis_address::check(text).is_ok();
    if is_read(&value.to_owned()) {
        return None;
    }
    let pasted = redis_address::pasted(value);
    let doubled = value.split_once("://").map(|(_, rest)| rest);
    let doubled = doubled
        .filter(|rest| rest.contains("://"))
        .map(str::to_owned);
    let whole = pasted.as_deref().unwrap_or(value);
    let encoded = encoded(&without_blanks(&bare_url(whole)));
    [pasted.clone(), doubled, encoded]
        .into_iter()
        .flatten()
        .find(is_read)
}

/// The URL of a SQLite file that exists, from its path or from a URL as SQLite itself reads it
/// ("Uniform Resource Identifiers").
fn file_url(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(is_quote);
    let path = text.strip_prefix("file:").unwrap_or(text);
    let path = path.strip_prefix("//localhost").unwrap_or(path);
    let path = match path.strip_prefix("//") {
        Some(rest) => rest,
        None => path,
    };
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    is_database(Path::new(path)).then(|| {
        let parts: Vec<String> = path
            .split('/')
            .map(|part| utf8_percent_encode(part, ENCODED).to_string())
            .collect();
        format!("sqlite://{}", parts.join("/"))
    })
}

/// Without what is pasted together with a URL: the command psql, quotes, its own name.
fn bare_url(text: &str) -> String {
    let text = text
        .trim_matches(is_blank)
        .trim_start_matches('=')
        .trim_end_matches(ENDS);
    let text = text.strip_prefix("psql").map_or(text, str::trim);
    let text = text.trim_matches(is_quote);
    let text = match text.split_once('=') {
        Some((name, url)) if name.starts_with("DATABASE_URL") => url.trim().trim_matches(is_quote),
        _ => text,
    };
    text.strip_prefix("jdbc:").unwrap_or(text).to_owned()
}

/// With user and password percent-encoded: the user ends at the first colon, the password at
/// the last @. What is encoded already stays so.
fn encoded(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (credentials, address) = rest.rsplit_once('@')?;
    let part = |text: &str| {
        let plain = percent_decode_str(text).decode_utf8();
        let plain = plain.map_or_else(|_| text.to_owned(), Cow::into_owned);
        utf8_percent_encode(&plain, ENCODED).to_string()
    };
    let credentials = match credentials.split_once(':') {
        Some((user, password)) => format!("{}:{}", part(user), part(password)),
        None => part(credentials),
    };
    Some(format!("{scheme}://{credentials}@{address}"))
}

/// A Fernet key, which is 32 bytes in URL-safe base64, from standard base64, base64 without
/// padding, or hex.
fn fernet_key(value: &str) -> Option<String> {
    let name = SecretName::EncryptionKey;
    name.fault(value)?;
    if let Some(key) = decoded(value).filter(|key| name.fault(key).is_none()) {
        return Some(key);
    }
    let bare = value.trim().trim_matches(is_quote).trim();
    let bare = bare.trim_end_matches(ENDS);
    let bare = bare.trim_end_matches("\\n").trim_end_matches("\\r");
    let bare = bare
        .split_once('=')
        .filter(|(before, _)| *before == name.as_str())
        .map_or(bare, |(_, rest)| rest);
    let digits = bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X"));
    let from_hex = hex::decode(digits.unwrap_or(bare))
        .ok()
        .filter(|bytes| bytes.len() == 32);
    let bytes = from_hex.or_else(|| {
        [STANDARD, STANDARD_NO_PAD, URL_SAFE]
            .iter()
            .find_map(|engine| engine.decode(bare).ok())
    })?;
    let key = URL_SAFE.encode(&bytes);
    (bytes.len() == 32 && name.fault(&key).is_none()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_people_paste_them() {
        let right = "postgresql://u:p@h/d";
        for text in [
            "psql 'postgresql://u:p@h/d'",
            "\"postgresql://u:p@h/d\"",
            "DATABASE_URL=postgresql://u:p@h/d",
            "jdbc:postgresql://u:p@h/d",
            "cG9zdGdyZXNxbDovL3U6cEBoL2QK",
        ] {
            let found = respelt("DATABASE_URL", text);
            assert_eq!(found.as_deref(), Some(right), "{text}");
        }
        let found = respelt("DATABASE_URL", "postgresql://u:p@ss/w#r%d@h/d");
        assert_eq!(
            found.as_deref(),
            Some("postgresql://u:p%40ss%2Fw%23r%25d@h/d")
        );
        for text in [right, "mysql://u:p@h/d", "canary"] {
            assert_eq!(respelt("DATABASE_URL", text), None, "{text}");
        }
        for (text, expected) in [
            (
                "redis://:p@ss#1@h:6379/0",
                Some("redis://:p%40ss%231@h:6379/0"),
            ),
            ("rediss://u:p/?w@h", Some("rediss://u:p%2F%3Fw@h")),
            (
                "redis-cli --tls -u redis://u:p@ss@h:6379",
                Some("rediss://u:p@ss@h:6379"),
            ),
            ("redis-cli -u 'redis://u:p#s@h'", Some("redis://u:p%23s@h")),
            ("redis://:p%40ss@h:6379/0", None),
            ("redis://h:6379/0", None),
        ] {
            assert_eq!(respelt("REDIS_URL", text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn paths_of_sqlite_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("my todo.db");
        let path = file.display().to_string();
        let found = |text: &str| respelt("DATABASE_URL", text);
        assert_eq!(found(&path), None);
        std::fs::write(&file, [&b"SQLite format 3\0"[..], &[0; 84]].concat()).unwrap();
        let right = format!("sqlite://{}", path.replace(' ', "%20"));
        for text in [
            path.clone(),
            format!("file:{path}"),
            format!("file://{path}"),
            format!("file:{path}?mode=rw"),
            format!("\"{path}\""),
        ] {
            assert_eq!(found(&text), Some(right.clone()), "{text}");
        }
        let parsed = database_url::parse(&right).unwrap().value;
        let database_url::DatabaseTarget::Sqlite(target) = parsed else {
            panic!("not SQLite");
        };
        assert_eq!(target.path, file);
    }

    #[test]
    fn keys_in_other_spellings() {
        let bytes = [0xfb; 32];
        let right = URL_SAFE.encode(bytes);
        for text in [
            STANDARD.encode(bytes),
            STANDARD_NO_PAD.encode(bytes),
            hex::encode(bytes),
            hex::encode_upper(bytes),
            format!("0x{}", hex::encode(bytes)),
            format!("\"{right}\""),
            format!("{right}\\n"),
        ] {
            let found = respelt("ENCRYPTION_KEY", &text);
            assert_eq!(found.as_ref(), Some(&right), "{text}");
        }
        for text in [right.as_str(), "short", "change-me"] {
            assert_eq!(respelt("ENCRYPTION_KEY", text), None, "{text}");
        }
        assert_eq!(respelt("JWT_SECRET", "'x'"), None);
        let secret = "5f0c1d2e3b4a59687786958493a2b1c0";
        for text in [
            format!("{secret}\\n"),
            format!("{secret}\\r\\n"),
            format!("\u{feff}{secret}"),
            format!("JWT_SECRET={secret}"),
            format!("export JWT_SECRET={secret}"),
            format!("Bearer {secret}\\n"),
            format!("\u{201c}{secret}\u{201d}"),
            format!("JWT_SECRET=\u{201e}{secret}\u{201c}"),
            format!("{secret};"),
            format!("={secret}"),
            format!("{secret}#old"),
            format!("{} {}", &secret[..16], &secret[16..]),
        ] {
            assert_eq!(respelt("JWT_SECRET", &text).as_deref(), Some(secret));
        }
        for name in [
            "SESSION_HASH_SECRET",
            "SERVICE_AUTH_TOKEN",
            "RESEND_API_KEY",
        ] {
            let found = respelt(name, &format!("\u{ab}{secret}\u{bb}\\n"));
            assert_eq!(found.as_deref(), Some(secret), "{name}");
        }
        let twice = STANDARD.encode(format!("{secret}{secret}"));
        let found = respelt("SERVICE_AUTH_TOKEN", &twice);
        assert_eq!(found, Some(secret.repeat(2)));
        assert_eq!(
            respelt("ENCRYPTION_KEY", &STANDARD.encode(format!("{right}\n"))),
            Some(right.clone())
        );
        assert_eq!(
            respelt("RESEND_API_KEY", &STANDARD.encode("re_0123456789abcdef")).as_deref(),
            Some("re_0123456789abcdef")
        );
        // A passphrase in base64 is a secret of its own.
        let phrase = STANDARD.encode("correct-horse-battery-staple-and-more");
        assert_eq!(respelt("JWT_SECRET", &phrase), None);
        assert_eq!(respelt("JWT_SECRET", &STANDARD.encode([7; 32])), None);
        for text in ["re_0123", "\u{201c}re 0123\u{201d}", "\u{201c}\u{201d}"] {
            assert_eq!(respelt("RESEND_API_KEY", text), None, "{text}");
        }
        for text in [secret, "short\\n"] {
            assert_eq!(respelt("JWT_SECRET", text), None, "{text}");
        }
        let list = format!("{right},{}", hex::encode(bytes));
        assert_eq!(
            respelt("ENCRYPTION_KEY_PREVIOUS", &list),
            Some(format!("{right},{right}"))
        );
        for text in [right.clone(), format!("{right},short")] {
            assert_eq!(respelt("ENCRYPTION_KEY_PREVIOUS", &text), None, "{text}");
        }
    }
}
