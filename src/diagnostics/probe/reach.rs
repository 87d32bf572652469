//! Whether Redis is reachable. No credentials are sent, so an answer that refuses the request
//! counts as reachable.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::config::Secret;
use crate::services::tls;

use super::tls::{is_certificate_error, is_no_tls};

/// Redis, "Protocol specification": a command as clients send it. Proxies know no inline commands.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// The default of a URL without a port.
const REDIS_PORT: u16 = 6379;

/// Why a service is not reachable. Never contains its URL.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// No connection within the limit.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// A connection, and no answer within the limit.
    #[error("it accepts connections, and does not answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// A connection that ended before an answer.
    #[error("it accepts connections, and closes them without an answer")]
    Closed,
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

/// Sends one PING to the Redis at `url`. Returns how long it took to answer as well.
pub async fn redis(url: &Secret, limit: Duration) -> Result<(RedisAnswer, Duration), ReachError> {
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
                Ok(Ok(stream)) => ping(stream, limit / 4).await,
                Ok(Err(error)) if is_no_tls(&error) => Err(ReachError::NoTls),
                Ok(Err(error)) => Err(lost(error)),
                // Redis without TLS takes most handshakes for the begin of a line, and waits for
                // its end.
                Err(_) => match ping(connect().await?, limit / 4).await {
                    Ok(_) => Err(ReachError::NoTls),
                    Err(_) => Err(ReachError::TimedOut(limit)),
                },
            };
        }
        match ping(connect().await?, limit / 2).await {
            // A server that waits for a TLS handshake takes a PING for a broken one.
            Err(error) => {
                let Ok(stream) = connect().await else {
                    return Err(error);
                };
                Err(match timeout(limit / 4, tls.connect(name, stream)).await {
                    Ok(Ok(_)) => ReachError::NeedsTls,
                    Ok(Err(failed)) if is_certificate_error(&failed) => ReachError::NeedsTls,
                    _ => error,
                })
            }
            answer => answer,
        }
    };
    timeout(limit, work)
        .await
        .unwrap_or(Err(ReachError::TimedOut(limit)))
}

async fn ping(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    limit: Duration,
) -> Result<(RedisAnswer, Duration), ReachError> {
    let lost = |error: std::io::Error| match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            ReachError::Closed
        }
        _ => ReachError::Unreachable(error.to_string()),
    };
    let started = Instant::now();
    let mut answer = [0; 256];
    let exchange = async {
        stream.write_all(PING).await?;
        stream.read(&mut answer).await
    };
    let length = timeout(limit, exchange)
        .await
        .map_err(|_| ReachError::Silent(limit))?
        .map_err(lost)?;
    let answer = redis_answer(&answer[..length])?;
    Ok((answer, started.elapsed()))
}

fn redis_answer(bytes: &[u8]) -> Result<RedisAnswer, ReachError> {
    match bytes {
        [] => Err(ReachError::Closed),
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
            assert_eq!(redis(&url, LIMIT).await.unwrap().0, expected);
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
        // As a load balancer without a server behind it.
        let url = Secret::new(format!("redis://{}/0", peer(b"").await));
        let error = redis(&url, LIMIT).await.unwrap_err();
        assert!(matches!(error, ReachError::Closed), "{error}");
    }

    /// Redis reads a line, and a handshake need not contain its end.
    #[tokio::test]
    async fn a_redis_without_tls_that_waits() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut begin = [0; PING.len()];
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
