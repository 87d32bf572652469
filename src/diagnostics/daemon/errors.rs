//! Requests that a running daemon failed to answer, or refused.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::{Audit, Bounds, DatabaseTarget, Remedy, Source};
use crate::diagnostics::collected::Collected;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::migrations::has_its_tables;
use crate::diagnostics::verdict::Verdict;
use crate::services::daemon::{RequestFailure, RequestStatus, RouteFailures};
use crate::store::messages::{self, KnownMessage, Place};

use super::refused::check_refused;
use super::status::{OLDER, of_status};

/// A client may have seen a failure or two while the database restarted. More of them, at this
/// share of the answers, go on.
const FAILURES: u64 = 3;
const FAILED_PERCENT: u64 = 1;

/// So many routes are named.
const NAMED: usize = 3;

pub(super) async fn errors(context: &Context, limit: Duration) -> Verdict {
    let place = context.target().map_or(Place::Unknown, Place::from);
    let now = Now::of(context, limit).await;
    of_status(context, limit, |status| match &status.requests {
        Some(requests) => {
            let mut services = status.services.iter();
            let auth_server = services.find(|one| one.name == "auth_server");
            let failure = auth_server.and_then(|one| one.reason.as_deref());
            check_errors(
                requests,
                failure,
                place,
                now,
                &context.request.source,
                &context.audit,
            )
        }
        None => Verdict::skip(OLDER),
    })
    .await
}

/// What this command finds well, whatever the daemon's requests have failed for.
#[derive(Debug, Clone, Copy, Default)]
struct Now {
    /// It logs in at the server with its own variables.
    is_reached: bool,
    /// A new session finds all tables.
    has_tables: bool,
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
        let is_any = |is_one: fn(&KnownMessage) -> bool| newest.iter().any(|one| is_one(one));
        // Both may wait for what other checks have begun.
        let within = limit.mul_f64(0.4);
        let is_reached = is_any(KnownMessage::is_of_connecting)
            && timeout(within, context.server.login(target, limit))
                .await
                .is_ok_and(Result::is_ok);
        let has_tables = is_any(is_of_tables)
            && timeout(within, has_its_tables(context, config, limit))
                .await
                .unwrap_or_default();
        Self {
            is_reached,
            has_tables,
        }
    }

    /// What is left to do about a failure whose cause is gone.
    fn restart(self, known: &KnownMessage) -> Option<Remedy> {
        if self.is_reached && known.is_of_connecting() {
            return Some(Remedy::note(
                "this command logs in with its own variables: if requests still fail, restart the daemon, which has those that it was started with",
            ));
        }
        (self.has_tables && is_of_tables(known)).then(|| {
            Remedy::note("the database has all tables now: if requests still fail, restart the daemon, whose sessions keep the search path that they began with")
        })
    }
}

fn is_of_tables(known: &KnownMessage) -> bool {
    matches!(known.id, "postgres.no-table" | "postgres.no-schema")
}

fn known(failure: &RequestFailure) -> Option<&'static KnownMessage> {
    messages::by_id(failure.known_message.as_deref()?)
}

/// `failure` is why the auth server gave no usable answer when it was last asked.
fn check_errors(
    requests: &RequestStatus,
    failure: Option<&str>,
    place: Place<'_>,
    now: Now,
    source: &Source,
    audit: &Audit,
) -> Verdict {
    let mut collected = Collected::default();
    let minutes = requests.minutes;
    let failed: u64 = requests.failures.iter().map(|route| route.failed).sum();
    let is_usual = failed < FAILURES || failed * 100 < requests.answered * FAILED_PERCENT;
    let summary = format!(
        "{failed} of {} requests failed within {minutes} min",
        requests.answered
    );
    if !is_usual {
        let mut routes: Vec<&RouteFailures> = requests.failures.iter().collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.failed));
        let texts: Vec<String> = routes
            .iter()
            .take(NAMED)
            .map(|one| route_text(one, failure))
            .collect();
        collected.warn(
            format!("{summary}: {}", texts.join("; ")),
            remedies(&routes, place, now, audit.http.request_timeout),
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
    check_refused(&mut collected, requests, source, audit);
    collected.verdict(summary)
}

