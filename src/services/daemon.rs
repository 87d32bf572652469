//! The daemon, seen from outside: what a probe asks it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use crate::config::HttpConfig;

use super::innermost;

mod status;

pub use status::{DaemonStatus, MailStatus, PoolStatus};

/// More than any answer of these routes has.
const MAX_BODY: usize = 64 * 1024;

/// Longer than any word in these answers.
const MAX_WORD: usize = 100;

/// What the daemon answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthAnswer {
    /// The HTTP status.
    pub status: u16,
    /// What it says about its database, if it says anything.
    pub database: Option<String>,
}

impl HealthAnswer {
    /// Only 200 is healthy; what the body says does not matter.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.status == StatusCode::OK.as_u16()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The address is not one that can be asked.
    #[error("{0} is not an http or https URL, such as http://127.0.0.1:8000")]
    Url(String),
    /// Nothing came in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// No connection, or none that holds.
    #[error("{0}")]
    Unreachable(String),
    /// The client itself could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

/// The address at which a daemon with this configuration is reached from its own machine.
#[must_use]
pub fn local_address(http: &HttpConfig) -> String {
    local_address_of(SocketAddr::new(http.host, http.port))
}

/// The same for any address that is listened on.
#[must_use]
pub fn local_address_of(at: SocketAddr) -> String {
    // Listening on "all addresses" is not an address that can be called.
    let host = match at.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    format!("http://{}", SocketAddr::new(host, at.port()))
}

/// The health route below `base`; an address of a health route is kept as it is.
pub fn health_url(base: &str) -> Result<Url, DaemonError> {
    let mut url = Url::parse(base)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        // Not repeated: what cannot be parsed may hold a password at any place.
        .ok_or_else(|| DaemonError::Url("the address".to_owned()))?;
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    if ["/health", "/health/live", "/health/ready"]
        .iter()
        .any(|end| path.ends_with(end))
    {
        url.set_path(&path);
    } else {
        url.set_path(&format!("{path}/health"));
    }
    Ok(url)
}

/// Asks the daemon at `base` for its status, within `limit` for everything.
pub async fn status(base: &str, limit: Duration) -> Result<DaemonStatus, DaemonError> {
    let url = Url::parse(&format!("{}/status", base.trim_end_matches('/')))
        .map_err(|_| DaemonError::Url("the address".to_owned()))?;
    let (status, body) = get(&url, limit, MAX_BODY).await?;
    if status != StatusCode::OK.as_u16() {
        return Err(DaemonError::Unreachable(format!(
            "GET /status answers {status}"
        )));
    }
    let mut status: DaemonStatus = serde_json::from_slice(&body).map_err(|_| {
        DaemonError::Unreachable("GET /status answers something else than a status".to_owned())
    })?;
    status.version = printable(&status.version);
    for pool in &mut status.pools {
        pool.name = printable(&pool.name);
    }
    Ok(status)
}

/// Asks `url` once, within `limit` for everything.
pub async fn health(url: &Url, limit: Duration) -> Result<HealthAnswer, DaemonError> {
    let (status, body) = get(url, limit, MAX_BODY).await?;
    Ok(HealthAnswer {
        status,
        database: database_word(&body),
    })
}

/// The status, and the body unless it is longer than `max`.
async fn get(url: &Url, limit: Duration, max: usize) -> Result<(u16, Vec<u8>), DaemonError> {
    let client = super::http_client()
        .map_err(|error| DaemonError::Client(error.to_string()))?
        .timeout(limit)
        .build()
        .map_err(|error| DaemonError::Client(innermost(&error)))?;
    let named = |error: reqwest::Error| {
        if error.is_timeout() {
            DaemonError::TimedOut(limit)
        } else {
            DaemonError::Unreachable(innermost(&error.without_url()))
        }
    };
    let mut response = client.get(url.clone()).send().await.map_err(named)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    // The status is the answer: a body that breaks off or never ends takes nothing from it.
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > max {
            body.clear();
            break;
        }
    }
    Ok((status, body))
}

fn database_word(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        database: String,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    Some(printable(&body.database))
}

