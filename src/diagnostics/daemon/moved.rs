//! A daemon that listens at another address than before, of which its clients know nothing.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Remedy;
use crate::diagnostics::context::Context;
use crate::diagnostics::observed::Daemon;
use crate::diagnostics::verdict::Verdict;
use crate::services::last_database::LastDatabase;

/// An address of this machine refuses a connection at once.
const LIMIT: Duration = Duration::from_millis(500);

/// What is said where clients were served at another address before, and none has come to this one.
pub(super) async fn left_behind(context: &Context, daemon: &Daemon) -> Option<Verdict> {
    if daemon.requests()?.has_clients != Some(false) {
        return None;
    }
    let http = &context.audit.http;
    let address = SocketAddr::new(http.host, http.port);
    let last = LastDatabase::read(context.request.source.file()?)?;
    let former = last.clients_at?;
    let status = daemon.status.as_ref().ok();
    let started = status
        .and_then(|status| status.process)
        .map(|it| it.started);
    let now = context.request.clock.now().unix_seconds();
    let age = started.map_or(0, |started| now - started);
    is_closed(former, address)
        .await
        .then(|| verdict(former, address, age))
}

/// Whether a client of `former` meets nobody there, while the daemon listens on `address`.
async fn is_closed(former: SocketAddr, address: SocketAddr) -> bool {
    if former.port() == address.port() {
        if former.ip() == address.ip() || address.ip().is_unspecified() {
            return false;
        }
        if former.ip().is_unspecified() {
            return true;
        }
    }
    // The unspecified address leads to this machine.
    let answer = timeout(LIMIT, TcpStream::connect(former)).await;
    matches!(answer, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

/// `age` is for how many seconds the daemon has run.
fn verdict(former: SocketAddr, address: SocketAddr, age: i64) -> Verdict {
    let age = Duration::from_secs(u64::try_from(age).unwrap_or_default());
    let mut back =
        Remedy::note("otherwise listen where clients look for it, and restart the daemon:");
    if former.port() != address.port() {
        back = back.then(Remedy::set("PORT", former.port()));
    }
    if former.ip() != address.ip() {
        back = back.then(Remedy::set("HOST", former.ip()));
    }
    Verdict::warn(
        format!(
            "a todoctl daemon listens on {address}, and no client has come there in the {} since it started; the one before had clients on {former}, where nothing listens now",
            humantime::format_duration(age)
        ),
        Remedy::note(format!(
            "what forwards requests (reverse proxy, load balancer, published port of a container) may still send them to {former}: let it send them to {address} (nginx: proxy_pass, Caddy: reverse_proxy, HAProxy: server, Docker: ports), and reload it; the first request that comes ends this warning"
        ))
        .or(back),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_that_clients_find_closed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let port = open.port();
        let at = |host: &str, port| SocketAddr::new(host.parse().unwrap(), port);
        for (former, address, expected) in [
            (open, open, false),
            // HOST was given a wider address, or a narrower one.
            (open, at("0.0.0.0", port), false),
            (at("0.0.0.0", port), open, true),
            // The other one of two daemons.
            (open, at("127.0.0.1", 1), false),
            (at("0.0.0.0", port), at("127.0.0.1", 1), false),
            (at("127.0.0.1", 1), open, true),
            (at("0.0.0.0", 1), open, true),
            (at("127.0.0.2", port), open, true),
        ] {
            let is_closed = is_closed(former, address).await;
            assert_eq!(is_closed, expected, "{former} {address}");
        }
    }
}
