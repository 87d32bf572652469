//! Checks of the daemon on this machine, and of the addresses that it listens on.

use std::time::Duration;

use crate::config::{DatabaseTarget, Remedy};
use crate::services::daemon::DaemonStatus;

use super::check::{Check, run};
use super::context::Context;
use super::verdict::Outcome::{Fail, Pass, Skip, Warn};
use super::verdict::Verdict;
use running::running_here;
use status::{NO_DAEMON, of_status};

mod address;
mod cpu_limit;
mod database;
mod environ;
mod errors;
mod file_limit;
mod foreign_ids;
mod log_file;
mod mails;
mod memory_limit;
mod moved;
mod origins;
mod other_file;
mod out_of_reach;
mod own_program;
mod refused;
mod reminders;
pub(super) mod running;
mod sessions;
mod settings;
mod status;
mod thread_limit;

pub(super) static CHECKS: &[Check] = &[
    Check::new("daemon.listen", "Address", run!(Always, address::listen))
        .about(
            "Whether HOST is an address of this machine. The daemon cannot listen on \
         another one, and in a container an address such as 127.0.0.1 cannot be reached \
         from outside, unless a proxy in the same container or pod forwards requests. The \
         usual cause is a value that was copied from another machine.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(&["config.env_file"]),
    Check::new("daemon.port", "Port", run!(Always, address::port))
        .about(
            "What listens on PORT: nothing, a todoctl daemon, or another program, with which the \
         daemon cannot start. A daemon that does not answer may be stopped, frozen, in a debugger or \
         out of file descriptors, which its process tells. A file that a running daemon has locked \
         (todo.db-daemon beside a SQLite file, otherwise among the temporary files) tells where one \
         of this database listens, whether the last one was killed, and what the last start has printed if \
         it failed; PORT is also compared with where the last daemon had clients, if none has come to this \
         one since it started. The usual cause is a second service with the same default port.",
        )
        .outcomes(&[Pass, Warn, Fail])
        .needs(&["config.env_file", "daemon.listen"]),
    Check::new(
        "daemon.metrics_port",
        "Metrics port",
        run!(Always, address::metrics_port),
    )
    .about(
        "What listens on METRICS_ADDR. The address must be free, of this machine, and \
         different from the API's. In a container nobody outside can read the metrics at \
         127.0.0.1. The usual cause is a daemon that was started before \
         METRICS_ADDR was set or changed.",
    )
    .outcomes(&[Pass, Warn, Fail])
    .needs(&["daemon.port"]),
    Check::new("daemon.health", "Health", run!(Always, health))
        .about(
            "GET /health of the running daemon, as a load balancer sees it. A daemon that \
         is not healthy gets no requests, nor does one that was asked to stop and waits for \
         SHUTDOWN_DELAY_SECONDS. The usual cause is a database that the daemon cannot reach.",
        )
        .outcomes(&[Pass, Warn, Fail, Skip])
        .needs(&["daemon.port"]),
    Check::new("daemon.version", "Version", run!(Always, version))
        .about(
            "The version of the running daemon is compared with this program's. If they \
         differ, the findings of the other checks may not apply to the daemon. Also whether its program \
         was replaced or deleted since: it runs on, and its next start is another one, or fails. The \
         usual cause is a daemon that was not restarted after an upgrade.",
        )
        .outcomes(&[Pass, Warn, Skip])
        .needs(&["daemon.port"]),
    Check::new(
        "daemon.database",
        "Served database",
        run!(Database, database::database),
    )
    .about(
        "Whether the running daemon serves the database that this configuration names, and whether \
         callers ask for tasks that only another database can have given them. \
         If not, this command examines one database while users change another. The \
         usual cause is a DATABASE_URL that changed after the daemon started. Others are a \
         changed search path, a database that was restored or created again, and a deployment to a \
         new directory that does not have the SQLite file.",
    )
    .outcomes(&[Pass, Warn, Fail, Skip])
    .needs(&["daemon.port", "database.login"])
    .when_blocked(other_file::served_instead)
    .taking_turns(),
    Check::new("daemon.sessions", "Session tokens", run!(Database, sessions::sessions))
        .about(
            "Whether the running daemon knows the session tokens that clients send. If it refuses \
         all of them although the database has valid sessions, SESSION_HASH_SECRET has another \
         value than when they were made. The usual cause is a secret that was replaced without \
         keeping the old value as SESSION_HASH_SECRET_PREVIOUS.",
        )
        .outcomes(&[Pass, Warn, Skip])
        .needs(&["daemon.port", "database.login"])
        .taking_turns(),
    Check::new("daemon.pool", "Pool", run!(Always, pool))
        .about(
            "The running daemon's database connections: in use, idle, and requests that \
         wait for one. When all are in use, requests are refused. Usual causes are slow \
         queries, locks held by other sessions, and a pool that is too small.",
        )
        .outcomes(&[Pass, Warn, Skip])
        .needs(&["daemon.port"]),
    Check::new("daemon.mails", "Reminder mails", run!(Always, mails::mails))
        .about(
            "Reminder mails that the running daemon could not deliver within the last 24 hours, or \
         that have waited for an hour, by the reason; and whether it can read users' addresses. Mails \
         that were given up are not sent again. Usual causes are an API key that was revoked, a sender \
         whose domain is not verified at the provider, an address that does not exist, and a database \
         without the auth server's accounts (the table \"user\").",
        )
        .outcomes(&[Pass, Warn, Skip])
        .needs(&["daemon.port"])
        .taking_turns(),
    Check::new(
        "daemon.reminders",
        "Reminders",
        run!(Always, reminders::reminders),
    )
    .about(
        "When the reminder job last succeeded. It runs every 15 minutes; while it fails \
         nobody is reminded. Usual causes are a slow or unreachable database, and a \
         daemon that was just started.",
    )
    .outcomes(&[Pass, Warn, Skip])
    .needs(&["daemon.port"]),
];

async fn health(context: &Context, limit: Duration) -> Verdict {
    let daemon = context.daemon(limit).await;
    if let Ok(status) = &daemon.status
        && let Some(process) = &status.process
        && let Some(since) = process.draining_since
    {
        let now = context.request.clock.now().unix_seconds();
        return draining(process.pid, now - since, context.audit.http.shutdown_delay);
    }
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

/// `seconds` is how long it has been so.
fn draining(pid: u32, seconds: i64, delay: Duration) -> Verdict {
    Verdict::warn(
        format!(
            "the daemon (pid {pid}) was asked to stop {seconds} s ago and is draining: load balancers send it nothing, and it ends {} after it was asked (SHUTDOWN_DELAY_SECONDS)",
            humantime::format_duration(delay)
        ),
        Remedy::note(
            "unless it was stopped on purpose, or another one has taken over, start it again as soon as it has ended",
        ),
    )
}

async fn version(context: &Context, limit: Duration) -> Verdict {
    of_status(context, limit, |status| {
        let verdict = compare_versions(status);
        let process = status.process.and_then(|process| running_here(process.pid));
        let gone = process.filter(|_| verdict.outcome == Pass);
        gone.and_then(|process| own_program::gone(&process))
            .unwrap_or(verdict)
    })
    .await
}

fn compare_versions(status: &DaemonStatus) -> Verdict {
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = &status.version;
    let restart =
        Remedy::note("restart the daemon with this program, or use the program that started it");
    if theirs != ours {
        return Verdict::warn(
            format!("the daemon is {theirs}, this program is {ours}"),
            restart,
        );
    }
    // Older daemons, and builds outside of a repository, tell no commit.
    let is_other_build =
        !status.commit.is_empty() && !crate::COMMIT.is_empty() && status.commit != crate::COMMIT;
    if is_other_build {
        return Verdict::warn(
            format!(
                "the daemon is another build of {ours} ({}, this program is {})",
                status.commit,
                crate::COMMIT
            ),
            restart,
        );
    }
    Verdict::pass(format!("{ours}, the same as this program"))
}

async fn pool(context: &Context, limit: Duration) -> Verdict {
    let is_file = matches!(context.target(), Some(DatabaseTarget::Sqlite(_)));
    of_status(context, limit, |status| check_pools(status, is_file)).await
}

/// `is_file` is whether the database is SQLite's.
fn check_pools(status: &DaemonStatus, is_file: bool) -> Verdict {
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
    let remedy = if is_file {
        Remedy::note("SQLite has one writer, and no setting adds another: wait until the change or query that takes long has ended; if the pool stays full, this shows whether another process has locked the file:")
            .then(Remedy::command("todoctl doctor --only database.locks"))
    } else {
        Remedy::note("this shows what the connections do; raise SQLALCHEMY_POOL_SIZE as far as the check database.connections allows:")
            .then(Remedy::sql("SELECT pid, application_name, state, now() - state_change AS since FROM pg_stat_activity WHERE datname = current_database() ORDER BY state_change"))
    };
    Verdict::warn(format!("full: {detail}"), remedy)
}

#[cfg(test)]
mod tests;
