//! The daemon that runs on this machine, if one does.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{HttpConfig, TelemetryConfig};
use crate::services::daemon::{self, DaemonError, DaemonStatus};

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
    let status_base = match telemetry.metrics_addr {
        Some(address) => daemon::local_address_of(address),
        None => base.clone(),
    };
    let limit = budget.limit(LIMIT);
    let health = async {
        let url = daemon::health_url(&base)?;
        daemon::health(&url, limit).await
    };
    let started = std::time::Instant::now();
    let (health, status) = tokio::join!(health, daemon::status(&status_base, limit));
    let took = started.elapsed();
    let listen = LISTEN.done(
        judge_listen(http.host, Path::new("/.dockerenv").exists()),
        Duration::ZERO,
    );
    let is_ours = status.is_ok()
        || health
            .as_ref()
            .is_ok_and(|answer| answer.database.is_some());

    let mut checks = vec![listen];
    if is_refused(&health) {
        checks.push(PORT.done(Verdict::pass(format!("{} is free", http.port)), took));
        if let Some(address) = telemetry.metrics_addr {
            checks.push(METRICS_PORT.done(judge_metrics_port(http, address, &status), took));
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
    match status {
        Ok(status) => {
            checks.push(VERSION.done(judge_version(&status), took));
            checks.push(POOL.done(judge_pool(&status), Duration::ZERO));
            checks.extend(judged(MAILS, judge_mails(&status)));
            checks.extend(judged(REMINDERS, judge_reminders(&status, clock)));
        }
        Err(error) => {
            let reason = format!("not checked: no status: {error}");
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
    answer: &Result<DaemonStatus, DaemonError>,
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
    if answer.is_ok() {
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

fn judge_version(status: &DaemonStatus) -> Verdict {
    let (ours, theirs) = (env!("CARGO_PKG_VERSION"), &status.version);
    if theirs == ours {
        return Verdict::pass(format!("{ours}, as this program"));
    }
    Verdict::warn(
        format!("the daemon is {theirs}, this program {ours}"),
        "restart the daemon with this program, or use the program that it was started with"
            .to_owned(),
    )
}

fn judge_pool(status: &DaemonStatus) -> Verdict {
    let said: Vec<String> = status
        .pools
        .iter()
        .map(|pool| {
            let used = pool.size.saturating_sub(pool.idle);
            let (name, max, waiting) = (&pool.name, pool.max, pool.waiting);
            format!("{name}: {used} of {max} in use, {waiting} waiting")
        })
        .collect();
    let said = said.join("; ");
    // A pool of one, as SQLite's writer is, is full only when somebody waits for it.
    let is_full = status
        .pools
        .iter()
        .any(|pool| pool.idle == 0 && pool.size >= pool.max && (pool.waiting > 0 || pool.max > 1));
    if !is_full {
        return Verdict::pass(said);
    }
    Verdict::warn(
        format!("full: {said}"),
        "see what is slow: psql -c \"SELECT pid, state, query_start, query FROM pg_stat_activity\"; raise SQLALCHEMY_POOL_SIZE as far as database.connections allows".to_owned(),
    )
}

fn judge_mails(status: &DaemonStatus) -> Result<Verdict, &'static str> {
    let mails = status.mails.ok_or("no mail was looked at yet")?;
    let (dead, waiting) = (mails.dead, mails.pending);
    if dead == 0 {
        return Ok(Verdict::pass(format!("none; {waiting} waiting")));
    }
    Ok(Verdict::warn(
        format!("{dead} were given up; {waiting} waiting"),
        "the daemon's log says why each was refused; correct RESEND_API_KEY and EMAIL_FROM, then restart it".to_owned(),
    ))
}

fn judge_reminders(status: &DaemonStatus, clock: &Clock) -> Result<Verdict, &'static str> {
    let last = status
        .last_reminder_run
        .ok_or("no reminder run has ended yet")?;
    let age = u64::try_from(clock.now().unix_seconds().saturating_sub(last)).unwrap_or(0);
    let detail = format!("the newest run ended well {} min ago", age / 60);
    if age <= REMINDERS_LATE.as_secs() {
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
    use crate::services::daemon::{MailStatus, PoolStatus};

    fn status() -> DaemonStatus {
        DaemonStatus {
            version: String::new(),
            pools: Vec::new(),
            mails: None,
            last_reminder_run: None,
        }
    }

    #[test]
    fn pools() {
        let outcome = |idle, waiting| {
            let pool = PoolStatus {
                name: "main".to_owned(),
                size: 30,
                idle,
                waiting,
                max: 30,
            };
            let pools = vec![pool];
            judge_pool(&DaemonStatus { pools, ..status() }).outcome
        };
        assert_eq!(outcome(4, 0), Outcome::Pass);
        assert_eq!(outcome(0, 0), Outcome::Warn);
        assert_eq!(outcome(4, 1), Outcome::Pass);
    }

    #[test]
    fn mails_and_reminders() {
        let mails = |dead| {
            let mails = Some(MailStatus { pending: 1, dead });
            let verdict = judge_mails(&DaemonStatus { mails, ..status() });
            verdict.map(|verdict| verdict.outcome)
        };
        assert!(judge_mails(&status()).is_err());
        assert_eq!(mails(0), Ok(Outcome::Pass));
        assert_eq!(mails(2), Ok(Outcome::Warn));

        let clock = Clock::fixed(Timestamp::from_micros_clamped(10_000_000_000));
        let reminders = |seconds| {
            let last_reminder_run = Some(seconds);
            let status = DaemonStatus {
                last_reminder_run,
                ..status()
            };
            judge_reminders(&status, &clock).map(|verdict| verdict.outcome)
        };
        assert!(judge_reminders(&status(), &clock).is_err());
        assert_eq!(reminders(9900), Ok(Outcome::Pass));
        assert_eq!(reminders(1000), Ok(Outcome::Warn));
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
