//! Checks of the daemon on this machine, and of the addresses that it listens on.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use crate::config::{DatabaseConfig, Remedy};
use crate::services::daemon::{DaemonStatus, DatabaseStatus};
use crate::store::Identity;

use super::check::{Check, Run, run};
use super::context::Context;
use super::verdict::Verdict;

pub(super) static CHECKS: &[Check] = &[
    Check::new("daemon.listen", "Address", Run::Now(listen)).needs(&["config.env_file"]),
    Check::new("daemon.port", "Port", run!(Always, port)).needs(&["config.env_file"]),
    Check::new(
        "daemon.metrics_port",
        "Metrics port",
        run!(Always, metrics_port),
    )
    .needs(&["daemon.port"]),
    Check::new("daemon.health", "Health", run!(Always, health)).needs(&["daemon.port"]),
    Check::new("daemon.version", "Version", run!(Always, version)).needs(&["daemon.port"]),
    Check::new(
        "daemon.database",
        "Served database",
        run!(Database, database),
    )
    .needs(&["daemon.port", "database.login"]),
    Check::new("daemon.pool", "Pool", run!(Always, pool)).needs(&["daemon.port"]),
    Check::new("daemon.mails", "Dead mails", run!(Always, mails)).needs(&["daemon.port"]),
    Check::new("daemon.reminders", "Reminders", run!(Always, reminders)).needs(&["daemon.port"]),
];

/// The job runs every 15 minutes; two runs may fail.
const REMINDERS_LATE: Duration = Duration::from_secs(45 * 60);

fn listen(context: &Context) -> Verdict {
    let in_container = Path::new("/.dockerenv").exists();
    listen_address(context.audit.http.host, in_container)
}

fn listen_address(host: IpAddr, in_container: bool) -> Verdict {
    if !is_of_this_machine(host) {
        return Verdict::fail(
            format!("HOST={host} is not an address of this machine"),
            Remedy::note(
                "0.0.0.0 are all addresses of this machine; for this machine only: 127.0.0.1",
            )
            .then(Remedy::set("HOST", "0.0.0.0")),
        );
    }
    if host.is_loopback() && in_container {
        return Verdict::warn(
            format!("HOST={host} can be reached from inside this container only"),
            Remedy::set("HOST", "0.0.0.0"),
        );
    }
    Verdict::pass(format!("{host} is an address of this machine"))
}

fn is_of_this_machine(address: IpAddr) -> bool {
    // UDP, so that no TCP port is taken from a daemon that starts at this moment.
    UdpSocket::bind((address, 0)).is_ok()
}

async fn port(context: &Context, limit: Duration) -> Verdict {
    let daemon = context.daemon(limit).await;
    let port = context.audit.http.port;
    if daemon.is_absent() {
        return Verdict::pass(format!("{port} is free"));
    }
    if daemon.is_todoctl() {
        return Verdict::pass(format!("a todoctl daemon listens on {port}"));
    }
    let answer = match &daemon.health {
        Ok(answer) => format!("GET /health answers {}", answer.status),
        Err(error) => error.to_string(),
    };
    Verdict::fail(
        format!("another program listens on port {port}: {answer}"),
        Remedy::note(format!(
            "to keep the port, stop the program that ss -ltnp 'sport = :{port}' names; otherwise:"
        ))
        .then(Remedy::set("PORT", next_port(port))),
    )
}

fn next_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(8000)
}

