//! What remedies need if `DATABASE_URL` leads to a pooler: administrators log in to the server
//! behind it, and sessions that it keeps have old settings.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{DatabaseTarget, PoolerMode, PostgresTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::PgBouncer;
use crate::diagnostics::report::Finding;

use super::behind::{ASKING, reconnect};
use super::other_port::socket_directory;

/// How long the server may take to accept a connection.
const CONNECTING: Duration = Duration::from_millis(500);

/// Leads the commands of an administrator to the server behind a pooler, and lets the pooler's
/// sessions have settings that are changed.
pub(in crate::diagnostics) async fn adapt_remedies(context: &Context, findings: &mut [Finding]) {
    let Some(config) = context.database() else {
        return;
    };
    let DatabaseTarget::Postgres(target) = &config.target else {
        return;
    };
    let is_misled = |remedy: &Remedy| target.direct.is_none() && remedy.is_administered_at(target);
    let remedies = findings.iter_mut().filter_map(|one| one.remedy.as_mut());
    let mut remedies: Vec<&mut Remedy> = remedies
        .filter(|remedy| is_misled(remedy) || remedy.changes_settings())
        .collect();
    if remedies.is_empty() {
        return;
    }
    let pooler = PgBouncer::ask(target, ASKING).await;
    let is_configured = config.pooler == PoolerMode::Transaction;
    if pooler.is_none() && !is_configured {
        return;
    }
    let own = if remedies.iter().any(|remedy| is_misled(remedy)) {
        own_address(context, target, pooler.as_ref()).await
    } else {
        None
    };
    let is_same = own
        .as_ref()
        .is_some_and(|(host, port)| *host == target.host && *port == target.port);
    let own = own.as_ref().map(|(host, port)| (host.as_str(), *port));
    for remedy in &mut remedies {
        let mut adapted = std::mem::take(*remedy);
        let reconnects = adapted.changes_settings();
        if is_misled(&adapted) && !is_same {
            adapted = note(own).then(adapted.administered_behind(target, own));
        }
        if reconnects {
            adapted = adapted.then(reconnected(pooler.as_ref(), target));
        }
        **remedy = adapted;
    }
}

/// A pooler keeps sessions with the old settings.
pub(super) fn reconnected(pooler: Option<&PgBouncer>, target: &PostgresTarget) -> Remedy {
    match pooler {
        Some(pooler) => reconnect(pooler, target),
        None => Remedy::note(
            "the pooler keeps sessions with the old settings: restart it, or wait until it replaces them",
        ),
    }
}

fn note(own: Option<(&str, u16)>) -> Remedy {
    Remedy::note(match own {
        Some((host, port)) => format!(
            "DATABASE_URL leads to a pooler: administrators log in to the server behind it, which is at {host}, port {port}"
        ),
        None => "DATABASE_URL leads to a pooler: administrators log in to the server behind it; add -h and -p with the address that [databases] of pgbouncer.ini has".to_owned(),
    })
}

/// The server's address as it tells it itself, or as the pooler's console does, if it leads there
/// from here.
async fn own_address(
    context: &Context,
    target: &PostgresTarget,
    pooler: Option<&PgBouncer>,
) -> Option<(String, u16)> {
    let asked = context.server.ask(target, ASKING, async |connection| {
        connection.own_address().await
    });
    // A pooler may keep the question.
    let told = timeout(ASKING, asked).await.ok().and_then(Result::ok);
    let told = told.or_else(|| {
        let database = pooler?.database(&target.database)?;
        Some((database.host, database.port))
    });
    let (host, port) = told?;
    let Some(host) = host else {
        let directory = socket_directory(port)?;
        return target.is_loopback().then(|| (directory.to_owned(), port));
    };
    let own = PostgresTarget {
        host,
        port,
        ..target.clone()
    };
    // An address that leads to the pooler's own machine.
    if own.is_loopback() && !target.is_loopback() {
        return None;
    }
    let connected = timeout(CONNECTING, TcpStream::connect((own.host.as_str(), port))).await;
    matches!(connected, Ok(Ok(_))).then_some((own.host, port))
}
