//! The addresses that the daemon listens on, and what listens there now.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::config::{Remedy, Source, in_container, metrics_address};
use crate::diagnostics::context::Context;
use crate::diagnostics::directory::this_user;
use crate::diagnostics::halted::halted;
use crate::diagnostics::probe::{self, Listener};
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::{DaemonStatus, reachable_at};
use crate::services::memory_kills::MemoryKills;
use crate::services::run_record::{FailedStart, LastRun, Run, last_run};

use super::environ::hidden_here;
use super::moved::left_behind;
use super::out_of_reach::{behind_firewall, in_other_network};

pub(super) async fn listen(context: &Context, limit: Duration) -> Verdict {
    let found = context.elsewhere().map(|run| run.address.ip());
    let host = found.unwrap_or(context.audit.http.host);
    let is_closed = host.is_loopback() && in_container() && {
        let requests = context.daemon(limit).await.requests();
        !requests.is_some_and(|requests| requests.has_local_proxy)
    };
    listen_address(host, is_closed)
}

/// `is_closed` tells that nobody reaches an address of this container alone.
pub(super) fn listen_address(host: IpAddr, is_closed: bool) -> Verdict {
    if !is_of_this_machine(host) {
        return Verdict::fail(
            format!("HOST={host} is not an address of this machine"),
            Remedy::note(
                "0.0.0.0 are all addresses of this machine; for this machine only: 127.0.0.1",
            )
            .then(Remedy::set("HOST", "0.0.0.0")),
        );
    }
    if is_closed {
        return Verdict::warn(
            format!("HOST={host} can be reached from inside this container only"),
            Remedy::note("set it where the container's environment is set (compose file or platform), and start the daemon again; where it has a .env file:")
                .then(Remedy::set("HOST", "0.0.0.0")),
        );
    }
    Verdict::pass(format!("{host} is an address of this machine"))
}

fn is_of_this_machine(address: IpAddr) -> bool {
    // UDP, so that no TCP port is taken from a daemon that starts at this moment.
    UdpSocket::bind((address, 0)).is_ok()
}

pub(super) async fn port(context: &Context, limit: Duration) -> Verdict {
    let daemon = context.daemon(limit).await;
    let port = context.audit.http.port;
    if let Some(run) = context.elsewhere().filter(|_| !daemon.is_absent()) {
        let address = SocketAddr::new(context.audit.http.host, port);
        return elsewhere(&run, address, None);
    }
    if daemon.is_absent() {
        if let Some(verdict) = forbidden(context.audit.http.host, port) {
            return verdict;
        }
        let address = SocketAddr::new(context.audit.http.host, port);
        let now = context.request.clock.now().unix_seconds();
        if let Some(listener) = todoctl_at(port).await
            && let Some(verdict) = behind_firewall(&listener, reachable_at(address)).await
        {
            return verdict;
        }
        return match context.target().and_then(last_run) {
            Some(LastRun::Killed(run)) => killed(&run, address, now),
            Some(LastRun::HungUp(run)) => hung_up(&run, address),
            Some(LastRun::Failed(start)) if !was_corrected(&context.request.source, &start) => {
                not_started(&start, address, now)
            }
            Some(LastRun::Running(run)) if let Some(verdict) = in_other_network(&run, address) => {
                verdict
            }
            Some(LastRun::Running(run)) if run.address != address => {
                let hidden = hidden_here(&context.request.source, &["HOST", "PORT"]);
                elsewhere(&run, address, hidden)
            }
            _ => Verdict::pass(format!("{port} is free")),
        };
    }
    if daemon.is_todoctl() {
        return match left_behind(context, daemon).await {
            Some(verdict) => verdict,
            None => Verdict::pass(format!("a todoctl daemon listens on {port}")),
        };
    }
    let answer = match &daemon.health {
        Ok(answer) => format!("GET /health answers {}", answer.status),
        Err(error) => error.to_string(),
    };
    let listener = probe::listener(port).await;
    if let Some(listener) = listener.as_ref().filter(|one| one.is_todoctl()) {
        let at = reachable_at(SocketAddr::new(context.audit.http.host, port));
        let dropped = behind_firewall(listener, at).await;
        return dropped.unwrap_or_else(|| silent_daemon(listener, port, &answer));
    }
    let program = listener.map_or_else(
        || "another program".to_owned(),
        |one| format!("another program ({}, pid {})", one.name, one.pid),
    );
    Verdict::fail(
        format!("{program} listens on port {port}: {answer}"),
        other_port(port, Remedy::set("PORT", next_port(port))),
    )
}

