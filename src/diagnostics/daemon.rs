//! The daemon that runs on this machine, if one does.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{HttpConfig, TelemetryConfig};
use crate::services::daemon::{self, DaemonError, Metrics};

use super::check::{Budget, Check, Name, Verdict};

const LISTEN: Name = Name {
    id: "daemon.listen",
    title: "Address",
};
const PORT: Name = Name {
    id: "daemon.port",
    title: "Port",
};
const METRICS_PORT: Name = Name {
    id: "daemon.metrics_port",
    title: "Metrics port",
};
const HEALTH: Name = Name {
    id: "daemon.health",
    title: "Health",
};
const VERSION: Name = Name {
    id: "daemon.version",
    title: "Version",
};
const POOL: Name = Name {
    id: "daemon.pool",
    title: "Pool",
};
const MAILS: Name = Name {
    id: "daemon.mails",
    title: "Dead mails",
};
const REMINDERS: Name = Name {
    id: "daemon.reminders",
    title: "Reminders",
};

/// Every check of the daemon, in order.
pub const NAMES: &[Name] = &[
    LISTEN,
    PORT,
    METRICS_PORT,
    HEALTH,
    VERSION,
    POOL,
    MAILS,
    REMINDERS,
];

const LIMIT: Duration = Duration::from_secs(5);

/// The job runs every quarter of an hour; two runs may fail.
const REMINDERS_LATE: Duration = Duration::from_secs(45 * 60);

/// Looks at HOST and PORT, and at what answers there.
pub async fn checks(
    http: &HttpConfig,
    telemetry: &TelemetryConfig,
    clock: &Clock,
    budget: Budget,
) -> Vec<Check> {
    let base = daemon::local_address(http);
    let metrics_base = match telemetry.metrics_addr {
        Some(address) => daemon::local_address_of(address),
        None => base.clone(),
    };
    let limit = budget.limit(LIMIT);
    let health = async {
        let url = daemon::health_url(&base)?;
        daemon::health(&url, limit).await
    };
    let started = std::time::Instant::now();
    let (health, metrics) = tokio::join!(health, daemon::metrics(&metrics_base, limit));
    let took = started.elapsed();
    let listen = LISTEN.done(
        judge_listen(http.host, Path::new("/.dockerenv").exists()),
        Duration::ZERO,
    );
    let is_ours = metrics.as_ref().is_ok_and(is_todoctl)
        || health
            .as_ref()
            .is_ok_and(|answer| answer.database.is_some());

    let mut checks = vec![listen];
    if is_refused(&health) {
        checks.push(PORT.done(Verdict::pass(format!("{} is free", http.port)), took));
        if let Some(address) = telemetry.metrics_addr {
            checks.push(METRICS_PORT.done(judge_metrics_port(http, address, &metrics), took));
        }
        let none = "no daemon runs here";
        checks.extend([HEALTH, VERSION, POOL, MAILS, REMINDERS].map(|name| name.skipped(none)));
        return checks;
    }
    if !is_ours {
        let what = match &health {
            Ok(answer) => format!("answers {} to GET /health", answer.status),
            Err(error) => format!("says: {error}"),
        };
        let port = http.port;
        let verdict = Verdict::fail(
            format!("something that is not todoctl has port {port}: it {what}"),
            format!(
                "find it: ss -ltnp 'sport = :{port}'; stop it, or choose another port: PORT={}",
                next_port(port)
            ),
        );
        checks.push(PORT.done(verdict, took));
        let reason = format!("not checked, because {} failed", PORT.id);
        checks.extend([HEALTH, VERSION, POOL, MAILS, REMINDERS].map(|name| name.skipped(&reason)));
        return checks;
    }
    checks.push(PORT.done(
        Verdict::pass(format!("a todoctl daemon has port {}", http.port)),
        took,
    ));
    checks.push(HEALTH.done(judge_health(health), took));
    match metrics {
        Ok(metrics) => {
            checks.push(VERSION.done(judge_version(&metrics), took));
            checks.extend(judged(POOL, judge_pool(&metrics)));
            checks.extend(judged(MAILS, judge_mails(&metrics)));
            checks.extend(judged(REMINDERS, judge_reminders(&metrics, clock)));
        }
        Err(error) => {
            let reason = format!("not checked: no metrics: {error}");
            checks.extend([VERSION, POOL, MAILS, REMINDERS].map(|name| name.skipped(&reason)));
        }
    }
    checks
}

