use super::*;
use crate::config::{Audit, PostgresTarget, Source};
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
        Some(&ServiceStatus {
            reason: Some("unreachable".to_owned()),
            ..ServiceStatus::default()
        }),
        Place::Unknown,
        &Now::default(),
        &Own {
            source: &source,
            audit: &Audit::of(&source),
            other_values: Vec::new(),
            other_issuer: None,
        },
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
                lacking: Vec::new(),
            };
            let own = Own {
                source: &source,
                audit: &Audit::of(&source),
                other_values: Vec::new(),
                other_issuer: None,
            };
            let place = Place::Server(&server);
            let verdict = check_errors(&requests, None, place, &now, &own);
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
    // One route may fail always.
    for (failed, of_route, outcome_of_route) in [(4, 4, Pass), (5, 5, Warn), (5, 26, Pass)] {
        let mut requests = requests(failed, 10_000, 0);
        let counted = ("GET /tasks/".to_owned(), of_route);
        requests.answered_routes = [counted].into();
        let verdict = checked(&requests, &[]);
        assert_eq!(verdict.outcome, outcome_of_route, "{failed} of {of_route}");
        let is_told = verdict.detail.contains("5 of 5 GET /tasks/ (newest");
        assert_eq!(is_told, verdict.outcome == Warn, "{}", verdict.detail);
    }
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
