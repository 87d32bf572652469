//! Servers of this machine that listen at another port than the configured one, as after an upgrade.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::verdict::Verdict;
use crate::services::last_database::{LastDatabase, counted};
use crate::store::Served;

/// How long one of them may take.
const LIMIT: Duration = Duration::from_secs(1);

/// So many are asked.
const MOST: usize = 8;

/// Where Debian, Red Hat and PostgreSQL itself have the sockets of servers.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// What the file of a socket is called before the port.
const SOCKET: &str = ".s.PGSQL.";

/// A port at which user and password are accepted, and what the database has there.
struct Other {
    port: u16,
    served: Served,
}

/// A verdict on a port at which the database is not, with those at which a server has it. Which is
/// the right one, a person knows, where `.env-database` does not tell it: an upgrade leaves the old
/// server behind.
pub(super) async fn explained(
    context: &Context,
    verdict: Verdict,
    server: &PostgresTarget,
) -> Verdict {
    if !context.is_here(server) || server.leads_to_pooler() {
        return verdict;
    }
    let last = context.request.source.file().and_then(LastDatabase::read);
    let former = last.as_ref().and_then(|last| last.database.as_deref());
    let (standbys, found) = found(server).await;
    if let Some(original) = original(&found, former) {
        return Verdict::fail(
            format!("{}; {}", verdict.detail, named(original)),
            led_to(server, original).or(verdict.remedy.unwrap_or_default()),
        );
    }
    let names = |others: &[Other]| {
        let ports: Vec<String> = others.iter().map(|one| one.port.to_string()).collect();
        ports.join(" and ")
    };
    let mut detail = verdict.detail;
    if !found.is_empty() {
        detail += &format!(
            "; user, password and database are accepted on this machine at port {}",
            names(&found)
        );
    }
    if !standbys.is_empty() {
        detail += &format!(
            "; the server at port {} of this machine is a standby with this database, and read-only",
            names(&standbys)
        );
    }
    let kept = verdict.remedy.clone();
    let sets = found.iter().map(|one| {
        let set = Remedy::set(port_of(server), one.port);
        Remedy::note(format!(
            "if the server at port {}, which has {}, is the service's, and no older copy: {set}",
            one.port,
            counted(one.served.content.tasks)
        ))
    });
    Verdict {
        detail,
        // What starts the old server would bring the service back to its old data.
        remedy: Some(
            sets.fold(Remedy::default(), Remedy::then)
                .or(verdict.remedy.unwrap_or_default()),
        )
        .filter(|_| !found.is_empty())
        .or(kept),
        ..verdict
    }
}

/// How the URL leads to the port at which the database is that the service has had before, where the
/// configured server has another one of its name, with as many `tasks`.
pub(super) async fn led_back(
    server: &PostgresTarget,
    former: Option<&str>,
    tasks: i64,
    otherwise: Remedy,
) -> Remedy {
    if !server.is_loopback() || former.is_none() {
        return otherwise;
    }
    let (_, found) = found(server).await;
    let Some(original) = original(&found, former) else {
        return otherwise;
    };
    let what = Remedy::note(format!("{}:", named(original)));
    if tasks == 0 {
        what.then(led_to(server, original))
    } else {
        what.or(led_to(server, original)).then(otherwise)
    }
}

fn original<'a>(found: &'a [Other], former: Option<&str>) -> Option<&'a Other> {
    let is_it = |one: &&Other| former == Some(one.served.database.as_str());
    found.iter().find(is_it)
}

fn named(original: &Other) -> String {
    format!(
        "the server at port {} of this machine has the database that this service has had, with {}",
        original.port,
        counted(original.served.content.tasks)
    )
}

fn led_to(server: &PostgresTarget, other: &Other) -> Remedy {
    Remedy::set(port_of(server), other.port).then(Remedy::note("then restart the daemon"))
}

fn port_of(server: &PostgresTarget) -> String {
    format!("{}.port", server.variable)
}

/// The standbys, and the other servers that have the database.
async fn found(server: &PostgresTarget) -> (Vec<Other>, Vec<Other>) {
    let ports = ports(server).into_iter().take(MOST);
    let asked = join_all(ports.map(async |port| {
        let other = PostgresTarget {
            port,
            ..server.clone()
        };
        let served = Served::find(&other, &server.database, LIMIT).await?;
        Some(Other { port, served })
    }));
    let found = asked.await.into_iter().flatten();
    found.partition(|one| one.served.is_standby)
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

/// The directory of the socket of a server of this machine that runs at `port`.
pub(super) async fn live_socket(port: u16) -> Option<&'static str> {
    let directory = socket_directory(port)?;
    let socket = Path::new(directory).join(format!("{SOCKET}{port}"));
    let connected = timeout(LIMIT, UnixStream::connect(socket)).await;
    matches!(connected, Ok(Ok(_))).then_some(directory)
}

/// Whether a server of this machine has a socket for `port`, and in which directory.
pub(super) fn socket_directory(port: u16) -> Option<&'static str> {
    SOCKETS.into_iter().find(|directory| {
        Path::new(directory)
            .join(format!("{SOCKET}{port}"))
            .exists()
    })
}