/// The todoctl that listens on `port`.
async fn todoctl_at(port: u16) -> Option<Listener> {
    let listener = probe::listener(port).await;
    listener.filter(Listener::is_todoctl)
}

/// Ports below 1024 are, by default, for root alone (`ip(7)`, `ip_unprivileged_port_start`).
fn forbidden(host: IpAddr, port: u16) -> Option<Verdict> {
    let error = UdpSocket::bind((host, port)).err()?;
    (error.kind() == ErrorKind::PermissionDenied).then(|| {
        Verdict::fail(
            format!("{} may not listen on port {port}", this_user()),
            Remedy::note(
                "in a unit file AmbientCapabilities=CAP_NET_BIND_SERVICE allows it, and a proxy that has the port makes it needless; otherwise:",
            )
            .then(Remedy::set("PORT", 8000)),
        )
    })
}

/// A daemon of this database listens, and not where this configuration says. `hidden` tells that this
/// command has HOST or PORT from elsewhere than the `.env` file.
fn elsewhere(run: &Run, expected: SocketAddr, hidden: Option<(String, Remedy)>) -> Verdict {
    let (pid, address) = (run.pid, run.address);
    let text = format!(
        "no daemon listens on {expected}, but one of this database (pid {pid}) listens on {address}"
    );
    if let Some((why, remedy)) = hidden {
        return Verdict::warn(format!("{text}; {why}"), remedy);
    }
    Verdict::warn(
        text,
        Remedy::note(format!(
            "if clients should find it at {expected}, correct HOST and PORT where its environment is set, and restart it; otherwise look at it with its own values: HOST={} PORT={} todoctl doctor",
            address.ip(),
            address.port()
        )),
    )
}

/// The last daemon did not end by itself. `now` is in seconds since 1970.
fn killed(run: &Run, address: SocketAddr, now: i64) -> Verdict {
    let age = Duration::from_secs(u64::try_from(now - run.started).unwrap_or_default());
    let in_group = run.memory_kills.as_ref().and_then(MemoryKills::since);
    let is_for_memory =
        in_group.is_some_and(|kills| kills > 0) || probe::was_killed_for_memory(run.pid);
    let how = if is_for_memory {
        "the kernel killed it for lack of memory"
    } else {
        "it was killed (kill -9, or by the kernel for lack of memory), or has crashed"
    };
    let memory = is_for_memory.then(|| {
        Remedy::note("give it more memory (MemoryMax= in the unit file, docker run --memory), or find out what else uses this machine's memory")
    });
    let has_systemd = Path::new("/run/systemd/system").exists();
    let unit = has_systemd.then(|| {
        Remedy::note("as a systemd unit: systemctl status todoctl shows how it ended, and systemctl restart todoctl starts it")
    });
    Verdict::warn(
        format!(
            "no daemon listens on {address}, and the last one of this database (pid {} on {}, started {} ago) did not end by itself: {how}",
            run.pid,
            run.address,
            humantime::format_duration(age)
        ),
        Remedy::default()
            .then(memory)
            .then(Remedy::note(
                "start it again as it was started: todoctl serve, its unit or its container",
            ))
            .then(unit),
    )
}

/// The last daemon was started in a terminal, and ended with it, or a program that rotates logs has
/// ended it.
fn hung_up(run: &Run, address: SocketAddr) -> Verdict {
    let start = Remedy::command("nohup todoctl serve >> todoctl.log 2>&1 &");
    let own = rustix::process::geteuid().as_raw();
    let other = run.user.filter(|user| *user != own);
    // As another user it would generate secrets, and create files that the right one cannot use.
    let start = match other {
        Some(user) => Remedy::note(format!(
            "it ran as user {user}: start it as that user, with the environment that it had (--env-file, HOST, PORT): {start}"
        )),
        None => start,
    };
    Verdict::warn(
        format!(
            "no daemon listens on {address}, and the last one of this database (pid {} on {}) was ended by SIGHUP, as when the terminal or the ssh session that it was started in is closed, or by logrotate",
            run.pid, run.address
        ),
        Remedy::note("start it as a unit of systemd or in a container, or so that it outlives the terminal, in the directory of the service:")
            .then(start)
            .then(Remedy::note("if logrotate ended it: let it use copytruncate, and send no SIGHUP (postrotate), which does not make the daemon open its log again")),
    )
}

