//! Requests that a running daemon failed to answer, or refused.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::{Bounds, DatabaseTarget, Remedy};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::lacking;
use crate::diagnostics::database::migrations::has_its_tables;
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::{RequestFailure, RequestStatus, RouteFailures, ServiceStatus};
use crate::store::messages::{self, KnownMessage, Place};

use super::refused::{Own, check_refused};
use super::settings::other_values;
use super::status::{OLDER, of_status};

/// A client may have seen a failure or two while the database restarted. More of them, at this
/// share of the answers, go on.
const FAILURES: u64 = 3;
const FAILED_PERCENT: u64 = 1;

/// The same of one route, however many others are answered.
const FAILURES_OF_ROUTE: u64 = 5;
const FAILED_PERCENT_OF_ROUTE: u64 = 20;

/// So many routes are named.
const NAMED: usize = 3;

pub(super) async fn errors(context: &Context, limit: Duration) -> Verdict {
    let place = context.target().map_or(Place::Unknown, Place::from);
    let now = Now::of(context, limit).await;
    of_status(context, limit, |status| match &status.requests {
        Some(requests) => {
            let mut services = status.services.iter();
            let auth_server = services.find(|one| one.name == "auth_server");
            let source = &context.request.source;
            let own = Own {
                source,
                audit: &context.audit,
                other_values: other_values(status, source, &context.audit),
                other_issuer: auth_server.and_then(|one| one.other_issuer.as_deref()),
            };
            check_errors(requests, auth_server, place, &now, &own)
        }
        None => Verdict::skip(OLDER),
    })
    .await
}

/// What this command finds well, whatever the daemon's requests have failed for.
#[derive(Debug, Default)]
struct Now {
    /// It logs in at the server with its own variables.
    is_reached: bool,
    /// A new session finds all tables.
    has_tables: bool,
    /// What to do about that which the newest failures lacked, and which is still missing.
    lacking: Vec<(&'static str, Remedy)>,
}

impl Now {
    /// Asks only what the newest failures are about.
    async fn of(context: &Context, limit: Duration) -> Self {
        let (Some(config), Some(DatabaseTarget::Postgres(target))) =
            (context.database(), context.target())
        else {
            return Self::default();
        };
        let Ok(status) = &context.daemon(limit).await.status else {
            return Self::default();
        };
        let routes = status.requests.iter().flat_map(|one| &one.failures);
        let newest = routes.filter_map(|route| known(route.newest.first()?));
        let newest: Vec<&KnownMessage> = newest.collect();
        let mut missing = Vec::new();
        for known in newest.iter().filter(|one| one.is_of_catalogue()) {
            if missing.iter().all(|(id, _)| *id != known.id)
                && let Some(found) = lacking(context, known, limit).await
                && let Some(remedy) = found.remedy
            {
                missing.push((known.id, remedy));
            }
        }
        let is_any = |is_one: fn(&KnownMessage) -> bool| newest.iter().any(|one| is_one(one));
        // Both may wait for what other checks have begun.
        let within = limit.mul_f64(0.4);
        let is_reached = is_any(KnownMessage::is_of_connecting)
            && timeout(within, context.server.login(target, limit))
                .await
                .is_ok_and(Result::is_ok);
        let has_tables = is_any(KnownMessage::is_of_tables)
            && timeout(within, has_its_tables(context, config, limit))
                .await
                .unwrap_or_default();
        Self {
            is_reached,
            has_tables,
            lacking: missing,
        }
    }

    /// What is left to do about a failure whose cause is gone, or was found.
    fn remedy(&self, known: &KnownMessage) -> Option<Remedy> {
        if let Some((_, remedy)) = self.lacking.iter().find(|(id, _)| *id == known.id) {
            return Some(remedy.clone());
        }
        if self.is_reached && known.is_of_connecting() {
            return Some(Remedy::note(
                "this command logs in with its own variables: if requests still fail, restart the daemon, which has those that it was started with",
            ));
        }
        (self.has_tables && known.is_of_tables()).then(|| {
            Remedy::note("the database has all tables now: if requests still fail, restart the daemon, whose sessions keep the search path that they began with")
        })
    }
}

fn known(failure: &RequestFailure) -> Option<&'static KnownMessage> {
    messages::by_id(failure.known_message.as_deref()?)
}

