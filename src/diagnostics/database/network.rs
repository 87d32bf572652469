//! Whether the server's name resolves, and whether it accepts connections.

use std::time::Duration;

use crate::config::PostgresTarget;
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::{self, Address};
use crate::diagnostics::verdict::Verdict;
use crate::store::ConnectFault;

use super::behind::{ASKING, not_running};
use super::fault::cannot_connect;
use super::{other_port, other_way};

pub(super) async fn name(context: &Context, server: Server<'_>, limit: Duration) -> Verdict {
    match context.address(server.target, limit).await {
        Ok(address) => Verdict::pass(resolved(server.target, address)),
        Err(error) => cannot_connect(error),
    }
}

fn resolved(server: &PostgresTarget, address: &Address) -> String {
    match address {
        Address::Socket(path) => format!("{} is a socket", path.display()),
        Address::Tcp(addresses) => {
            let host = server.host.trim_matches(['[', ']']);
            if host.parse::<std::net::IpAddr>().is_ok() {
                return format!("{host} is an address");
            }
            let mut texts: Vec<String> = addresses.iter().map(|one| one.ip().to_string()).collect();
            texts.dedup();
            format!("{host} is {}", texts.join(", "))
        }
    }
}

/// Whether anything accepts connections there.
pub(super) async fn connection(
    context: &Context,
    server: &PostgresTarget,
    limit: Duration,
) -> Verdict {
    let connected = match context.address(server, limit).await {
        Ok(address) => probe::connect(server, address, limit).await,
        Err(error) => return cannot_connect(error),
    };
    match connected {
        Ok(at) => Verdict::pass(format!("{at} accepts connections")),
        Err(error) if error.fault == ConnectFault::Refused => {
            let verdict = cannot_connect(&error);
            if server.leads_to_pooler() {
                not_running(verdict, server).await
            } else {
                let verdict = other_way::explained(context, verdict, &error, server, ASKING).await;
                other_port::explained(context, verdict, server).await
            }
        }
        Err(error) => cannot_connect(&error),
    }
}
