//! `/status`: the daemon's state as JSON, which `todoctl doctor` reads.

use http::StatusCode;
use rustix::io::Errno;

use crate::domain::Timestamp;
use crate::services::daemon::{
    CredentialStatus, DaemonStatus, DatabaseStatus, MailStatus, PoolStatus, ProcessStatus,
    RequestFailure, RequestStatus, RouteFailures, ServiceStatus,
};
use crate::telemetry::{MINUTES, RecentFailure, dropped_log_lines};

use super::context::ApiContext;
use super::endpoint::{Call, Inputs};
use super::error::ApiError;
use super::reply::Reply;

mod control_group;

pub(super) async fn status(call: Call<()>, _: Inputs) -> Result<Reply, ApiError> {
    Ok(Reply::json(StatusCode::OK, &daemon_status(&call.context))?)
}

/// The state of this process.
fn daemon_status(context: &ApiContext) -> DaemonStatus {
    let now = context.clock.now();
    let jobs = &context.metrics.jobs;
    let identity = context.store.identity();
    let parts = identity.parts();
    let pools = context.store.pools().into_iter();
    let pause = jobs.pause();
    DaemonStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: crate::COMMIT.to_owned(),
        process: Some(process(context, now)),
        database: Some(DatabaseStatus {
            id: identity.row().map(str::to_owned),
            place: identity.place(),
            server: parts.server,
            database: Some(parts.database),
            name: Some(parts.name),
        }),
        pools: pools
            .map(|(name, pool)| PoolStatus {
                name: name.to_owned(),
                size: pool.size,
                idle: pool.idle,
                waiting: pool.waiting,
                max: pool.max,
            })
            .collect(),
        requests: Some(requests(context, now)),
        services: services(context),
        mails: jobs.outbox_rows().map(|(pending, dead)| MailStatus {
            pending,
            dead,
            paused: pause.is_some(),
            paused_since: pause.as_ref().map(|pause| pause.since.unix_seconds()),
            paused_reason: pause.map(|pause| pause.reason),
        }),
        last_reminder_run: Some(jobs.last_reminder_run.get()).filter(|seconds| *seconds > 0),
        configuration: context.fingerprints.clone(),
    }
}

fn process(context: &ApiContext, now: Timestamp) -> ProcessStatus {
    let stat = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        let value = stat.lines().find_map(|line| line.strip_prefix(name))?;
        value.split_whitespace().next()?.parse().ok()
    };
    let limit = |resource: rlimit::Resource| {
        let limit = resource.get_soft().ok();
        limit.filter(|limit| *limit != rlimit::INFINITY)
    };
    let max_files = limit(rlimit::Resource::NOFILE);
    ProcessStatus {
        pid: std::process::id(),
        started: context.started.unix_seconds(),
        open_files: count_open_files(max_files),
        max_files,
        threads: field("Threads:"),
        // In KiB.
        resident_bytes: field("VmRSS:").map(|size| size * 1024),
        anonymous_bytes: field("RssAnon:").map(|size| size * 1024),
        max_memory_bytes: control_group::max_memory(),
        dropped_log_lines: dropped_log_lines(now),
        max_file_bytes: limit(rlimit::Resource::FSIZE),
        draining_since: context.draining_since(),
    }
}

/// At the limit, the list of the open files cannot be opened either.
fn count_open_files(limit: Option<u64>) -> Option<u64> {
    match std::fs::read_dir("/proc/self/fd") {
        Ok(files) => Some(files.count() as u64),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) => limit,
        Err(_) => None,
    }
}

fn requests(context: &ApiContext, now: Timestamp) -> RequestStatus {
    let recent = &context.metrics.recent;
    let wait = context.store.queue_delay().as_millis();
    let failures = recent.failures(now).into_iter();
    let clients = &context.metrics.clients;
    let proxies = clients.count_limited_proxies(now).into_iter();
    RequestStatus {
        minutes: MINUTES,
        answered: recent.count_answered(now),
        shed: recent.count_shed(now),
        queue_ms: u64::try_from(wait).unwrap_or(u64::MAX),
        failures: failures
            .map(|one| RouteFailures {
                method: one.method.to_owned(),
                route: one.route.to_owned(),
                failed: one.failed,
                newest: one.newest.into_iter().map(failure).collect(),
            })
            .collect(),
        limited: clients.count_limited_users(now),
        limited_proxies: proxies
            .map(|(one, count)| (one.to_string(), count))
            .collect(),
        refused_origins: clients.count_refused_origins(now).into_iter().collect(),
        too_large: clients.count_too_large(now),
        unknown_paths: clients.count_unknown_paths(now),
        has_local_proxy: clients.has_local_proxy(),
        has_scraper: Some(clients.has_scraper()),
        max_body_bytes: context.max_body_bytes as u64,
        credentials: clients
            .count_accepted(now)
            .map(|(kind, accepted)| {
                let refused = clients.count_refused(kind, now).into_iter();
                let refused = refused.map(|(reason, count)| (reason.to_owned(), count));
                let status = CredentialStatus {
                    accepted,
                    refused: refused.collect(),
                };
                (kind.to_owned(), status)
            })
            .collect(),
    }
}

fn failure(one: RecentFailure) -> RequestFailure {
    RequestFailure {
        at: one.at.unix_seconds(),
        status: one.status,
        kind: one.kind.to_owned(),
        code: one.code,
        known_message: one.known_message.map(str::to_owned),
        request_id: one.request_id,
    }
}

/// The services that are configured.
fn services(context: &ApiContext) -> Vec<ServiceStatus> {
    let auth_server = context.auth.is_auth_server_down();
    let redis = context.redis.as_ref().map(|redis| !redis.is_up());
    [("auth_server", auth_server), ("redis", redis)]
        .into_iter()
        .filter_map(|(name, is_down)| {
            Some(ServiceStatus {
                name: name.to_owned(),
                is_down: is_down?,
            })
        })
        .collect()
}
