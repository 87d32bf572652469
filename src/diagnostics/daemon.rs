//! Checks of the daemon on this machine, and of the addresses that it listens on.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use crate::services::daemon::Metrics;

use super::check::{Check, Run, run};
use super::context::Context;
use super::verdict::Verdict;

pub(super) static CHECKS: &[Check] = &[
    Check::new("daemon.listen", "Address", Run::Now(listen)).needs(&["config.env_file"]),
    Check::new("daemon.port", "Port", run!(Always, port)).needs(&["config.env_file"]),
    Check::new("daemon.metrics_port", "Metrics port", run!(Always, metrics_port))
        .needs(&["daemon.port"]),
    Check::new("daemon.health", "Health", run!(Always, health)).needs(&["daemon.port"]),
    Check::new("daemon.version", "Version", run!(Always, version)).needs(&["daemon.port"]),
    Check::new("daemon.pool", "Pool", run!(Always, pool)).needs(&["daemon.port"]),
    Check::new("daemon.mails", "Failed mails", run!(Always, mails)).needs(&["daemon.port"]),
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
            "HOST=0.0.0.0 (all addresses), or HOST=127.0.0.1 (this machine only)".to_owned(),
        );
    }
    if host.is_loopback() && in_container {
        return Verdict::warn(
            format!("HOST={host} can be reached from inside this container only"),
            "HOST=0.0.0.0".to_owned(),
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
        format!(
            "find it: ss -ltnp 'sport = :{port}'; stop it, or choose another port: PORT={}",
            next_port(port)
        ),
    )
}

fn next_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(8000)
}

async fn metrics_port(context: &Context, limit: Duration) -> Verdict {
    let Some(address) = context.audit.telemetry.metrics_addr else {
        return Verdict::skip("METRICS_ADDR is not set");
    };
    let daemon = context.daemon(limit).await;
    if !daemon.is_absent() {
        return match &daemon.metrics {
            Ok(_) => Verdict::pass(format!("the daemon listens on {address}")),
            Err(error) => Verdict::warn(
                format!("the daemon does not answer on METRICS_ADDR={address}: {error}"),
                "restart the daemon with this METRICS_ADDR".to_owned(),
            ),
        };
    }
    let (host, port) = (context.audit.http.host, context.audit.http.port);
    let other_port = next_port(address.port().max(port));
    let other_address = format!("METRICS_ADDR={}", SocketAddr::new(address.ip(), other_port));
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
            format!("METRICS_ADDR=127.0.0.1:{}", address.port()),
        );
    }
    if daemon.has_metrics_of_todoctl() {
        return Verdict::fail(
            format!("a todoctl daemon with another PORT listens on METRICS_ADDR={address}"),
            other_address,
        );
    }
    if !daemon.has_free_metrics_address() {
        return Verdict::fail(
            format!("another program listens on METRICS_ADDR={address}"),
            format!(
                "find it: ss -ltnp 'sport = :{}'; stop it, or choose another address: {other_address}",
                address.port()
            ),
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
            "todoctl db check".to_owned(),
        ),
        Err(error) => Verdict::fail(
            error.to_string(),
            "read the daemon's log, then restart it".to_owned(),
        ),
    }
}

/// The verdict on the daemon's metrics, or why there are none.
async fn of_metrics(
    context: &Context,
    limit: Duration,
    judge: impl FnOnce(&Metrics) -> Verdict,
) -> Verdict {
    let daemon = context.daemon(limit).await;
    match &daemon.metrics {
        _ if daemon.is_absent() => Verdict::skip(NO_DAEMON),
        Ok(metrics) => judge(metrics),
        Err(error) => Verdict::skip(format!("skipped: no metrics: {error}")),
    }
}

async fn version(context: &Context, limit: Duration) -> Verdict {
    of_metrics(context, limit, compare_versions).await
}

fn compare_versions(metrics: &Metrics) -> Verdict {
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = metrics.labels("todoctl_build_info", "version");
    match theirs.first().map(String::as_str) {
        Some(theirs) if theirs == ours => Verdict::pass(format!("{ours}, the same as this program")),
        Some(theirs) => Verdict::warn(
            format!("the daemon is {theirs}, this program is {ours}"),
            "restart the daemon with this program, or use the program that started it".to_owned(),
        ),
        None => Verdict::warn("the daemon does not report its version", None),
    }
}

async fn pool(context: &Context, limit: Duration) -> Verdict {
    of_metrics(context, limit, check_pools).await
}