/// Whether the `.env` file was changed since: the next start may not fail.
fn was_corrected(source: &Source, start: &FailedStart) -> bool {
    let changed = source.file().and_then(|file| {
        let at = file.metadata().ok()?.modified().ok()?;
        at.duration_since(UNIX_EPOCH).ok()
    });
    let failed = Duration::from_micros(u64::try_from(start.at).unwrap_or_default());
    changed.is_some_and(|changed| changed > failed)
}

/// The last start ended with an error. Anybody may have written the record who could write there, so
/// nothing of it becomes a command.
fn not_started(start: &FailedStart, address: SocketAddr, now: i64) -> Verdict {
    let age = Duration::from_secs(u64::try_from(now - start.at / 1_000_000).unwrap_or_default());
    let plain = |line: &String| -> String {
        let printable = line.trim().chars().filter(|one| !one.is_control());
        printable.collect()
    };
    let mut lines = start.said.iter().map(plain);
    let first = lines.next().unwrap_or_default();
    let first = first.trim_start_matches("error: ");
    let printed = lines.fold(Remedy::note("it printed:"), |all, line| {
        all.then(Remedy::note(line))
    });
    Verdict::warn(
        format!(
            "no daemon listens on {address}, and the last start, as user {} {} ago, failed: {first}",
            start.user,
            humantime::format_duration(age)
        ),
        printed.then(Remedy::note(
            "correct that, and start it again as it was started: todoctl serve, its unit or its container",
        )),
    )
}

/// A daemon that listens and does not answer, and why.
fn silent_daemon(listener: &Listener, port: u16, answer: &str) -> Verdict {
    let pid = listener.pid;
    let (why, remedy) = halted(listener).unwrap_or_else(|| {
        (
            "runs, and does not answer".to_owned(),
            Remedy::note(format!(
                "read the daemon's log, then restart it (pid {pid})"
            )),
        )
    });
    Verdict::fail(
        format!("the todoctl daemon on port {port} (pid {pid}) {why}: {answer}"),
        remedy,
    )
}

fn other_port(port: u16, correction: Remedy) -> Remedy {
    Remedy::note(format!(
        "to keep the port, stop the program that ss -ltnp 'sport = :{port}' names; otherwise:"
    ))
    .then(correction)
}

fn next_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(8000)
}

/// After this time a Prometheus has read the metrics, if there is one.
const SCRAPED: i64 = 300;

/// Metrics at an address that only this container reaches. `now` is in seconds since 1970.
pub(super) fn metrics_in_container(
    address: SocketAddr,
    status: &DaemonStatus,
    now: i64,
) -> Verdict {
    let requests = status.requests.as_ref();
    let has_scraper = requests.and_then(|requests| requests.has_scraper);
    let age = status.process.map_or(0, |process| now - process.started);
    if has_scraper != Some(false) || age < SCRAPED {
        return Verdict::pass(format!("the daemon listens on {address}"));
    }
    Verdict::warn(
        format!(
            "METRICS_ADDR={address} can be reached from inside this container only, and nobody has read the metrics in the {} min that the daemon runs",
            age / 60
        ),
        Remedy::note("for a Prometheus outside of it, on a port that is not published to others:")
            .then(Remedy::set(
                "METRICS_ADDR",
                SocketAddr::new([0, 0, 0, 0].into(), address.port()),
            )),
    )
}

pub(super) async fn metrics_port(context: &Context, limit: Duration) -> Verdict {
    let Some(address) = context.audit.telemetry.metrics_addr else {
        return Verdict::pass("METRICS_ADDR is not set: metrics are on PORT");
    };
    let daemon = context.daemon(limit).await;
    if !daemon.is_absent() {
        return match &daemon.status {
            Ok(status) if address.ip().is_loopback() && in_container() => {
                let now = context.request.clock.now().unix_seconds();
                metrics_in_container(address, status, now)
            }
            Ok(_) => Verdict::pass(format!("the daemon listens on {address}")),
            Err(error) => Verdict::warn(
                format!("the daemon does not answer on METRICS_ADDR={address}: {error}"),
                Remedy::note("restart the daemon with this METRICS_ADDR"),
            ),
        };
    }
    let (host, port) = (context.audit.http.host, context.audit.http.port);
    let wise = metrics_address(address, &context.audit.http);
    let next = next_port(address.port().max(port));
    let other_address = Remedy::set("METRICS_ADDR", SocketAddr::new(wise.ip(), next));
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
            other_port(address.port(), other_address),
        );
    }
    Verdict::pass(format!("{address} is free"))
}
