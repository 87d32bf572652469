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
    CredentialStatus, DaemonStatus, DatabaseStatus, MailOutcome, MailStatus, PageStatus,
    PoolStatus, ProcessStatus, RefusalStatus, RequestFailure, RequestStatus, RouteFailures,
    ServiceStatus,
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
mod tests;
