//! What a running daemon tells about its work.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use procfs::process::Process;

use crate::config::{DatabaseTarget, Remedy, ca_file};
use crate::diagnostics::check::{Check, run};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::is_todoctl;
use crate::diagnostics::verdict::Outcome::{Fail, Pass, Skip, Warn};
use crate::diagnostics::verdict::Verdict;
use crate::domain::Timestamp;
use crate::services::daemon::{ProcessStatus, ServiceStatus};

use super::cpu_limit::check_cpu_limit;
use super::errors::errors;
use super::file_limit::{check_file_limit, check_open_files};
use super::log_file::check_log;
use super::memory_limit::{check_memory_kills, check_memory_limit};
use super::settings::configuration;
use super::status::{OLDER, of_status};
use super::thread_limit::check_thread_limits;

pub(in crate::diagnostics) static CHECKS: &[Check] = &[
    Check::new("daemon.errors", "Failed requests", run!(Always, errors))
        .about(
            "Requests of the last 15 minutes that the running daemon answered with a 5xx status, \
             by route, with the newest causes, and requests that it refused because of too much \
             load. Each cause has the id of its request, which the daemon's log has too. The \
             usual cause is the database: read its checks first. Also clients that are kept out: \
             nearly all requests of a kind, a considerable part of them, or many are refused for one \
             reason (tokens, service tokens, paths, bodies, headers, refreshes, preflights), probes ask \
             for what does not exist, a proxy speaks another protocol, all users behind a proxy that \
             TRUSTED_PROXIES does not name, or that does not name them, share one limit, CORS_ORIGINS \
             does not have a web page, or RATE_LIMIT_PER_MINUTE or MAX_BODY_BYTES refuse much; a \
             single client on the internet and scanners are no finding.",
        )
        .outcomes(&[Pass, Warn, Skip])
        .needs(&["daemon.port"]),
    Check::new("daemon.services", "Used services", run!(Always, services))
        .about(
            "Whether the running daemon has stopped asking the auth server or Redis for a while, \
             because they failed. This command may reach them although the daemon does not. Usual \
             causes are a name that resolves differently there, and a credential that was changed.",
        )
        .outcomes(&[Pass, Warn, Skip])
        .needs(&["daemon.port"]),
    Check::new("daemon.process", "Process", run!(Always, process))
        .about(
            "Open files, sockets and threads of the running daemon against its limits, where its log \
             goes and the lines that could not be written, the size that its files may have, memory \
             and processor time against the limits of its control group, whether the kernel has killed \
             in that group lately, and start time. At the limit of \
             files the daemon refuses connections, at that of threads changes fail, at that of memory the \
             kernel kills it, and at that of processor time answers are late. Usual causes are a low limit in the unit file, a reader of the log that has \
             stalled, a disk that is full, and a log that was deleted.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(&["daemon.port"]),
    Check::new(
        "daemon.configuration",
        "Its configuration",
        run!(Always, configuration),
    )
    .about(
        "Whether the running daemon has the settings that this command sees. They are compared by \
         fingerprints whose key is derived from SESSION_HASH_SECRET, so that no value is shown \
         and none can be guessed by a reader of /status. The usual cause of a difference is a \
         setting that was changed after the daemon started.",
    )
    .outcomes(&[Pass, Warn, Skip])
    .needs(&["daemon.port"]),
];

async fn services(context: &Context, limit: Duration) -> Verdict {
    let file = ca_file(&context.request.source);
    let changed = file.and_then(|file| Some(file.metadata().ok()?.mtime()));
    of_status(context, limit, |status| {
        let started = status.process.map(|process| process.started);
        let has_old_ca = changed
            .zip(started)
            .is_some_and(|(changed, started)| changed > started);
        check_services(&status.services, has_old_ca)
    })
    .await
}

/// `has_old_ca` tells whether `SSL_CERT_FILE` was changed after the daemon started, which reads it
/// once.
fn check_services(services: &[ServiceStatus], has_old_ca: bool) -> Verdict {
    let mut collected = Collected::default();
    for service in services.iter().filter(|service| service.is_down) {
        let (what, check) = match service.name.as_str() {
            "auth_server" => (
                format!(
                    "the auth server failed when the daemon last asked it{}: opaque tokens are answered with 503 until it answers again",
                    failed(service)
                ),
                "services.auth_server",
            ),
            "redis" => (
                format!(
                    "Redis did not count when the daemon last asked it{}: each daemon counts rate limits by itself",
                    failed(service)
                ),
                "services.redis",
            ),
            _ => continue,
        };
        let restart = Remedy::note(
            "SSL_CERT_FILE was changed after the daemon started: restart the daemon, so that it reads it",
        );
        collected.warn(
            what,
            Remedy::default().then(has_old_ca.then_some(restart)).then(Remedy::note(format!(
                "if {check} passes here, the daemon reaches it differently: compare its network and its configuration (daemon.configuration)"
            ))),
        );
    }
    if services.is_empty() {
        return Verdict::skip("no service is configured that the daemon keeps asking");
    }
    let names: Vec<&str> = services.iter().map(|one| one.name.as_str()).collect();
    collected.verdict(format!("{} answered when last asked", names.join(", ")))
}

/// When and why it failed, as far as that is told.
fn failed(service: &ServiceStatus) -> String {
    let at = service.failed_at.map(|seconds| {
        let at = Timestamp::from_micros_clamped(seconds.saturating_mul(1_000_000));
        format!(", at {}", at.to_seconds_string())
    });
    let reason = service.reason.as_ref().map(|why| format!(" ({why})"));
    at.unwrap_or_default() + &reason.unwrap_or_default()
}

async fn process(context: &Context, limit: Duration) -> Verdict {
    let now = context.request.clock.now().unix_seconds();
    let file = match context.target() {
        Some(DatabaseTarget::Sqlite(file)) => Some(file.path.as_path()),
        _ => None,
    };
    of_status(context, limit, |status| match &status.process {
        Some(process) => check_process(process, now, file),
        None => Verdict::skip(OLDER),
    })
    .await
}

/// `now` is in seconds since 1970, `file` the SQLite database.
fn check_process(process: &ProcessStatus, now: i64, file: Option<&Path>) -> Verdict {
    let mut collected = Collected::default();
    check_open_files(&mut collected, process);
    if process.dropped_log_lines > 0 {
        collected.warn(
            format!(
                "{} log lines of the last 15 min were lost: they were not taken from stderr in time",
                process.dropped_log_lines
            ),
            Remedy::note("let the program that reads the daemon's stderr go on, or free space where it writes; if that program has ended, restart the daemon; LOG_LEVEL=warn writes fewer lines"),
        );
    }
    if let Some(file) = file {
        check_file_limit(&mut collected, process, file);
    }
    check_memory_limit(&mut collected, process);
    let age = Duration::from_secs(u64::try_from(now - process.started).unwrap_or_default());
    if let Some(own) = running_here(process.pid) {
        check_memory_kills(&mut collected, &own, age);
        check_cpu_limit(&mut collected, &own, age);
        check_thread_limits(&mut collected, &own);
        check_log(&mut collected, &own);
    }
    if let Some(threads) = process.threads {
        collected.note(format!("{threads} threads"));
    }
    if let Some(bytes) = process.resident_bytes {
        collected.note(format!("{} MiB", bytes >> 20));
    }
    collected.verdict(format!(
        "pid {}, started {} ago",
        process.pid,
        humantime::format_duration(age)
    ))
}

/// The daemon's process, where it is one of this machine or container.
pub(super) fn running_here(pid: u32) -> Option<Process> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    let stat = process.stat().ok()?;
    is_todoctl(&stat.comm).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Outcome::{self, Pass, Warn};

    #[test]
    fn files_and_log_lines() {
        let outcome = |open, max, dropped_log_lines| -> Outcome {
            let process = ProcessStatus {
                pid: 7,
                started: 0,
                open_files: Some(open),
                max_files: Some(max),
                threads: Some(4),
                resident_bytes: Some(30 << 20),
                dropped_log_lines,
                ..ProcessStatus::default()
            };
            check_process(&process, 60, None).outcome
        };
        assert_eq!(outcome(20, 1024, 0), Pass);
        assert_eq!(outcome(1000, 1024, 0), Warn);
        assert_eq!(outcome(20, 1024, 1), Warn);
    }
}
