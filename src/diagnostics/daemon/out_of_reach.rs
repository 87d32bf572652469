//! A daemon that runs, and that connections from here do not reach.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Remedy;
use crate::diagnostics::probe::{self, Listener, State};
use crate::diagnostics::verdict::Verdict;
use crate::services::run_record::Run;

/// The kernel accepts a connection to this machine by itself, much sooner.
const CONNECT: Duration = Duration::from_millis(500);

/// A daemon of this database in another network, as in a container.
pub(super) fn in_other_network(run: &Run, expected: SocketAddr) -> Option<Verdict> {
    let (pid, port) = (run.pid, run.address.port());
    let number = i32::try_from(pid).ok()?;
    if !probe::has_own_network(number) {
        return None;
    }
    Some(Verdict::warn(
        format!(
            "no daemon listens on {expected}, and the one of this database (pid {pid}) listens on {} in a network of its own (a container, or PrivateNetwork= of its unit): nobody reaches it at an address of this machine, unless the port is published",
            run.address
        ),
        Remedy::note(format!(
            "unless only a proxy in the same network leads to it, publish the port where it is started (docker run -p {port}:{port}, ports: in the compose file), or remove PrivateNetwork= from the unit file, and start it again"
        ))
        .then(Remedy::note(format!(
            "to look at it where it is, as root: todoctl --pid {pid} doctor"
        ))),
    ))
}

/// The daemon listens, and the system refuses connections to it, or does not answer them. `at` is
/// where clients of this machine connect to.
pub(super) async fn behind_firewall(listener: &Listener, at: SocketAddr) -> Option<Verdict> {
    let is_at = |address: &SocketAddr| {
        let ip: IpAddr = address.ip();
        ip.is_unspecified() || ip.to_canonical() == at.ip()
    };
    // A queue that is full is the daemon's own.
    if listener.state != State::Running
        || listener.waiting > 0
        || !listener.addresses.iter().any(is_at)
    {
        return None;
    }
    let what = match timeout(CONNECT, TcpStream::connect(at)).await {
        Err(_) => "drops",
        Ok(Err(_)) => "refuses",
        Ok(Ok(_)) => return None,
    };
    let (pid, port) = (listener.pid, at.port());
    Some(Verdict::fail(
        format!(
            "the todoctl daemon (pid {pid}) listens on port {port}, and the system {what} connections to {at}: a firewall is in between"
        ),
        Remedy::note(format!(
            "the daemon needs no restart; as root, nft list ruleset (or iptables -S) shows the rule that is about port {port} or about all ports: remove it (iptables -D and the rest of its line; ufw allow {port}/tcp where ufw made it)"
        )),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: SocketAddr, waiting: u32) -> Listener {
        Listener {
            pid: 7,
            name: "todoctl".to_owned(),
            state: State::Running,
            addresses: vec![address],
            waiting,
        }
    }

    #[tokio::test]
    async fn a_port_that_is_refused() {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let all = SocketAddr::from(([0, 0, 0, 0], at.port()));
        // It answers.
        assert_eq!(behind_firewall(&listener(at, 0), at).await, None);
        drop(socket);
        for address in [at, all] {
            let verdict = behind_firewall(&listener(address, 0), at).await.unwrap();
            assert!(verdict.detail.contains("refuses"), "{}", verdict.detail);
        }
        // It listens elsewhere, or has not accepted what waits.
        let elsewhere = SocketAddr::from(([10, 0, 0, 1], at.port()));
        assert_eq!(behind_firewall(&listener(elsewhere, 0), at).await, None);
        assert_eq!(behind_firewall(&listener(at, 3), at).await, None);
    }
}