/// A route with its newest cause.
fn route_text(route: &RouteFailures, failure: Option<&str>) -> String {
    let mut text = format!("{} × {} {}", route.failed, route.method, route.route);
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
fn remedies(routes: &[&RouteFailures], place: Place<'_>, now: Now, limit: Duration) -> Remedy {
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
        .map(|one| now.restart(one).unwrap_or_else(|| (one.remedy)(place)));
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
mod tests {
    use super::*;
    use crate::config::PostgresTarget;
    use crate::diagnostics::Outcome::{self, Pass, Warn};

    fn requests(failed: u64, answered: u64, shed: u64) -> RequestStatus {
        RequestStatus {
            minutes: 15,
            answered,
            shed,
            queue_ms: 0,
            failures: vec![RouteFailures {
                method: "GET".to_owned(),
                route: "/tasks/".to_owned(),
                failed,
                newest: vec![RequestFailure {
                    at: 1,
                    status: 503,
                    kind: "database_unavailable".to_owned(),
                    code: Some("40P01".to_owned()),
                    known_message: Some("postgres.deadlock".to_owned()),
                    request_id: "abc".to_owned(),
                }],
            }],
            ..RequestStatus::default()
        }
    }

    fn checked(requests: &RequestStatus, values: &[(&str, &str)]) -> Verdict {
        let source = Source::from_values(values.iter().copied());
        check_errors(
            requests,
            Some("unreachable"),
            Place::Unknown,
            Now::default(),
            &source,
            &Audit::of(&source),
        )
    }

    #[test]
    fn a_limit_that_is_too_short() {
        for (kind, code, limit, expected) in [
            ("database_unavailable", Some("9"), "0.1", true),
            ("database_unavailable", Some("57014"), "4", true),
            ("timed_out", None, "1", true),
            ("timed_out", None, "20", false),
            ("database_unavailable", Some("5"), "1", false),
        ] {
            let mut requests = requests(9, 9, 0);
            let newest = &mut requests.failures[0].newest[0];
            newest.kind = kind.to_owned();
            newest.code = code.map(str::to_owned);
            newest.known_message = None;
            let verdict = checked(&requests, &[(REQUEST_TIMEOUT, limit)]);
            let remedy = verdict.remedy.unwrap().to_string();
            let command = "todoctl config set REQUEST_TIMEOUT_SECONDS=20";
            assert_eq!(
                remedy.contains(command),
                expected,
                "{kind} {limit}: {remedy}"
            );
            let is_named = verdict.detail.contains("ended by REQUEST_TIMEOUT_SECONDS");
            let is_own = kind == "timed_out" || code == Some("9");
            assert_eq!(is_named, is_own, "{}", verdict.detail);
        }
    }

    /// As after a password was changed in the database and in the `.env` file: nothing but a restart
    /// is left to do.
    #[test]
    fn a_connection_that_this_command_has() {
        let server = PostgresTarget::fixture("db.example.com", 5432);
        let source = Source::from_values([("PORT", "1")]);
        for (message, is_settled) in [
            ("postgres.login", true),
            ("postgres.no-database", true),
            ("network.refused", true),
            ("pgbouncer.login", true),
            ("postgres.no-right", false),
            ("pgbouncer.time-limit", false),
            ("pgbouncer.ended", false),
            ("pgbouncer.server-login", false),
            ("postgres.too-many-connections", false),
            // As after a search path was reset.
            ("postgres.no-table", true),
            ("postgres.no-schema", true),
        ] {
            let mut requests = requests(9, 9, 0);
            requests.failures[0].newest[0].known_message = Some(message.to_owned());
            let said = |is_well| {
                let now = Now {
                    is_reached: is_well,
                    has_tables: is_well,
                };
                let verdict = check_errors(
                    &requests,
                    None,
                    Place::Server(&server),
                    now,
                    &source,
                    &Audit::of(&source),
                );
                verdict.remedy.unwrap().to_string()
            };
            let (before, after) = (said(false), said(true));
            assert!(messages::by_id(message).is_some(), "{message}");
            assert_eq!(before != after, is_settled, "{message}: {after}");
            let is_left = after.contains("restart the daemon") && !after.contains("DATABASE_URL");
            assert!(!is_settled || is_left, "{message}: {after}");
        }
    }

    #[test]
    fn an_auth_server_that_gives_no_answer() {
        let mut requests = requests(9, 9, 0);
        let newest = &mut requests.failures[0].newest[0];
        newest.kind = UNAVAILABLE.to_owned();
        (newest.code, newest.known_message) = (None, None);
        let verdict = checked(&requests, &[]);
        assert!(
            verdict
                .detail
                .contains("auth_server_unavailable: unreachable, request"),
            "{}",
            verdict.detail
        );
        let remedy = verdict.remedy.unwrap().to_string();
        assert!(remedy.contains("services.auth_server"), "{remedy}");
        assert!(!remedy.contains("DATABASE_URL"), "{remedy}");
    }

    #[test]
    fn a_key_that_is_not_published_yet() {
        let mut requests = requests(9, 9, 0);
        let newest = &mut requests.failures[0].newest[0];
        newest.kind = UNKNOWN_KEY.to_owned();
        (newest.code, newest.known_message) = (None, None);
        let remedy = checked(&requests, &[]).remedy.unwrap().to_string();
        assert!(remedy.contains("keep /api/auth/jwks out of"), "{remedy}");
    }

    #[test]
    fn failures_and_refusals() {
        let outcome = |failed, answered, shed| -> Outcome {
            checked(&requests(failed, answered, shed), &[]).outcome
        };
        assert_eq!(outcome(2, 2, 0), Pass);
        assert_eq!(outcome(3, 3, 0), Warn);
        assert_eq!(outcome(50, 10_000, 0), Pass);
        assert_eq!(outcome(200, 10_000, 0), Warn);
        assert_eq!(outcome(0, 10_000, 1), Warn);
        let verdict = checked(&requests(9, 9, 0), &[]);
        assert!(
            verdict.detail.ends_with(
                "9 × GET /tasks/ (newest: 503 database_unavailable, code 40P01, request abc)"
            ),
            "{}",
            verdict.detail
        );
        let remedy = verdict.remedy.unwrap().to_string();
        assert!(remedy.contains("request_id abc"), "{remedy}");
    }
}