async fn metrics_port(context: &Context, limit: Duration) -> Verdict {
    let Some(address) = context.audit.telemetry.metrics_addr else {
        return Verdict::pass("METRICS_ADDR is not set: metrics are on PORT");
    };
    let daemon = context.daemon(limit).await;
    if !daemon.is_absent() {
        return match &daemon.status {
            Ok(_) => Verdict::pass(format!("the daemon listens on {address}")),
            Err(error) => Verdict::warn(
                format!("the daemon does not answer on METRICS_ADDR={address}: {error}"),
                Remedy::note("restart the daemon with this METRICS_ADDR"),
            ),
        };
    }
    let (host, port) = (context.audit.http.host, context.audit.http.port);
    let other_port = next_port(address.port().max(port));
    let other_address = Remedy::set("METRICS_ADDR", SocketAddr::new(address.ip(), other_port));
    let overlaps = address.ip() == host || address.ip().is_unspecified() || host.is_unspecified();
    if address.port() == port && overlaps {
        return Verdict::fail(
            format!("METRICS_ADDR={address} is the address of the API itself"),
            other_address,
        );
    }
    if !is_of_this_machine(address.ip()) {
        return Verdict::fail(
            format!("METRICS_ADDR={address} is not an address of this machine"),
            Remedy::set("METRICS_ADDR", format!("127.0.0.1:{}", address.port())),
        );
    }
    if daemon.status.is_ok() {
        return Verdict::fail(
            format!("a todoctl daemon with another PORT listens on METRICS_ADDR={address}"),
            other_address,
        );
    }
    if !daemon.has_free_metrics_address() {
        return Verdict::fail(
            format!("another program listens on METRICS_ADDR={address}"),
            Remedy::note(format!(
                "to keep the port, stop the program that ss -ltnp 'sport = :{}' names; otherwise:",
                address.port()
            ))
            .then(other_address),
        );
    }
    Verdict::pass(format!("{address} is free"))
}

const NO_DAEMON: &str = "no daemon is running";

async fn health(context: &Context, limit: Duration) -> Verdict {
    let daemon = context.daemon(limit).await;
    match &daemon.health {
        _ if daemon.is_absent() => Verdict::skip(NO_DAEMON),
        Ok(answer) if answer.is_healthy() => Verdict::pass("healthy"),
        Ok(answer) => Verdict::fail(
            format!(
                "GET /health answers {}, database {}",
                answer.status,
                answer.database.as_deref().unwrap_or("unknown")
            ),
            Remedy::note("the checks of the database say why; if they pass, restart the daemon"),
        ),
        Err(error) => Verdict::fail(
            error.to_string(),
            Remedy::note("read the daemon's log, then restart it"),
        ),
    }
}

/// The verdict on the daemon's status, or why there is none.
async fn of_status(
    context: &Context,
    limit: Duration,
    verdict: impl FnOnce(&DaemonStatus) -> Verdict,
) -> Verdict {
    let daemon = context.daemon(limit).await;
    match &daemon.status {
        _ if daemon.is_absent() => Verdict::skip(NO_DAEMON),
        Ok(status) => verdict(status),
        Err(error) => Verdict::skip(format!(
            "skipped: the daemon's status is not known: {error}"
        )),
    }
}

async fn version(context: &Context, limit: Duration) -> Verdict {
    of_status(context, limit, compare_versions).await
}

fn compare_versions(status: &DaemonStatus) -> Verdict {
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = &status.version;
    if theirs == ours {
        return Verdict::pass(format!("{ours}, the same as this program"));
    }
    Verdict::warn(
        format!("the daemon is {theirs}, this program is {ours}"),
        Remedy::note("restart the daemon with this program, or use the program that started it"),
    )
}

/// Whether the daemon serves the database of this configuration, which may have changed since
/// it started.
async fn database(context: &Context, config: &DatabaseConfig, limit: Duration) -> Verdict {
    let daemon = context.daemon(limit).await;
    if daemon.is_absent() {
        return Verdict::skip(NO_DAEMON);
    }
    let served = match &daemon.status {
        Ok(status) => status.database.as_ref(),
        Err(_) => None,
    };
    let Some(served) = served else {
        return Verdict::skip("skipped: the daemon does not say which database it serves");
    };
    match tokio::time::timeout(limit, Identity::ask(&config.target)).await {
        Ok(Ok(ours)) => compare_databases(served, ours.row(), &ours.place()),
        Ok(Err(error)) => Verdict::skip(format!("skipped: {error}")),
        Err(_) => Verdict::skip("skipped: the database did not answer in time"),
    }
}

