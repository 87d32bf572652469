//! What the auth server publishes, for diagnostics. No credentials are sent.

use http::header::DATE;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::domain::Timestamp;
use crate::services::http_client::{self, HttpClient, HttpError};

use super::client::{CONNECT_LIMIT, LIMIT};
use super::keys::{MAX_BODY, PATH, trusted};

/// Answers `null` to a question without a session.
const SESSION: &str = "/api/auth/get-session";

/// Where a server says how its tokens name it (`OpenID` Connect Discovery 1.0, section 4; RFC 8414,
/// section 3), also below better-auth's own path.
const METADATA: [&str; 3] = [
    "/.well-known/openid-configuration",
    "/api/auth/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
];

/// What the auth server publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) keys: PublishedKeys,
    /// The `iss` of its tokens; `None` if it does not say.
    pub(crate) issuer: Option<String>,
    /// Its clock, to the second.
    pub(crate) time: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishedKeys {
    /// The number of keys that can verify tokens, and what the others are.
    Set {
        usable: usize,
        ignored: Vec<String>,
    },
    /// 404, as of a server that signs no tokens; whether it validates sessions.
    None {
        has_sessions: bool,
    },
    /// 200, and no key set.
    NotAKeySet,
    Status(u16),
}

/// Asks the auth server at `base`, with the daemon's limits.
pub(crate) async fn survey(base: &Url) -> Result<Survey, HttpError> {
    let client = HttpClient::with_connect_limit(LIMIT, CONNECT_LIMIT)
        .map_err(|error| HttpError::Unreachable(error.to_string()))?;
    let get = |path: &str| client.send(client.get(http_client::join(base, path)));
    let answer = get(PATH).await?;
    let time = answer
        .headers()
        .get(DATE)
        .and_then(|value| time(value.to_str().ok()?));
    let keys = match answer.status() {
        StatusCode::OK => published(&client.body(answer, MAX_BODY).await?),
        StatusCode::NOT_FOUND => {
            let status = get(SESSION).await?.status();
            PublishedKeys::None {
                has_sessions: matches!(status, StatusCode::OK | StatusCode::UNAUTHORIZED),
            }
        }
        status => PublishedKeys::Status(status.as_u16()),
    };
    let mut issuer = None;
    for path in METADATA {
        // Few servers have this page, and none has to.
        let Ok(answer) = get(path).await else { break };
        if answer.status() == StatusCode::OK
            && let Ok(body) = client.body(answer, MAX_BODY).await
            && let Some(found) = issuer_in(&body)
        {
            issuer = Some(found);
            break;
        }
    }
    Ok(Survey { keys, issuer, time })
}

fn published(body: &[u8]) -> PublishedKeys {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let Ok(set) = serde_json::from_slice::<Set>(body) else {
        return PublishedKeys::NotAKeySet;
    };
    let (usable, ignored): (Vec<Value>, Vec<Value>) = set
        .keys
        .into_iter()
        .partition(|key| trusted(key.clone()).is_some());
    PublishedKeys::Set {
        usable: usable.len(),
        ignored: ignored.iter().map(kind).collect(),
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

fn issuer_in(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
    }
    let Metadata { issuer } = serde_json::from_slice(body).ok()?;
    let url = Url::parse(&issuer).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && issuer.len() <= 200
        && issuer.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then_some(issuer)
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
        ] });
        let found = published(body.to_string().as_bytes());
        let ignored = ["EC P-384", "oct HS256", "unknown"].map(str::to_owned);
        let expected = PublishedKeys::Set {
            usable: 1,
            ignored: ignored.to_vec(),
        };
        assert_eq!(found, expected);
        assert_eq!(published(b"<html>"), PublishedKeys::NotAKeySet);
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