fn check_errors(
    requests: &RequestStatus,
    auth_server: Option<&ServiceStatus>,
    place: Place<'_>,
    now: &Now,
    own: &Own<'_>,
) -> Verdict {
    let mut collected = Collected::default();
    // Why the auth server gave no usable answer when it was last asked.
    let failure = auth_server.and_then(|one| one.reason.as_deref());
    let minutes = requests.minutes;
    let failed: u64 = requests.failures.iter().map(|route| route.failed).sum();
    let is_usual = failed < FAILURES || failed * 100 < requests.answered * FAILED_PERCENT;
    let summary = format!(
        "{failed} of {} requests failed within {minutes} min",
        requests.answered
    );
    let mut routes: Vec<&RouteFailures> = requests.failures.iter().collect();
    routes.retain(|route| !is_usual || fails_often(route, requests));
    if !routes.is_empty() {
        routes.sort_by_key(|route| std::cmp::Reverse(route.failed));
        let texts: Vec<String> = routes
            .iter()
            .take(NAMED)
            .map(|one| route_text(one, requests, failure))
            .collect();
        collected.warn(
            format!("{summary}: {}", texts.join("; ")),
            remedies(&routes, place, now, own.audit.http.request_timeout),
        );
    }
    if requests.shed > 0 {
        collected.warn(
            format!(
                "{} requests were refused within {minutes} min because the daemon had too many; a request waits {} ms for a connection now",
                requests.shed, requests.queue_ms
            ),
            Remedy::note("find what is slow (database.locks, database.sessions, database.latency); then raise SQLALCHEMY_POOL_SIZE as far as database.connections allows, or run more daemons"),
        );
    }
    check_refused(&mut collected, requests, own);
    collected.verdict(summary)
}

/// How often the route was answered; `None` from an older daemon.
fn count_answered(route: &RouteFailures, requests: &RequestStatus) -> Option<u64> {
    let name = format!("{} {}", route.method, route.route);
    requests.answered_routes.get(&name).copied()
}

fn fails_often(route: &RouteFailures, requests: &RequestStatus) -> bool {
    let failed = route.failed;
    failed >= FAILURES_OF_ROUTE
        && count_answered(route, requests)
            .is_some_and(|answered| failed * 100 >= answered * FAILED_PERCENT_OF_ROUTE)
}

/// A route with its newest cause.
fn route_text(route: &RouteFailures, requests: &RequestStatus, failure: Option<&str>) -> String {
    let counts = match count_answered(route, requests) {
        Some(answered) => format!("{} of {answered}", route.failed),
        None => format!("{} ×", route.failed),
    };
    let mut text = format!("{counts} {} {}", route.method, route.route);
    if let Some(newest) = route.newest.first() {
        let code = newest.code.as_deref().map(|code| format!(", code {code}"));
        text += &format!(
            " (newest: {} {}{}{}, request {})",
            newest.status,
            newest.kind,
            code.unwrap_or_default(),
            match failure {
                _ if ended_by_deadline(newest) => format!(", ended by {REQUEST_TIMEOUT}"),
                Some(failure) if newest.kind == UNAVAILABLE => format!(": {failure}"),
                _ => String::new(),
            },
            newest.request_id
        );
    }
    text
}

/// What is known about the newest cause of each route. `limit` is `REQUEST_TIMEOUT_SECONDS`.
fn remedies(routes: &[&RouteFailures], place: Place<'_>, now: &Now, limit: Duration) -> Remedy {
    let newest = || routes.iter().filter_map(|route| route.newest.first());
    let wise = Bounds::of(REQUEST_TIMEOUT)
        .filter(|wise| limit < Duration::from_secs(wise.least().into()))
        .filter(|_| newest().any(may_be_ended_by_deadline));
    let longer = wise.map(|wise| {
        Remedy::note(
            "ordinary requests take as long while the database is busy; then restart the daemon:",
        )
        .then(Remedy::set(REQUEST_TIMEOUT, wise.usual))
    });
    let known = newest()
        .filter_map(known)
        .map(|one| now.remedy(one).unwrap_or_else(|| (one.remedy)(place)));
    let known = known.fold(Remedy::default(), Remedy::then);
    let log = newest().next().map(|one| {
        Remedy::note(format!(
            "the daemon's log has the whole error in the line with request_id {}",
            one.request_id
        ))
    });
    let auth_server = newest().any(|one| one.kind == UNAVAILABLE).then(|| {
        Remedy::note("the check services.auth_server says what is wrong with the auth server, unless it has recovered since")
    });
    let unknown_key = messages::by_id("todoctl.unknown-signing-key")
        .filter(|_| newest().any(|one| one.kind == UNKNOWN_KEY))
        .map(|known| (known.remedy)(place));
    let all = Remedy::default().then(longer).then(known).then(unknown_key);
    all.then(auth_server).then(log)
}

/// A token names a key that was not among those just fetched.
const UNKNOWN_KEY: &str = "unknown_signing_key";

/// The auth server gave no answer, or none that can be used.
const UNAVAILABLE: &str = "auth_server_unavailable";

const REQUEST_TIMEOUT: &str = "REQUEST_TIMEOUT_SECONDS";

/// Whether the daemon's own limit of a request ended it, on SQLite as `SQLITE_INTERRUPT`.
fn ended_by_deadline(failure: &RequestFailure) -> bool {
    failure.kind == "timed_out" || failure.code.as_deref() == Some("9")
}

/// The same for a server's `query_canceled`, which other limits may have caused.
fn may_be_ended_by_deadline(failure: &RequestFailure) -> bool {
    ended_by_deadline(failure) || failure.code.as_deref() == Some("57014")
}

#[cfg(test)]
mod tests;