fn compare_databases(served: &DatabaseStatus, id: Option<&str>, place: &str) -> Verdict {
    // A daemon that started before the migration knows no id.
    let is_other_id = served.id.is_some() && served.id.as_deref() != id;
    if served.place == place && !is_other_id {
        return Verdict::pass("the one of this configuration");
    }
    Verdict::fail(
        "the daemon serves another database than this configuration names",
        Remedy::note(
            "restart the daemon if the configuration was changed on purpose; otherwise correct DATABASE_URL, or run this command with the daemon's environment",
        ),
    )
}

async fn pool(context: &Context, limit: Duration) -> Verdict {
    of_status(context, limit, check_pools).await
}

fn check_pools(status: &DaemonStatus) -> Verdict {
    let texts: Vec<String> = status
        .pools
        .iter()
        .map(|pool| {
            format!(
                "{}: {} of {} in use, {} waiting",
                pool.name,
                pool.size.saturating_sub(pool.idle),
                pool.max,
                pool.waiting
            )
        })
        .collect();
    let detail = texts.join("; ");
    // A pool of one writer is often busy; it is full only if a request waits for it.
    let is_full = status
        .pools
        .iter()
        .any(|pool| pool.idle == 0 && pool.size >= pool.max && (pool.waiting > 0 || pool.max > 1));
    if !is_full {
        return Verdict::pass(detail);
    }
    Verdict::warn(
        format!("full: {detail}"),
        Remedy::note("this shows what the connections do; raise SQLALCHEMY_POOL_SIZE as far as the check database.connections allows:")
            .then(Remedy::sql("SELECT pid, application_name, state, now() - state_change AS since FROM pg_stat_activity WHERE datname = current_database() ORDER BY state_change")),
    )
}

async fn mails(context: &Context, limit: Duration) -> Verdict {
    of_status(context, limit, check_mails).await
}

fn check_mails(status: &DaemonStatus) -> Verdict {
    let Some(mails) = status.mails else {
        return Verdict::skip("the daemon has not read its outbox yet");
    };
    if mails.paused {
        return Verdict::warn(
            format!(
                "the mail provider refuses the key or the sender: {} mails wait and are given up after 24 hours",
                mails.pending
            ),
            Remedy::note(
                "the daemon's log has the reason: verify the domain of EMAIL_FROM at the provider, or correct RESEND_API_KEY and restart the daemon; this reads it without showing it: todoctl config set RESEND_API_KEY=-",
            ),
        );
    }
    if mails.dead == 0 {
        return Verdict::pass(format!("none; {} waiting", mails.pending));
    }
    Verdict::warn(
        format!(
            "{} mails were given up; {} waiting",
            mails.dead, mails.pending
        ),
        Remedy::note(
            "the daemon's log says why each was refused; correct RESEND_API_KEY and EMAIL_FROM, then restart the daemon",
        ),
    )
}

async fn reminders(context: &Context, limit: Duration) -> Verdict {
    let now = context.request.clock.now().unix_seconds();
    of_status(context, limit, |status| check_reminders(status, now)).await
}

/// `now` is in seconds since 1970.
fn check_reminders(status: &DaemonStatus, now: i64) -> Verdict {
    let Some(last) = status.last_reminder_run else {
        return Verdict::skip("no reminder run has succeeded yet");
    };
    let age = Duration::from_secs(u64::try_from(now - last).unwrap_or_default());
    let detail = format!(
        "the last successful run ended {} min ago",
        age.as_secs() / 60
    );
    if age <= REMINDERS_LATE {
        return Verdict::pass(detail);
    }
    Verdict::warn(
        detail,
        Remedy::note("the daemon's log says why they fail; this runs them once:")
            .then(Remedy::command("todoctl jobs run reminders")),
    )
}

#[cfg(test)]
mod tests;
