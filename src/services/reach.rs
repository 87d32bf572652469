//! Whether a service can be reached, without asking it for anything.
//!
//! No credentials are sent: a service that wants some is there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::config::Secret;

use super::innermost;

/// Redis, "Protocol specification": a command as a line of its own.
const PING: &[u8] = b"PING\r\n";

/// Redis listens here when its URL has no port.
const REDIS_PORT: u16 = 6379;

/// Why a service cannot be reached. Never holds a part of its URL but the host.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// Nothing came in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// No connection, or none that holds.
    #[error("{0}")]
    Unreachable(String),
    /// Something else answers there.
    #[error("what answers there is not {0}")]
    SomethingElse(&'static str),
}

/// Asks for `url` once and returns the HTTP status, whatever it is.
pub async fn http(url: &Url, limit: Duration) -> Result<u16, ReachError> {
    let named = |error: reqwest::Error| {
        if error.is_timeout() {
            ReachError::TimedOut(limit)
        } else {
            ReachError::Unreachable(innermost(&error.without_url()))
        }
    };
    let client = super::http_client()
        .map_err(|error| ReachError::Unreachable(error.to_string()))?
        .timeout(limit)
        .build()
        .map_err(named)?;
    let mut bare = url.clone();
    // Both refuse only URLs without a host, and such a one cannot be asked anyway.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    let answer = client.get(bare).send().await.map_err(named)?;
    Ok(answer.status().as_u16())
}

/// What Redis says to a client that has not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisAnswer {
    /// It serves anybody.
    Open,
    /// It wants a password first.
    WantsPassword,
}

/// Sends one PING to the Redis at `url`.
pub async fn redis(url: &Secret, limit: Duration) -> Result<RedisAnswer, ReachError> {
    let unusable = || ReachError::Unreachable("REDIS_URL cannot be taken apart".to_owned());
    let url = Url::parse(url.expose()).map_err(|_| unusable())?;
    let host = url.host_str().ok_or_else(unusable)?.to_owned();
    let port = url.port().unwrap_or(REDIS_PORT);
    let lost = |error: std::io::Error| ReachError::Unreachable(error.to_string());
    let work = async {
        let plain = host.trim_matches(['[', ']']);
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((plain, port))
            .await
            .map_err(lost)?
            .collect();
        let stream = TcpStream::connect(&addresses[..]).await.map_err(lost)?;
        if url.scheme() != "rediss" {
            return ping(stream).await;
        }
        let name = ServerName::try_from(plain.to_owned()).map_err(|_| unusable())?;
        let tls =
            super::tls_client().map_err(|error| ReachError::Unreachable(error.to_string()))?;
        let stream = TlsConnector::from(Arc::new(tls))
            .connect(name, stream)
            .await
            .map_err(lost)?;
        ping(stream).await
    };
    timeout(limit, work)
        .await
        .unwrap_or(Err(ReachError::TimedOut(limit)))
}

async fn ping(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<RedisAnswer, ReachError> {
    let lost = |error: std::io::Error| ReachError::Unreachable(error.to_string());
    stream.write_all(PING).await.map_err(lost)?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await.map_err(lost)?;
    match &answer[..length] {
        text if text.starts_with(b"+PONG") => Ok(RedisAnswer::Open),
        text if text.starts_with(b"-NOAUTH") => Ok(RedisAnswer::WantsPassword),
        // Loading, or protected: it is Redis all the same.
        text if text.starts_with(b"-LOADING") => Ok(RedisAnswer::Open),
        _ => Err(ReachError::SomethingElse("Redis")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says `answer` to whoever comes, after having read something.
    async fn peer(answer: &'static [u8]) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        at
    }

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn what_redis_says() {
        for (answer, expected) in [
            (&b"+PONG\r\n"[..], RedisAnswer::Open),
            (
                b"-NOAUTH Authentication required.\r\n",
                RedisAnswer::WantsPassword,
            ),
        ] {
            let url = Secret::new(format!("redis://:canary@{}/0", peer(answer).await));
            assert_eq!(redis(&url, LIMIT).await.unwrap(), expected);
        }
        let url = Secret::new(format!(
            "redis://{}/0",
            peer(b"HTTP/1.1 400 \r\n\r\n").await
        ));
        let error = redis(&url, LIMIT).await.unwrap_err();
        assert!(
            matches!(error, ReachError::SomethingElse("Redis")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn any_status_is_an_answer() {
        let at = peer(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        let url = Url::parse(&format!("http://ops:canary@{at}/")).unwrap();
        assert_eq!(http(&url, LIMIT).await.unwrap(), 404);
    }
}