/// A verdict, or the reason why there is none.
fn judged(name: Name, verdict: Result<Verdict, &'static str>) -> [Check; 1] {
    [match verdict {
        Ok(verdict) => name.done(verdict, Duration::ZERO),
        Err(reason) => name.skipped(reason),
    }]
}

fn is_todoctl(metrics: &Metrics) -> bool {
    metrics.value("todoctl_build_info", &[]).is_some()
}

/// Whether nothing listens there.
fn is_refused<T>(answer: &Result<T, DaemonError>) -> bool {
    matches!(answer, Err(DaemonError::Unreachable(why)) if why.to_lowercase().contains("refused"))
}

fn is_of_this_machine(address: IpAddr) -> bool {
    // UDP, so that no TCP port is taken from a daemon that starts at this moment.
    UdpSocket::bind((address, 0)).is_ok()
}

fn next_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(8000)
}

/// No daemon has HOST and PORT. What answers where the metrics are to be hinders its start.
fn judge_metrics_port(
    http: &HttpConfig,
    address: SocketAddr,
    answer: &Result<Metrics, DaemonError>,
) -> Verdict {
    let remedy = || {
        let free = next_port(address.port().max(http.port));
        format!("METRICS_ADDR={}", SocketAddr::new(address.ip(), free))
    };
    let overlaps =
        address.ip() == http.host || address.ip().is_unspecified() || http.host.is_unspecified();
    if address.port() == http.port && overlaps {
        return Verdict::fail(
            format!("METRICS_ADDR={address} is where the API itself listens"),
            remedy(),
        );
    }
    if !is_of_this_machine(address.ip()) {
        return Verdict::fail(
            format!("METRICS_ADDR={address} is no address of this machine"),
            format!("METRICS_ADDR=127.0.0.1:{}", address.port()),
        );
    }
    if answer.as_ref().is_ok_and(is_todoctl) {
        return Verdict::fail(
            format!("a todoctl daemon with another PORT has {address}, which METRICS_ADDR names"),
            remedy(),
        );
    }
    if !is_refused(answer) {
        return Verdict::fail(
            format!("something that is not todoctl has {address}, which METRICS_ADDR names"),
            format!(
                "find it: ss -ltnp 'sport = :{}'; stop it, or choose another: {}",
                address.port(),
                remedy()
            ),
        );
    }
    Verdict::pass(format!("{address} is free"))
}

fn judge_listen(host: IpAddr, in_container: bool) -> Verdict {
    if !is_of_this_machine(host) {
        return Verdict::fail(
            format!("HOST={host} is no address of this machine"),
            "HOST=0.0.0.0 (all addresses), or HOST=127.0.0.1 (this machine alone)".to_owned(),
        );
    }
    if host.is_loopback() && in_container {
        return Verdict::warn(
            format!("HOST={host} is reached from inside this container alone"),
            "HOST=0.0.0.0".to_owned(),
        );
    }
    Verdict::pass(format!("{host} is an address of this machine"))
}

fn judge_health(health: Result<daemon::HealthAnswer, DaemonError>) -> Verdict {
    match health {
        Ok(answer) if answer.is_healthy() => Verdict::pass("healthy"),
        Ok(answer) => Verdict::fail(
            format!(
                "answers {}, database {}",
                answer.status,
                answer.database.as_deref().unwrap_or("unknown")
            ),
            "todoctl db check".to_owned(),
        ),
        Err(error) => Verdict::fail(
            error.to_string(),
            "restart the daemon; its log says what it waits for".to_owned(),
        ),
    }
}

fn judge_version(metrics: &Metrics) -> Verdict {
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = metrics.labels("todoctl_build_info", "version");
    match theirs.first().map(String::as_str) {
        Some(theirs) if theirs == ours => Verdict::pass(format!("{ours}, as this program")),
        Some(theirs) => Verdict::warn(
            format!("the daemon is {theirs}, this program {ours}"),
            "restart the daemon with this program, or use the program that it was started with"
                .to_owned(),
        ),
        None => Verdict::warn("the daemon does not say its version", None),
    }
}

