//! Servers of this machine that listen at another port than the configured one, as after an upgrade.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::probe::{Connection as _, ServerConnection};
use crate::diagnostics::verdict::Verdict;

/// How long a login to one of them may take.
const LIMIT: Duration = Duration::from_secs(1);

/// So many are tried.
const MOST: usize = 8;

/// Where Debian, Red Hat and PostgreSQL itself have the sockets of servers.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// What the file of a socket is called before the port.
const SOCKET: &str = ".s.PGSQL.";

/// A verdict on a port at which nothing listens, with those at which a server has the database. Only
/// a person knows whether it is the right one: an upgrade leaves the old server behind.
pub(super) async fn explained(verdict: Verdict, server: &PostgresTarget) -> Verdict {
    if !server.is_loopback() {
        return verdict;
    }
    let mut found = Vec::new();
    for port in ports(server).into_iter().take(MOST) {
        let other = PostgresTarget {
            port,
            ..server.clone()
        };
        if let Ok(session) = ServerConnection::open(&other, LIMIT).await {
            session.close().await;
            found.push(port);
        }
    }
    if found.is_empty() {
        return verdict;
    }
    let sets = found.iter().map(|port| {
        let set = Remedy::set(format!("{}.port", server.variable), port);
        Remedy::note(format!(
            "if the server at port {port} is the service's, and no older copy: {set}"
        ))
    });
    let named: Vec<String> = found.iter().map(u16::to_string).collect();
    Verdict::fail(
        format!(
            "{}; user, password and database are accepted on this machine at port {}",
            verdict.detail,
            named.join(" and ")
        ),
        sets.fold(Remedy::default(), Remedy::then)
            .then(verdict.remedy),
    )
}

/// The other ports for which there are sockets.
fn ports(server: &PostgresTarget) -> BTreeSet<u16> {
    let own = server.host.starts_with('/').then_some(&*server.host);
    let directories: Vec<&str> = own.map_or_else(|| SOCKETS.to_vec(), |own| vec![own]);
    directories
        .into_iter()
        .filter_map(|directory| Path::new(directory).read_dir().ok())
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix(SOCKET)?.parse().ok()
        })
        .filter(|port| *port != server.port)
        .collect()
}

/// Whether a server of this machine has a socket for `port`, and in which directory.
pub(super) fn socket_directory(port: u16) -> Option<&'static str> {
    SOCKETS.into_iter().find(|directory| {
        Path::new(directory)
            .join(format!("{SOCKET}{port}"))
            .exists()
    })
}
