//! Whether Redis is reachable. No credentials are sent, so an answer that refuses the request
//! counts as reachable.

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
use crate::services::tls;

use super::tls::{is_certificate_error, is_no_tls};

/// Redis, "Protocol specification": an inline command.
const PING: &[u8] = b"PING\r\n";

/// The default of a URL without a port.
const REDIS_PORT: u16 = 6379;

/// Why a service is not reachable. Never contains its URL.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// No answer within the limit.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// No connection, or a lost one.
    #[error("{0}")]
    Unreachable(String),
    /// The answer is not that of the expected service.
    #[error("what answers there is not {0}")]
    SomethingElse(&'static str),
    /// The server speaks TLS, and the URL says that it does not.
    #[error("the server speaks TLS, and REDIS_URL begins with redis://")]
    NeedsTls,
    /// The URL says that the server speaks TLS.
    #[error("the server does not speak TLS, and REDIS_URL begins with rediss://")]
    NoTls,
}

/// How Redis answers a client that has not logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAnswer {
    /// It accepts commands.
    Open,
    /// It requires a password.
    RequiresPassword,
    /// It refuses the connection, with these words.
    Refuses(String),
}

/// Sends one PING to the Redis at `url`.
pub async fn redis(url: &Secret, limit: Duration) -> Result<RedisAnswer, ReachError> {
    let unusable = || ReachError::Unreachable("REDIS_URL is not a valid URL".to_owned());
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
        let connect = || async { TcpStream::connect(&addresses[..]).await.map_err(lost) };
        let name = ServerName::try_from(plain.to_owned()).map_err(|_| unusable())?;
        let tls =
            tls::client_config().map_err(|error| ReachError::Unreachable(error.to_string()))?;
        let tls = TlsConnector::from(Arc::new(tls));
        if url.scheme() == "rediss" {
            return match timeout(limit / 2, tls.connect(name, connect().await?)).await {
                Ok(Ok(stream)) => ping(stream).await,
                Ok(Err(error)) if is_no_tls(&error) => Err(ReachError::NoTls),
                Ok(Err(error)) => Err(lost(error)),
                // Redis without TLS takes most handshakes for the begin of a line, and waits for
                // its end.
                Err(_) => match ping(connect().await?).await {
                    Ok(_) => Err(ReachError::NoTls),
                    Err(_) => Err(ReachError::TimedOut(limit)),
                },
            };
        }
        match ping(connect().await?).await {
            // A server that waits for a TLS handshake takes a PING for a broken one.
            Err(error) => Err(match tls.connect(name, connect().await?).await {
                Ok(_) => ReachError::NeedsTls,
                Err(failed) if is_certificate_error(&failed) => ReachError::NeedsTls,
                Err(_) => error,
            }),
            answer => answer,
        }
    };
    timeout(limit, work)
        .await
        .unwrap_or(Err(ReachError::TimedOut(limit)))
}

async fn ping(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<RedisAnswer, ReachError> {
    let lost = |error: std::io::Error| ReachError::Unreachable(error.to_string());
    stream.write_all(PING).await.map_err(lost)?;
    let mut answer = [0; 256];
    let length = stream.read(&mut answer).await.map_err(lost)?;
    match &answer[..length] {
        text if text.starts_with(b"+PONG") => Ok(RedisAnswer::Open),
        text if text.starts_with(b"-NOAUTH") => Ok(RedisAnswer::RequiresPassword),
        // Redis, while it loads its data.
        text if text.starts_with(b"-LOADING") => Ok(RedisAnswer::Open),
        text if text.first() == Some(&b'-') && text.get(1).is_some_and(u8::is_ascii_uppercase) => {
            Ok(RedisAnswer::Refuses(first_line(&text[1..])))
        }
        _ => Err(ReachError::SomethingElse("Redis")),
    }
}

/// Visible characters up to the end of the first sentence or line.
fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or_default();
    let sentence = line.split_once(". ").map_or(line, |(sentence, _)| sentence);
    sentence.chars().filter(|one| !one.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `answer` to every client, after reading something.
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
    async fn answers_of_redis() {
        for (answer, expected) in [
            (&b"+PONG\r\n"[..], RedisAnswer::Open),
            (
                b"-NOAUTH Authentication required.\r\n",
                RedisAnswer::RequiresPassword,
            ),
            (
                b"-DENIED Redis is running in protected mode because of this. In this mode\r\n",
                RedisAnswer::Refuses(
                    "DENIED Redis is running in protected mode because of this".to_owned(),
                ),
            ),
            (
                b"-ERR max number of clients reached\r\n",
                RedisAnswer::Refuses("ERR max number of clients reached".to_owned()),
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

    /// Redis reads a line, and a handshake need not contain its end.
    #[tokio::test]
    async fn a_redis_without_tls_that_waits() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut begin = [0; 6];
                    let read = stream.read_exact(&mut begin).await;
                    if read.is_ok() && begin == *PING {
                        let _ = stream.write_all(b"+PONG\r\n").await;
                    } else {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        let url = Secret::new(format!("rediss://{at}/0"));
        let error = redis(&url, Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, ReachError::NoTls), "{error}");
    }
}
