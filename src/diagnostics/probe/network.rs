//! A server's name, and whether anything accepts connections there.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::{DatabaseTarget, PostgresTarget};
use crate::store::ConnectError;

/// A server's resolved address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// In the order in which the driver tries them.
    Tcp(Vec<SocketAddr>),
    /// A Unix-domain socket.
    Socket(PathBuf),
}

impl Address {
    /// Whether it does not leave this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Tcp(addresses) => {
                let is_loopback = |one: &SocketAddr| one.ip().to_canonical().is_loopback();
                !addresses.is_empty() && addresses.iter().all(is_loopback)
            }
        }
    }
}

/// Resolves the server's host name.
pub(crate) async fn resolve(
    server: &PostgresTarget,
    limit: Duration,
) -> Result<Address, ConnectError> {
    if server.host.starts_with('/') {
        let socket = format!("{}/.s.PGSQL.{}", server.host, server.port);
        return Ok(Address::Socket(socket.into()));
    }
    let failed = failed(server);
    let host = server.host.trim_matches(['[', ']']);
    let found = timeout(limit, tokio::net::lookup_host((host, server.port)))
        .await
        .map_err(|_| {
            failed(io::Error::new(
                io::ErrorKind::TimedOut,
                "the name server did not answer",
            ))
        })?
        .map_err(&failed)?;
    Ok(Address::Tcp(found.collect()))
}

/// Connects, and returns the address or the socket that accepted.
pub(crate) async fn connect(
    server: &PostgresTarget,
    address: &Address,
    limit: Duration,
) -> Result<String, ConnectError> {
    let silent = |_| ConnectError::timed_out(&DatabaseTarget::Postgres(server.clone()), limit);
    let failed = failed(server);
    match address {
        Address::Socket(path) => {
            timeout(limit, UnixStream::connect(path))
                .await
                .map_err(silent)?
                .map_err(failed)?;
            Ok(path.display().to_string())
        }
        Address::Tcp(addresses) => {
            let stream = timeout(limit, TcpStream::connect(&addresses[..]))
                .await
                .map_err(silent)?
                .map_err(&failed)?;
            Ok(stream.peer_addr().map_err(failed)?.to_string())
        }
    }
}

/// Explains a network error on the way to `server`.
pub(super) fn failed(server: &PostgresTarget) -> impl Fn(io::Error) -> ConnectError {
    let target = DatabaseTarget::Postgres(server.clone());
    move |error| ConnectError::from_sqlx(&target, &sqlx::Error::Io(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ConnectFault;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_listener_is_reached_and_named() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = PostgresTarget::fixture("127.0.0.1", at.port());
        let address = resolve(&server, LIMIT).await.unwrap();
        assert_eq!(address, Address::Tcp(vec![at]));
        let reached = connect(&server, &address, LIMIT).await.unwrap();
        assert_eq!(reached, at.to_string());
        drop(listener);
        let error = connect(&server, &address, LIMIT).await.unwrap_err();
        assert_eq!(error.fault, ConnectFault::Refused);
    }

    #[tokio::test]
    async fn a_missing_socket_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let server = PostgresTarget::fixture(directory.path().to_str().unwrap(), 5432);
        let address = resolve(&server, LIMIT).await.unwrap();
        let error = connect(&server, &address, LIMIT).await.unwrap_err();
        assert_eq!(error.fault, ConnectFault::Refused, "{error}");
    }
}