fn check_pools(metrics: &Metrics) -> Verdict {
    const NAME: &str = "db_pool_connections";
    let mut pools = metrics.labels(NAME, "pool");
    pools.dedup();
    if pools.is_empty() {
        return Verdict::skip("the daemon does not report its pools");
    }
    let mut texts = Vec::new();
    let mut is_full = false;
    for pool in &pools {
        let state = |state| {
            metrics
                .value(NAME, &[("pool", pool), ("state", state)])
                .unwrap_or(0.0)
        };
        let (size, idle, waiting, max) =
            (state("size"), state("idle"), state("waiting"), state("max"));
        texts.push(format!(
            "{pool}: {} of {max} in use, {waiting} waiting",
            (size - idle).max(0.0)
        ));
        // A pool of one writer is often busy; it is full only if a request waits for it.
        is_full |= idle == 0.0 && size >= max && (waiting > 0.0 || max > 1.0);
    }
    let detail = texts.join("; ");
    if !is_full {
        return Verdict::pass(detail);
    }
    Verdict::warn(
        format!("full: {detail}"),
        "find slow queries: psql -c \"SELECT pid, state, query_start, query FROM pg_stat_activity\"; raise SQLALCHEMY_POOL_SIZE as far as database.connections allows".to_owned(),
    )
}

async fn mails(context: &Context, limit: Duration) -> Verdict {
    of_metrics(context, limit, check_mails).await
}

fn check_mails(metrics: &Metrics) -> Verdict {
    const NAME: &str = "mail_outbox_rows";
    let Some(dead) = metrics.value(NAME, &[("state", "dead")]) else {
        return Verdict::skip("the daemon has not looked at its mails yet");
    };
    let waiting = metrics.value(NAME, &[("state", "pending")]).unwrap_or(0.0);
    if dead == 0.0 {
        return Verdict::pass(format!("none; {waiting} waiting"));
    }
    Verdict::warn(
        format!("{dead} mails were given up; {waiting} waiting"),
        "read in the daemon's log why each was refused; correct RESEND_API_KEY and EMAIL_FROM, then restart the daemon".to_owned(),
    )
}

async fn reminders(context: &Context, limit: Duration) -> Verdict {
    let now = context.request.clock.now().unix_seconds() as f64;
    of_metrics(context, limit, |metrics| check_reminders(metrics, now)).await
}

/// `now` is in seconds since 1970.
fn check_reminders(metrics: &Metrics, now: f64) -> Verdict {
    let last = metrics.value("reminder_last_success_timestamp_seconds", &[]);
    let Some(last) = last.filter(|last| *last > 0.0) else {
        return Verdict::skip("no reminder run has succeeded yet");
    };
    let age = (now - last).max(0.0);
    let detail = format!("the last successful run ended {:.0} min ago", age / 60.0);
    if age <= REMINDERS_LATE.as_secs_f64() {
        return Verdict::pass(detail);
    }
    Verdict::warn(
        detail,
        "read the daemon's log; run them by hand: todoctl jobs run".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{self, Fail, Pass, Skip, Warn};

    #[test]
    fn pools() {
        let outcome = |text: &str| check_pools(&Metrics::parse(text)).outcome;
        let rows = |idle, waiting| {
            format!(
                "db_pool_connections{{pool=\"main\",state=\"idle\"}} {idle}\ndb_pool_connections{{pool=\"main\",state=\"max\"}} 30\ndb_pool_connections{{pool=\"main\",state=\"size\"}} 30\ndb_pool_connections{{pool=\"main\",state=\"waiting\"}} {waiting}\n"
            )
        };
        assert_eq!(outcome(&rows(4, 0)), Pass);
        assert_eq!(outcome(&rows(0, 0)), Warn);
        assert_eq!(outcome(&rows(4, 1)), Pass);
        assert_eq!(outcome(""), Skip);
    }

    #[test]
    fn mails_and_reminders() {
        let mails = |text: &str| check_mails(&Metrics::parse(text)).outcome;
        assert_eq!(mails(""), Skip);
        assert_eq!(mails("mail_outbox_rows{state=\"dead\"} 0"), Pass);
        assert_eq!(mails("mail_outbox_rows{state=\"dead\"} 2"), Warn);
        let reminders = |last: &str| -> Outcome {
            let text = format!("reminder_last_success_timestamp_seconds {last}");
            check_reminders(&Metrics::parse(&text), 10_000.0).outcome
        };
        assert_eq!(reminders("0"), Skip);
        assert_eq!(reminders("9900"), Pass);
        assert_eq!(reminders("1000"), Warn);
    }

    #[test]
    fn a_loopback_address_in_a_container() {
        let host = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(listen_address(host, false).outcome, Pass);
        assert_eq!(listen_address(host, true).outcome, Warn);
        let foreign = IpAddr::from([203, 0, 113, 9]);
        assert_eq!(listen_address(foreign, false).outcome, Fail);
    }
}
