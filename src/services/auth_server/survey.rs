//! What the auth server publishes, for diagnostics. No credentials are sent but a token that nobody
//! has.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::header::{CONTENT_ENCODING, COOKIE, DATE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::domain::Timestamp;
use crate::services::http_client::{self, HttpClient, HttpError};

use super::client::{CONNECT_LIMIT, LIMIT};
use super::key_set::{Unusable, trusted};
use super::keys::{MAX_BODY, PATH};
use super::sessions;

/// What operators write after the address of an auth server, although it belongs to the paths that
/// are asked.
const NEEDLESS: [&str; 4] = [PATH, sessions::PATH, "/api/auth", "/api"];

/// Where a server says how its tokens name it (`OpenID` Connect Discovery 1.0, section 4; RFC 8414,
/// section 3), also below better-auth's own path.
const METADATA: [&str; 3] = [
    "/.well-known/openid-configuration",
    "/api/auth/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
];

/// Nobody's token.
const NO_TOKEN: &str = "todoctl-doctor-asks-whether-you-answer";

/// What the auth server publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) keys: PublishedKeys,
    pub(crate) sessions: SessionAnswer,
    /// Another address of the same host, at which it publishes keys, where it publishes none here.
    pub(crate) elsewhere: Option<Url>,
    /// Where it redirects the question for keys: another address of the same host, no less encrypted.
    pub(crate) moved: Option<Url>,
    /// The `iss` of its tokens; `None` if it does not say.
    pub(crate) issuer: Option<String>,
    /// Its clock, to the second.
    pub(crate) time: Option<Timestamp>,
    /// How long it took for both answers.
    pub(crate) took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishedKeys {
    /// The number of keys that can verify tokens, what the others are, and whether one of them
    /// could verify tokens if it were not declared for something else.
    Set {
        usable: usize,
        ignored: Vec<String>,
        has_misdeclared: bool,
    },
    /// 404, as of a server that signs no tokens.
    None,
    /// 200, and no key set.
    NotAKeySet,
    /// 200, in this Content-Encoding, which was not asked for.
    Encoded(String),
    /// More than the daemon reads.
    TooLong,
    Status(u16),
}

/// How the server answers the question for the session of a token that nobody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionAnswer {
    /// As the daemon expects it, or 401.
    Understood,
    /// There is no such page: it issues no sessions, or has them elsewhere.
    Missing,
    /// 200, and neither `null` nor a session, for this reason.
    NotASession(String),
    Status(u16),
    Failed(String),
}

/// Asks the auth server at `base`, with the daemon's limits.
pub(crate) async fn survey(base: &Url) -> Result<Survey, HttpError> {
    let client = HttpClient::with_connect_limit(LIMIT, CONNECT_LIMIT)
        .map_err(|error| HttpError::Unreachable(error.to_string()))?;
    let get = |path: &str| client.send(client.get(http_client::join(base, path)));
    let started = Instant::now();
    // At once, because each may take as long as the daemon waits.
    let answers = async {
        let answers = tokio::join!(get(PATH), session_answer(&client, base));
        (answers, started.elapsed())
    };
    let pages = METADATA.map(|path| issuer_at(&client, base, path));
    let (((answer, sessions), took), issuers) = tokio::join!(answers, join_all(pages));
    let answer = answer?;
    let time = answer
        .headers()
        .get(DATE)
        .and_then(|value| time(value.to_str().ok()?));
    let moved = http_client::redirection(base, PATH, &answer);
    let moved = moved.filter(|to| to.is_safe).map(|to| to.base);
    let keys = match answer.status() {
        StatusCode::OK => match encoding(&answer) {
            Some(encoding) => PublishedKeys::Encoded(encoding),
            None => match client.body(answer, MAX_BODY).await {
                Ok(body) => published(&body),
                Err(HttpError::TooLong(_)) => PublishedKeys::TooLong,
                Err(error) => return Err(error),
            },
        },
        StatusCode::NOT_FOUND => PublishedKeys::None,
        status => PublishedKeys::Status(status.as_u16()),
    };
    let elsewhere = match &keys {
        PublishedKeys::Set { .. } => None,
        _ => {
            let others = moved.clone().into_iter().chain(without_path(base));
            first_with_keys(&client, others).await
        }
    };
    Ok(Survey {
        keys,
        sessions,
        elsewhere,
        moved,
        issuer: issuers.into_iter().flatten().next(),
        time,
        took,
    })
}

/// Whether the server at `base`, an address with http, speaks TLS there, whatever its certificate.
pub(crate) async fn speaks_tls(base: &Url) -> bool {
    let mut encrypted = base.clone();
    let Ok(client) = HttpClient::with_connect_limit(LIMIT, CONNECT_LIMIT) else {
        return false;
    };
    if encrypted.set_scheme("https").is_err() {
        return false;
    }
    let request = client.get(http_client::join(&encrypted, PATH));
    match client.send(request).await {
        Ok(_) => true,
        Err(error) => error.to_string().contains("certificate"),
    }
}

/// What the page says, which few servers have, and none has to.
async fn issuer_at(client: &HttpClient, base: &Url, path: &str) -> Option<String> {
    let request = client.get(http_client::join(base, path));
    let answer = client.send(request).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    issuer_in(&client.body(answer, MAX_BODY).await.ok()?)
}

