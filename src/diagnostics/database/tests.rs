//! Faults of every step, on addresses and files of their own.

use super::questions::{check_latency, check_version, percentile};
use crate::clock::Clock;
use crate::config::{Remedy, Source};
use crate::diagnostics::probe::ServerVersion;
use crate::diagnostics::{Context, Finding, Outcome, Request, run};

use std::time::Duration;

async fn checked(url: &str) -> Vec<Finding> {
    let context = Context::new(Request {
        source: Source::from_values([("DATABASE_URL", url)]),
        broken: None,
        clock: Clock::system(),
        replicas: 1,
        file_must_exist: true,
        tries_remedies: false,
    });
    let report = run(&context, &["database"], Duration::from_secs(30), |_| ()).await;
    report.findings().to_vec()
}

fn postgres(port: u16) -> String {
    format!("postgresql://todo:hunter2@127.0.0.1:{port}/todo?sslmode=disable")
}

fn outcome_of(checks: &[Finding], id: &str) -> Outcome {
    checks.iter().find(|check| check.id == id).unwrap().outcome
}

fn outcomes(checks: &[Finding]) -> Vec<(&'static str, Outcome)> {
    checks
        .iter()
        .map(|check| (check.id, check.outcome))
        .collect()
}

#[tokio::test]
async fn a_bad_configuration_is_a_row_and_the_rest_is_skipped() {
    let checks = checked("mysql://todo:hunter2@db/todo").await;
    assert_eq!(
        outcomes(&checks),
        [
            ("database.url", Outcome::Fail),
            ("database.connection", Outcome::Skip),
            ("database.login", Outcome::Skip),
            ("database.query", Outcome::Skip),
            ("database.latency", Outcome::Skip),
            ("database.version", Outcome::Skip),
            ("database.clock", Outcome::Skip),
            ("database.search", Outcome::Skip),
            ("database.migrations", Outcome::Skip),
            ("database.trial", Outcome::Skip),
            ("database.continuity", Outcome::Skip),
            ("database.provider_keys", Outcome::Skip),
            ("database.schema", Outcome::Skip),
            ("database.users", Outcome::Skip),
            ("database.set_aside", Outcome::Skip),
            ("database.sequences", Outcome::Skip),
            ("database.unread", Outcome::Skip),
            ("database.locks", Outcome::Skip),
            ("database.size", Outcome::Skip),
        ]
    );
    assert!(checks[0].detail.starts_with("DATABASE_URL "));
    assert!(checks[0].remedy.is_some());
    assert_eq!(checks[1].detail, "skipped because database.url failed");
}

#[tokio::test]
async fn a_refused_connection_skips_the_rest_and_shows_no_password() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let checks = checked(&postgres(port)).await;
    assert_eq!(checks[2].id, "database.connection");
    assert_eq!(checks[2].outcome, Outcome::Fail);
    assert!(checks[2].remedy.is_some());
    let rest = checks[3..].iter();
    assert!(rest.clone().all(|check| check.outcome == Outcome::Skip));
    assert!(rest.len() > 10);
    let json = serde_json::to_string(&checks).unwrap();
    assert!(!json.contains("hunter2"), "{json}");
}

#[tokio::test]
async fn what_is_no_postgres_fails_before_the_login() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        // Accepts and hangs up, as a port that somebody else listens on may.
        while listener.accept().await.is_ok() {}
    });
    let checks = checked(&postgres(port)).await;
    assert_eq!(outcome_of(&checks, "database.connection"), Outcome::Pass);
    assert_eq!(
        outcome_of(&checks, "database.tls"),
        Outcome::Fail,
        "{checks:?}"
    );
    let query = checks
        .iter()
        .find(|check| check.id == "database.query")
        .unwrap();
    assert_eq!(query.detail, "skipped because database.tls failed");
}

#[tokio::test]
async fn a_missing_file_is_a_fault_and_stays_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/todo.db");
    let checks = checked(&format!("sqlite://{}", path.display())).await;
    assert_eq!(checks[1].outcome, Outcome::Fail);
    assert_eq!(
        checks[1].remedy,
        Some(Remedy::command("todoctl migrate up"))
    );
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_is_no_database() {
    let directory = tempfile::tempdir().unwrap();
    let checks = checked(&format!("sqlite://{}", directory.path().display())).await;
    assert_eq!(checks[1].outcome, Outcome::Fail);
    assert!(checks[1].detail.ends_with("is not a file"), "{checks:?}");
}

#[tokio::test]
async fn warnings_of_the_configuration_are_reported() {
    let checks = checked(&format!("{}&colour=red", postgres(1))).await;
    assert_eq!(checks[0].outcome, Outcome::Warn);
    let detail = &checks[0].detail;
    assert!(
        detail.starts_with("postgresql://todo@127.0.0.1:1/todo"),
        "{detail}"
    );
    assert!(detail.contains("colour"), "{detail}");
}

#[test]
fn percentiles_are_nearest_rank() {
    let times: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
    assert_eq!(percentile(&times, 50), Duration::from_millis(10));
    assert_eq!(percentile(&times, 95), Duration::from_millis(19));
    assert_eq!(percentile(&times, 100), Duration::from_millis(20));
    assert_eq!(percentile(&times[..1], 95), Duration::from_millis(1));
    assert_eq!(percentile(&[], 95), Duration::ZERO);
}

#[test]
fn latency_is_told_in_either_order_and_warned_of_when_slow() {
    let fast = check_latency((1..=20).rev().map(Duration::from_millis).collect());
    assert_eq!(fast.outcome, Outcome::Pass);
    assert_eq!(fast.detail, "p50 10.0 ms, p95 19.0 ms of 20 queries");
    assert_eq!(
        check_latency(vec![Duration::from_millis(100); 20]).outcome,
        Outcome::Warn
    );
}

#[test]
fn old_servers_are_refused() {
    let outcome = |text: &str, major| {
        let text = text.to_owned();
        check_version(&ServerVersion { text, major }).outcome
    };
    assert_eq!(outcome("16.4", 16), Outcome::Pass);
    assert_eq!(outcome("12.0", 12), Outcome::Pass);
    assert_eq!(outcome("9.6.24", 9), Outcome::Fail);
}
