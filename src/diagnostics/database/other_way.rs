//! Another way to the same server: where it listens only on its socket or at another address, and
//! where `pg_hba.conf` refuses the way that `DATABASE_URL` takes.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, TlsMode};
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::listening_at;
use crate::diagnostics::verdict::Verdict;
use crate::store::{ConnectError, ConnectFault, open_postgres_within};

use super::clusters::Cluster;
use super::other_port::{live_socket, socket_directory};

/// Where the server behind a socket usually listens as well.
const HERE: &str = "localhost";

/// A change of the URL, and why it leads to the same server.
struct Way {
    target: PostgresTarget,
    change: Remedy,
    text: String,
}

/// The verdict on a login that was refused, or on an address at which nothing listens, with a way on
/// which the server accepts the user and password of the URL.
pub(super) async fn explained(
    context: &Context,
    verdict: Verdict,
    error: &ConnectError,
    server: &PostgresTarget,
    limit: Duration,
) -> Verdict {
    let is_here = context.is_here(server);
    let ways = ways(error, server, is_here);
    let left = limit / u32::try_from(ways.len().max(1)).unwrap_or(1);
    for way in ways {
        if open_postgres_within(&way.target, left).await.is_ok() {
            return Verdict {
                detail: format!("{}: {}", verdict.detail, way.text),
                remedy: Some(way.change.or(verdict.remedy.unwrap_or_default())),
                ..verdict
            };
        }
    }
    if error.fault == ConnectFault::Refused && is_here {
        return not_listening(verdict, server).await;
    }
    verdict
}

fn ways(error: &ConnectError, server: &PostgresTarget, is_here: bool) -> Vec<Way> {
    let port = server.port;
    let is_socket = server.host.starts_with('/');
    let host = |host: &str, text: String| Way {
        target: PostgresTarget {
            host: host.to_owned(),
            tls: if is_socket {
                TlsMode::Prefer
            } else {
                server.tls
            },
            ..server.clone()
        },
        change: Remedy::set(format!("{}.host", server.variable), host),
        text,
    };
    let tls = |tls, mode: &str, text: &str| Way {
        target: PostgresTarget {
            tls,
            ..server.clone()
        },
        change: Remedy::set(format!("{}.sslmode", server.variable), mode),
        text: text.to_owned(),
    };
    let by_socket = || {
        let is_other = |directory: &&str| is_here && *directory != server.host;
        let directory = socket_directory(port).filter(is_other)?;
        Some(host(
            directory,
            format!("the server accepts user and password through its socket in {directory}"),
        ))
    };
    let said = &error.message;
    match error.known.map(|known| known.id) {
        Some("postgres.system-user") if is_socket && server.password.is_some() => vec![host(
            HERE,
            format!(
                "pg_hba.conf compares the system user for sockets; {HERE}:{port} accepts user and password of DATABASE_URL"
            ),
        )],
        Some("postgres.hba")
            if is_one_of(said, ["no encryption", "SSL off"])
                && matches!(server.tls, TlsMode::Disable | TlsMode::Prefer) =>
        {
            vec![tls(
                TlsMode::Require,
                "require",
                "the server accepts the same with encryption",
            )]
        }
        Some("postgres.hba") if is_here && is_one_of(said, ["SSL encryption", "SSL on"]) => {
            vec![tls(
                TlsMode::Disable,
                "disable",
                "the server accepts the same without encryption, which this machine does not need towards itself",
            )]
        }
        // A line that rejects is there on purpose.
        Some("postgres.hba") if said.contains("no pg_hba.conf entry") => {
            let others = [HERE, "127.0.0.1", "::1"];
            let others = others.into_iter().filter(|other| *other != server.host);
            let others = others.map(|other| {
                host(
                    other,
                    format!("the server accepts user and password at {other}"),
                )
            });
            others.filter(|_| is_here).chain(by_socket()).collect()
        }
        _ if error.fault == ConnectFault::Refused && is_here => {
            let elsewhere = listening_at(port).into_iter();
            let elsewhere = elsewhere.filter(|address| !address.ip().is_unspecified());
            let elsewhere = elsewhere.map(|address| {
                let address = address.ip().to_string();
                let text = format!("the server listens at {address} (listen_addresses)");
                host(&address, text)
            });
            elsewhere.chain(by_socket()).collect()
        }
        _ => Vec::new(),
    }
}

fn is_one_of(said: &str, texts: [&str; 2]) -> bool {
    texts.iter().any(|text| said.contains(text))
}

/// Nothing listens at the address: the server runs without it, or does not run.
async fn not_listening(verdict: Verdict, server: &PostgresTarget) -> Verdict {
    let cluster = Cluster::at_port(server.port);
    if !server.host.starts_with('/')
        && let Some(directory) = live_socket(server.port).await
    {
        let socket = PostgresTarget {
            host: directory.to_owned(),
            direct: None,
            ..server.clone()
        };
        let listen = Remedy::admin_sql_in(
            &socket,
            server.other_database(),
            None,
            "ALTER SYSTEM SET listen_addresses = 'localhost'",
        );
        let restart = match &cluster {
            Some(cluster) => cluster.command("restart"),
            None => Remedy::note("then restart the server: a reload does not open other addresses"),
        };
        return Verdict {
            detail: format!(
                "{}; the server runs, and listens only on its socket in {directory} (listen_addresses)",
                verdict.detail
            ),
            remedy: Some(listen.then(restart)),
            ..verdict
        };
    }
    let Some(cluster) = cluster else {
        return verdict;
    };
    let said = cluster.last_words();
    let why = said.map_or_else(String::new, |said| format!("; its log ends with: {said}"));
    Verdict {
        detail: format!(
            "{}; the cluster {cluster} of this machine has this port, and does not run{why}",
            verdict.detail
        ),
        remedy: Some(
            cluster
                .command("start")
                .then(cluster.says_more())
                .or(verdict.remedy.unwrap_or_default()),
        ),
        ..verdict
    }
}
