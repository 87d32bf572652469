//! `/status`: the daemon's state as JSON, which `todoctl doctor` reads.

use std::collections::BTreeMap;

use http::StatusCode;
use rustix::io::Errno;

use crate::domain::Timestamp;
use crate::services::daemon::{
    CredentialStatus, DaemonStatus, DatabaseStatus, MailOutcome, MailStatus, PageStatus,
    PoolStatus, ProcessStatus, RefusalStatus, RequestFailure, RequestStatus, RouteFailures,
    ServiceStatus,
};
use crate::services::redis::RedisCounter;
use crate::store::{self, Accounts, EXPIRED};
use crate::telemetry::{
    JobMetrics, MINUTES, RecentFailure, RefusalKind, Refusals, dropped_log_lines,
};

use super::context::ApiContext;
use super::endpoint::{Call, Inputs};
use super::error::ApiError;
use super::limits::is_private;
use super::reply::Reply;

mod control_group;

/// So many kinds of refusals are told: the answer must not be longer than doctor reads.
const TOLD: usize = 40;

const UNAUTHORIZED: u16 = StatusCode::UNAUTHORIZED.as_u16();
const NOT_FOUND: u16 = StatusCode::NOT_FOUND.as_u16();

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
        mails: mails(jobs),
        last_reminder_run: Some(jobs.last_reminder_run.get()).filter(|seconds| *seconds > 0),
        configuration: context.fingerprints.clone(),
    }
}

/// The outbox, once it has been read.
fn mails(jobs: &JobMetrics) -> Option<MailStatus> {
    let (pending, dead, outcomes) = jobs.outbox_rows()?;
    let pause = jobs.pause();
    let outcomes = outcomes.into_iter().map(|one| MailOutcome {
        state: one.state,
        reason: one.reason.as_deref().map(public_reason),
        mails: one.mails,
        oldest: one.oldest.unix_seconds(),
    });
    Some(MailStatus {
        pending,
        dead,
        paused: pause.is_some(),
        paused_since: pause.as_ref().map(|pause| pause.since.unix_seconds()),
        paused_until: pause.as_ref().map(|pause| pause.until.unix_seconds()),
        paused_reason: pause.map(|pause| pause.reason),
        accounts: jobs.accounts().map(Accounts::as_str).map(str::to_owned),
        outcomes: Some(outcomes.collect()),
        last_sent: jobs.last_sent().map(Timestamp::unix_seconds),
    })
}

/// The reason of a mail's outcome, without the words of the network, which may have names of other
/// machines.
fn public_reason(reason: &str) -> String {
    if let Some(last) = reason.strip_prefix(EXPIRED) {
        return match last.strip_prefix(": ") {
            Some(last) => format!("{EXPIRED}: {}", public_reason(last)),
            None => EXPIRED.to_owned(),
        };
    }
    let is_public = reason.starts_with(|first: char| first.is_ascii_digit())
        || reason.starts_with("no answer within ")
        || store::OWN_REASONS.contains(&reason);
    if is_public { reason } else { "unreachable" }.to_owned()
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
    let refusals = clients.refusals(now);
    let of_reason =
        |reason: &'static str| refusals.iter().filter(move |one| one.kind.reason == reason);
    let count_of = |reason| of_reason(reason).map(|one| one.count).sum();
    RequestStatus {
        minutes: MINUTES,
        answered: recent.count_answered(now).map(|(_, _, count)| count).sum(),
        answered_routes: recent
            .count_answered(now)
            .filter(|(_, _, count)| *count > 0)
            .map(|(method, route, count)| (format!("{method} {route}"), count))
            .collect(),
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
        limited: count_of("rate_limit"),
        limited_proxies: of_reason("limited_untrusted_proxy")
            .flat_map(|one| &one.addresses)
            .map(|(proxy, count)| (proxy.to_string(), *count))
            .collect(),
        refused_origins: of_reason("preflight_origin")
            .flat_map(|one| &one.details)
            .map(|(origin, count)| (origin.to_string(), *count))
            .collect(),
        pages: clients.pages(now).into_iter().map(page).collect(),
        too_large: count_of("body_too_large"),
        unknown_paths: refusals
            .iter()
            .filter(|one| one.kind.status == NOT_FOUND && one.kind.caller != "none")
            .map(|one| one.count)
            .sum(),
        has_local_proxy: clients.has_local_proxy(),
        has_scraper: Some(clients.has_scraper()),
        has_clients: Some(clients.has_clients()),
        max_body_bytes: context.max_body_bytes as u64,
        key_obstacles: clients
            .count_key_obstacles(now)
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect(),
        credentials: clients
            .count_accepted(now)
            .map(|(kind, accepted)| {
                let mut refused = BTreeMap::new();
                let of_kind =
                    |one: &&Refusals| one.kind.caller == kind && one.kind.status == UNAUTHORIZED;
                for one in refusals.iter().filter(of_kind) {
                    *refused.entry(one.kind.reason.to_owned()).or_default() += one.count;
                }
                (kind.to_owned(), CredentialStatus { accepted, refused })
            })
            .collect(),
        sessions_in_use: Some(context.auth.sessions_in_use()),
        done: clients
            .count_done(now)
            .map(|(what, count)| (what.to_owned(), count))
            .collect(),
        refusals: refusals.into_iter().take(TOLD).map(refusal).collect(),
        missing_tasks: clients.missing_tasks(now),
    }
}

fn page((origin, preflights, requests): (String, u64, u64)) -> (String, PageStatus) {
    let counts = PageStatus {
        preflights,
        requests,
    };
    (origin, counts)
}

fn refusal(one: Refusals) -> RefusalStatus {
    let RefusalKind {
        status,
        reason,
        method,
        route,
        caller,
    } = one.kind;
    let (private, public): (Vec<_>, Vec<_>) = one
        .addresses
        .into_iter()
        .partition(|(address, _)| is_private(*address));
    let details = one.details.into_iter();
    RefusalStatus {
        status,
        reason: reason.to_owned(),
        method: method.to_owned(),
        route: route.to_owned(),
        caller: caller.to_owned(),
        count: one.count,
        details: details
            .map(|(detail, count)| (detail.into_owned(), count))
            .collect(),
        addresses: private
            .into_iter()
            .map(|(address, count)| (address.to_string(), count))
            .collect(),
        public_addresses: public.len() as u64,
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
    [
        (
            "auth_server",
            auth_server,
            context.auth.auth_server_failure(),
        ),
        (
            "redis",
            redis,
            context.redis.as_ref().and_then(RedisCounter::failure),
        ),
    ]
    .into_iter()
    .filter_map(|(name, is_down, failure)| {
        let (failed_at, reason) = failure.unzip();
        Some(ServiceStatus {
            name: name.to_owned(),
            is_down: is_down?,
            other_issuer: context
                .auth
                .other_issuer()
                .filter(|_| name == "auth_server"),
            reason,
            failed_at: failed_at.map(Timestamp::unix_seconds),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_without_names_of_machines() {
        for (reason, public) in [
            ("422 validation_error (to)", "422 validation_error (to)"),
            ("no answer within 10s", "no answer within 10s"),
            (store::NO_ACCOUNT, store::NO_ACCOUNT),
            ("expired", "expired"),
            ("expired: 500", "expired: 500"),
            (
                "expired: not valid for name canary.internal",
                "expired: unreachable",
            ),
            ("Connection refused (os error 111)", "unreachable"),
        ] {
            assert_eq!(public_reason(reason), public, "{reason}");
        }
    }
}
