//! The client of a running daemon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use crate::config::HttpConfig;

use super::http_client::{ClientError, HttpClient, HttpError};

mod printable;
mod status;

use printable::{make_printable, printable};
pub use status::{
    CredentialStatus, DaemonStatus, DatabaseStatus, MailOutcome, MailStatus, PoolStatus,
    ProcessStatus, RefusalStatus, RequestFailure, RequestStatus, RouteFailures, ServiceStatus,
};

/// Larger than any answer of these routes.
const MAX_BODY: usize = 64 * 1024;

/// The answer of a health route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The answer's word about the database, such as `connected`.
    pub database: Option<String>,
}

impl HealthAnswer {
    /// Whether the status is 200; the body does not matter.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.status == StatusCode::OK.as_u16()
    }
}

/// Why the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Not a URL of the daemon.
    #[error("{0} is not an http or https URL, such as http://127.0.0.1:8000")]
    Url(String),
    /// No answer within the limit.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// No connection, a lost one, or an unexpected answer.
    #[error("{0}")]
    Unreachable(String),
    /// The client could not be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl From<HttpError> for DaemonError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::TimedOut(limit) => Self::TimedOut(limit),
            error => Self::Unreachable(error.to_string()),
        }
    }
}

/// The URL of a daemon with this configuration, for clients on the same machine.
#[must_use]
pub fn local_address(http: &HttpConfig) -> String {
    local_address_of(SocketAddr::new(http.host, http.port))
}

/// The URL of a listener at this address, for clients on the same machine.
#[must_use]
pub fn local_address_of(at: SocketAddr) -> String {
    format!("http://{}", reachable_at(at))
}

/// Where a client on the same machine connects to for a listener at this address.
#[must_use]
pub(crate) fn reachable_at(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(reachable(at.ip(), has_ipv6), at.port())
}

/// A client cannot connect to "all addresses". Where version 6 is off, a listener on `::` serves
/// version 4.
fn reachable(host: IpAddr, has_ipv6: impl FnOnce() -> bool) -> IpAddr {
    match host {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) if has_ipv6() => Ipv6Addr::LOCALHOST.into(),
        host if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        host => host,
    }
}

/// Whether this machine has the address `::1`.
fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The URL of `/health` below `base`; the URL of a health route stays as it is.
pub fn health_url(base: &str) -> Result<Url, DaemonError> {
    let mut url = Url::parse(base)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        // Not repeated, because an invalid URL may contain a password anywhere.
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

/// Asks the daemon at `base` for its status, within `limit`.
pub async fn status(base: &str, limit: Duration) -> Result<DaemonStatus, DaemonError> {
    let url = Url::parse(&format!("{}/status", base.trim_end_matches('/')))
        .map_err(|_| DaemonError::Url("the address".to_owned()))?;
    let (status, body) = get(url, limit).await?;
    if status != StatusCode::OK {
        let status = status.as_u16();
        return Err(DaemonError::Unreachable(format!(
            "GET /status answers {status}"
        )));
    }
    let mut status: DaemonStatus = serde_json::from_slice(&body).map_err(|_| {
        DaemonError::Unreachable("GET /status answers something else than a status".to_owned())
    })?;
    make_printable(&mut status);
    Ok(status)
}

/// Asks the health route at `url`, within `limit`.
pub async fn health(url: &Url, limit: Duration) -> Result<HealthAnswer, DaemonError> {
    let (status, body) = get(url.clone(), limit).await?;
    Ok(HealthAnswer {
        status: status.as_u16(),
        database: database_word(&body),
    })
}

/// The answer's status and body. A body that is too long or breaks off is empty: the status
/// alone is an answer.
async fn get(url: Url, limit: Duration) -> Result<(StatusCode, Vec<u8>), DaemonError> {
    let client = HttpClient::new(limit)?;
    let response = client.send(client.get(url)).await?;
    let status = response.status();
    let body = client.body(response, MAX_BODY).await;
    Ok((status, body.unwrap_or_default()))
}

fn database_word(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        database: String,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    Some(printable(&body.database))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const LIMIT: Duration = Duration::from_secs(5);

    /// Answers one request with `response` and closes the connection.
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
            keepalive: Duration::from_secs(75),
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::ZERO,
        }
    }

    #[test]
    fn the_default_address_can_be_called() {
        for (host, port, expected) in [
            ("127.0.0.1", 8000, "http://127.0.0.1:8000"),
            ("0.0.0.0", 80, "http://127.0.0.1:80"),
            ("10.1.2.3", 8000, "http://10.1.2.3:8000"),
            ("fd00::5", 8000, "http://[fd00::5]:8000"),
        ] {
            assert_eq!(local_address(&http(host, port)), expected);
        }
    }

    #[test]
    fn all_addresses_of_version_6() {
        let all = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        assert_eq!(reachable(all, || true), Ipv6Addr::LOCALHOST);
        assert_eq!(reachable(all, || false), Ipv4Addr::LOCALHOST);
        let one: IpAddr = "fd00::5".parse().unwrap();
        assert_eq!(reachable(one, || false), one);
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
            last_reminder_run: Some(7),
            ..DaemonStatus::default()
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