async fn session_answer(client: &HttpClient, base: &Url) -> SessionAnswer {
    let mut request = client.get(http_client::join(base, sessions::PATH));
    // Without one, the server need not look it up.
    if let Ok(cookie) = sessions::cookie(NO_TOKEN) {
        request = request.header(COOKIE, cookie);
    }
    let answer = match client.send(request).await {
        Ok(answer) => answer,
        Err(error) => return SessionAnswer::Failed(error.to_string()),
    };
    match answer.status() {
        StatusCode::OK => {
            if let Some(encoding) = encoding(&answer) {
                return SessionAnswer::NotASession(format!("Content-Encoding is {encoding}"));
            }
            match client.body(answer, sessions::MAX_BODY).await {
                Ok(body) => match sessions::fault_of(&body) {
                    None => SessionAnswer::Understood,
                    Some(why) => SessionAnswer::NotASession(why.to_owned()),
                },
                Err(error) => SessionAnswer::Failed(error.to_string()),
            }
        }
        StatusCode::UNAUTHORIZED => SessionAnswer::Understood,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => SessionAnswer::Missing,
        status => SessionAnswer::Status(status.as_u16()),
    }
}

/// The encoding of an answer that is not plain, although the client accepts no other.
fn encoding(answer: &Response) -> Option<String> {
    let encoding = answer.headers().get(CONTENT_ENCODING)?.to_str().ok()?;
    let encoding: String = encoding.chars().take(20).collect();
    (!encoding.eq_ignore_ascii_case("identity")).then_some(encoding)
}

/// The base without what does not belong to its path, then without any path.
fn without_path(base: &Url) -> Vec<Url> {
    let path = base.path().trim_end_matches('/');
    let shorter = NEEDLESS.iter().filter_map(|end| path.strip_suffix(end));
    let mut paths: Vec<&str> = shorter.chain([""]).collect();
    paths.retain(|shorter| *shorter != path);
    paths.dedup();
    let with_path = |path| {
        let mut url = http_client::join(base, "");
        url.set_path(path);
        url
    };
    paths.into_iter().map(with_path).collect()
}

async fn first_with_keys(client: &HttpClient, bases: impl Iterator<Item = Url>) -> Option<Url> {
    for base in bases {
        let request = client.get(http_client::join(&base, PATH));
        if let Ok(answer) = client.send(request).await
            && answer.status() == StatusCode::OK
            && let Ok(body) = client.body(answer, MAX_BODY).await
            && matches!(published(&body), PublishedKeys::Set { usable: 1.., .. })
        {
            return Some(base);
        }
    }
    None
}

fn published(body: &[u8]) -> PublishedKeys {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let Ok(set) = serde_json::from_slice::<Set>(body) else {
        return PublishedKeys::NotAKeySet;
    };
    let faults = set
        .keys
        .into_iter()
        .map(|key| (kind(&key), trusted(key).err()));
    let (mut usable, mut ignored, mut has_misdeclared) = (0, Vec::new(), false);
    for (kind, fault) in faults {
        match fault {
            None => usable += 1,
            Some(Unusable::Kind) => ignored.push(kind),
            Some(fault) => {
                has_misdeclared |= matches!(fault, Unusable::Purpose | Unusable::Algorithm);
                ignored.push(format!("{kind}: {fault}"));
            }
        }
    }
    PublishedKeys::Set {
        usable,
        ignored,
        has_misdeclared,
    }
}

/// Type, curve and algorithm of a key, as far as they are plain words.
fn kind(key: &Value) -> String {
    let is_word = |text: &&str| {
        (1..=20).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let words: Vec<&str> = ["kty", "crv", "alg"]
        .iter()
        .filter_map(|name| key.get(name)?.as_str().filter(is_word))
        .collect();
    if words.is_empty() {
        "unknown".to_owned()
    } else {
        words.join(" ")
    }
}

/// Longer ones are no addresses of a server.
const LONGEST_ISSUER: usize = 100;

fn issuer_in(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
    }
    let Metadata { issuer } = serde_json::from_slice(body).ok()?;
    is_plain_address(&issuer).then_some(issuer)
}

/// Whether an issuer is an address without a secret.
pub(super) fn is_plain_address(issuer: &str) -> bool {
    Url::parse(issuer).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && issuer.len() <= LONGEST_ISSUER
            && issuer.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

/// RFC 9110, section 5.6.7.
fn time(text: &str) -> Option<Timestamp> {
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp::from(date.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn key_sets() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let body = json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "x": x },
            { "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" },
            { "kty": "oct", "k": "canary", "alg": "HS256" },
            { "kty": "<script>" },
            { "kty": "OKP", "crv": "Ed25519", "x": x, "use": "enc" },
        ] });
        let found = published(body.to_string().as_bytes());
        let ignored = [
            "EC P-384",
            "oct HS256",
            "unknown",
            "OKP Ed25519: its use or key_ops is not to verify signatures",
        ];
        let ignored = ignored.map(str::to_owned);
        let expected = PublishedKeys::Set {
            usable: 1,
            ignored: ignored.to_vec(),
            has_misdeclared: true,
        };
        assert_eq!(found, expected);
        assert_eq!(published(b"<html>"), PublishedKeys::NotAKeySet);
    }

    #[test]
    fn shorter_paths() {
        let of = |base: &str| {
            let urls = without_path(&Url::parse(base).unwrap());
            urls.into_iter().map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(of("http://auth:3001"), Vec::<String>::new());
        assert_eq!(of("http://auth:3001/api/auth/"), ["http://auth:3001/"]);
        assert_eq!(
            of("https://a/login/api/auth/jwks"),
            ["https://a/login", "https://a/"]
        );
        assert_eq!(of("https://a/login"), ["https://a/"]);
    }

    #[test]
    fn issuers_and_times() {
        let of = |issuer: &str| issuer_in(json!({ "issuer": issuer }).to_string().as_bytes());
        assert_eq!(
            of("https://auth.example.com/").as_deref(),
            Some("https://auth.example.com/")
        );
        for bad in [
            "",
            "auth",
            "https://a:canary@b/",
            "https://a/?canary",
            "ftp://a/",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        let at = time("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(at.unix_seconds(), 784_111_777);
    }
}