/// The text without control characters, shortened: it goes to a terminal, and may come from any
/// program that listens there.
fn printable(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    plain.take(MAX_WORD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const LIMIT: Duration = Duration::from_secs(5);

    /// Answers one request with `response`, after which it hangs up.
    async fn server(response: &'static str) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(response.as_bytes()).await;
        });
        health_url(&format!("http://{at}")).unwrap()
    }

    fn http(host: &str, port: u16) -> HttpConfig {
        HttpConfig {
            host: host.parse().unwrap(),
            port,
            workers: 1,
            cors_origins: std::collections::BTreeSet::new(),
            request_timeout: Duration::ZERO,
            max_body_bytes: 1,
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::ZERO,
        }
    }

    #[test]
    fn the_default_address_can_be_called() {
        for (host, port, expected) in [
            ("127.0.0.1", 8000, "http://127.0.0.1:8000"),
            ("0.0.0.0", 80, "http://127.0.0.1:80"),
            ("::", 8000, "http://[::1]:8000"),
            ("10.1.2.3", 8000, "http://10.1.2.3:8000"),
            ("fd00::5", 8000, "http://[fd00::5]:8000"),
        ] {
            assert_eq!(local_address(&http(host, port)), expected);
        }
    }

    #[test]
    fn bases_and_health_addresses() {
        for (base, expected) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/health"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/health"),
            (
                "https://example.com/todo/",
                "https://example.com/todo/health",
            ),
            ("https://example.com/health", "https://example.com/health"),
            ("https://example.com/health/", "https://example.com/health"),
            (
                "https://example.com/health/ready",
                "https://example.com/health/ready",
            ),
            (
                "https://example.com/unhealth",
                "https://example.com/unhealth/health",
            ),
            ("http://[::1]:8000", "http://[::1]:8000/health"),
        ] {
            assert_eq!(health_url(base).unwrap().as_str(), expected);
        }
        for base in [
            "",
            "localhost:8000",
            "127.0.0.1",
            "ftp://example.com",
            "http://",
        ] {
            assert!(health_url(base).is_err(), "{base:?}");
        }
    }

    #[tokio::test]
    async fn answers() {
        let url = server(
            "HTTP/1.1 200 OK\r\ncontent-length: 44\r\n\r\n{\"status\": \"healthy\", \"database\": \"conn\\u001b\"}",
        )
        .await;
        let answer = health(&url, LIMIT).await.unwrap();
        assert!(answer.is_healthy());

        let url = server(
            "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n{\"database\": \"dis\\u001bconnected\"}",
        )
        .await;
        let answer = health(&url, LIMIT).await.unwrap();
        assert!(!answer.is_healthy());
        assert_eq!(answer.status, 503);
        assert_eq!(answer.database.as_deref(), Some("disconnected"));
    }

    #[tokio::test]
    async fn a_status_is_read() {
        let url = server(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"version\":\"1\\u001b.0\",\"pools\":[],\"mails\":null,\"last_reminder_run\":7}",
        )
        .await;
        let base = url.origin().ascii_serialization();
        let expected = DaemonStatus {
            version: "1.0".to_owned(),
            pools: Vec::new(),
            mails: None,
            last_reminder_run: Some(7),
        };
        assert_eq!(status(&base, LIMIT).await.unwrap(), expected);

        for answer in [
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull",
        ] {
            let base = server(answer).await.origin().ascii_serialization();
            let error = status(&base, LIMIT).await.unwrap_err();
            assert!(
                error.to_string().starts_with("GET /status answers "),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let url =
            server("HTTP/1.1 302 Found\r\nlocation: /docs\r\ncontent-length: 0\r\n\r\n").await;
        let answer = health(&url, LIMIT).await.unwrap();
        assert_eq!(answer.status, 302);
        assert!(!answer.is_healthy());
    }

    #[tokio::test]
    async fn silence_ends_in_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let url = health_url(&format!("http://{at}")).unwrap();
        let limit = Duration::from_millis(50);
        let error = health(&url, limit).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 50ms");
        drop(listener);
        let error = health(&url, LIMIT).await.unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }

    #[tokio::test]
    async fn https_is_spoken() {
        let mut url = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        url.set_scheme("https").unwrap();
        // A plain answer is no TLS answer.
        let error = health(&url, LIMIT).await.unwrap_err();
        assert!(matches!(error, DaemonError::Unreachable(_)), "{error:?}");
    }
}