fn judge_pool(metrics: &Metrics) -> Result<Verdict, &'static str> {
    const NAME: &str = "db_pool_connections";
    let mut pools = metrics.labels(NAME, "pool");
    pools.dedup();
    if pools.is_empty() {
        return Err("the daemon does not tell");
    }
    let mut said = Vec::new();
    let mut full = Vec::new();
    for pool in &pools {
        let state = |state| {
            metrics
                .value(NAME, &[("pool", pool), ("state", state)])
                .unwrap_or(0.0)
        };
        let (size, idle, waiting, max) =
            (state("size"), state("idle"), state("waiting"), state("max"));
        said.push(format!(
            "{pool}: {} of {max} in use, {waiting} waiting",
            (size - idle).max(0.0)
        ));
        // A writer of one is often busy, and full only once somebody waits for it.
        if idle == 0.0 && size >= max && (waiting > 0.0 || max > 1.0) {
            full.push(pool.as_str());
        }
    }
    let said = said.join("; ");
    if full.is_empty() {
        return Ok(Verdict::pass(said));
    }
    Ok(Verdict::warn(
        format!("full: {said}"),
        "see what is slow: psql -c \"SELECT pid, state, query_start, query FROM pg_stat_activity\"; raise SQLALCHEMY_POOL_SIZE as far as database.connections allows".to_owned(),
    ))
}

fn judge_mails(metrics: &Metrics) -> Result<Verdict, &'static str> {
    const NAME: &str = "mail_outbox_rows";
    let dead = metrics
        .value(NAME, &[("state", "dead")])
        .ok_or("no mail was looked at yet")?;
    let waiting = metrics.value(NAME, &[("state", "pending")]).unwrap_or(0.0);
    if dead == 0.0 {
        return Ok(Verdict::pass(format!("none; {waiting} waiting")));
    }
    Ok(Verdict::warn(
        format!("{dead} were given up; {waiting} waiting"),
        "the daemon's log says why each was refused; correct RESEND_API_KEY and EMAIL_FROM, then restart it".to_owned(),
    ))
}

fn judge_reminders(metrics: &Metrics, clock: &Clock) -> Result<Verdict, &'static str> {
    let last = metrics
        .value("reminder_last_success_timestamp_seconds", &[])
        .filter(|last| *last > 0.0)
        .ok_or("no reminder run has ended yet")?;
    let age = (clock.now().unix_seconds() as f64 - last).max(0.0);
    let detail = format!("the newest run ended well {:.0} min ago", age / 60.0);
    if age <= REMINDERS_LATE.as_secs_f64() {
        return Ok(Verdict::pass(detail));
    }
    Ok(Verdict::warn(
        detail,
        "the daemon's log says why; by hand: todoctl jobs run".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome;
    use crate::domain::Timestamp;

    #[test]
    fn pools() {
        let judged = |text: &str| judge_pool(&Metrics::parse(text)).map(|one| one.outcome);
        let rows = |idle, waiting| {
            format!(
                "db_pool_connections{{pool=\"main\",state=\"idle\"}} {idle}\ndb_pool_connections{{pool=\"main\",state=\"max\"}} 30\ndb_pool_connections{{pool=\"main\",state=\"size\"}} 30\ndb_pool_connections{{pool=\"main\",state=\"waiting\"}} {waiting}\n"
            )
        };
        assert_eq!(judged(&rows(4, 0)), Ok(Outcome::Pass));
        assert_eq!(judged(&rows(0, 0)), Ok(Outcome::Warn));
        assert_eq!(judged(&rows(4, 1)), Ok(Outcome::Pass));
        assert!(judged("").is_err());
    }

    #[test]
    fn mails_and_reminders() {
        let mails = |text: &str| judge_mails(&Metrics::parse(text)).map(|one| one.outcome);
        assert!(mails("").is_err());
        assert_eq!(
            mails("mail_outbox_rows{state=\"dead\"} 0"),
            Ok(Outcome::Pass)
        );
        assert_eq!(
            mails("mail_outbox_rows{state=\"dead\"} 2"),
            Ok(Outcome::Warn)
        );
        let clock = Clock::fixed(Timestamp::from_micros_clamped(10_000_000_000));
        let reminders =
            |text: &str| judge_reminders(&Metrics::parse(text), &clock).map(|one| one.outcome);
        assert!(reminders("reminder_last_success_timestamp_seconds 0").is_err());
        assert_eq!(
            reminders("reminder_last_success_timestamp_seconds 9900"),
            Ok(Outcome::Pass)
        );
        assert_eq!(
            reminders("reminder_last_success_timestamp_seconds 1000"),
            Ok(Outcome::Warn)
        );
    }

    #[test]
    fn a_loopback_address_in_a_container() {
        let host = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(judge_listen(host, false).outcome, Outcome::Pass);
        assert_eq!(judge_listen(host, true).outcome, Outcome::Warn);
        let foreign = IpAddr::from([203, 0, 113, 9]);
        assert_eq!(judge_listen(foreign, false).outcome, Outcome::Fail);
    }
}
