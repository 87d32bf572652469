//! Faults of every step, on addresses and files of their own.

use super::*;
use crate::config::{
    HealthProbe, PoolConfig, PoolerMode, PostgresTarget, Problem, Secret, SqliteTarget, Warning,
};
use crate::diagnostics::check::Outcome;

#[allow(clippy::unnecessary_wraps, reason = "what the checks are given")]
fn config(target: DatabaseTarget) -> Result<Loaded<DatabaseConfig>, ConfigError> {
    let value = DatabaseConfig {
        direct: target.clone(),
        target,
        pool: PoolConfig {
            size: 1,
            overflow: 0,
            timeout: Duration::from_secs(1),
            recycle: Duration::from_secs(60),
        },
        pooler: PoolerMode::Detect,
        auto_migrate: true,
        health_probe: HealthProbe::Active,
    };
    let warnings = Vec::new();
    Ok(Loaded { value, warnings })
}

fn postgres(port: u16) -> DatabaseTarget {
    DatabaseTarget::Postgres(PostgresTarget {
        password: Some(Secret::new("hunter2")),
        ..PostgresTarget::fixture("127.0.0.1", port)
    })
}

async fn checked(config: &Result<Loaded<DatabaseConfig>, ConfigError>) -> Vec<Check> {
    let clock = Clock::system();
    checks(Request {
        config,
        replicas: 1,
        clock: &clock,
        budget: Budget::new(Duration::from_secs(30)),
    })
    .await
}

fn outcome_of(checks: &[Check], id: &str) -> Outcome {
    checks.iter().find(|check| check.id == id).unwrap().outcome
}

fn outcomes(checks: &[Check]) -> Vec<(&'static str, Outcome)> {
    checks
        .iter()
        .map(|check| (check.id, check.outcome))
        .collect()
}

#[tokio::test]
async fn a_bad_configuration_is_a_row_and_the_rest_is_skipped() {
    let error = ConfigError {
        problems: vec![Problem {
            variable: "DATABASE_URL".to_owned(),
            message: "is not a URL".to_owned(),
            remedy: "DATABASE_URL=sqlite://data/todo.db".to_owned(),
        }],
    };
    let checks = checked(&Err(error)).await;
    assert_eq!(
        outcomes(&checks),
        [
            ("database.url", Outcome::Fail),
            ("database.connection", Outcome::Skip),
            ("database.login", Outcome::Skip),
            ("database.query", Outcome::Skip),
            ("database.latency", Outcome::Skip),
            ("database.version", Outcome::Skip),
            ("database.migrations", Outcome::Skip),
        ]
    );
    assert_eq!(checks[0].detail, "DATABASE_URL: is not a URL");
    assert_eq!(
        checks[0].remedy.as_deref(),
        Some("DATABASE_URL=sqlite://data/todo.db")
    );
    assert_eq!(checks[1].detail, "not checked, because database.url failed");
}

#[tokio::test]
async fn a_refused_connection_skips_the_rest_and_shows_no_password() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let checks = checked(&config(postgres(port))).await;
    assert_eq!(checks[2].id, "database.connection");
    assert_eq!(checks[2].outcome, Outcome::Fail);
    assert!(checks[2].remedy.is_some());
    let rest = checks[3..].iter();
    assert!(rest.clone().all(|check| check.outcome == Outcome::Skip));
    assert_eq!(checks.len(), names::SERVER_ORDER.len());
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
    let checks = checked(&config(postgres(port))).await;
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
    assert_eq!(query.detail, "not checked, because database.tls failed");
}

#[tokio::test]
async fn a_missing_file_is_a_fault_and_stays_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/todo.db");
    let checks = checked(&config(DatabaseTarget::Sqlite(SqliteTarget { path }))).await;
    assert_eq!(checks[1].outcome, Outcome::Fail);
    assert_eq!(checks[1].remedy.as_deref(), Some("todoctl migrate up"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_is_no_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let check = file::connection(&SqliteTarget { path }, Budget::new(QUERY_LIMIT)).await;
    assert_eq!(check.outcome, Outcome::Fail);
    assert!(check.detail.ends_with("is not a file"), "{}", check.detail);
}

#[test]
fn warnings_of_the_configuration_are_told() {
    let mut loaded = config(postgres(5432)).unwrap();
    loaded.warnings.push(Warning {
        variable: "DATABASE_URL".to_owned(),
        message: "the parameter colour is not known".to_owned(),
    });
    let verdict = judge_url(&Ok(loaded));
    assert_eq!(verdict.outcome, Outcome::Warn);
    assert_eq!(
        verdict.detail,
        "postgresql://todo@127.0.0.1:5432/todo; DATABASE_URL: the parameter colour is not known"
    );
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
    let fast = judge_latency((1..=20).rev().map(Duration::from_millis).collect());
    assert_eq!(fast.outcome, Outcome::Pass);
    assert_eq!(fast.detail, "p50 10.0 ms, p95 19.0 ms of 20 queries");
    assert_eq!(judge_latency(vec![SLOW; 20]).outcome, Outcome::Warn);
}

#[test]
fn old_servers_are_warned_of() {
    let version = |text: &str, major| EngineVersion::Postgres {
        text: text.to_owned(),
        major,
    };
    assert_eq!(judge_version(&version("16.4", 16)).outcome, Outcome::Pass);
    assert_eq!(judge_version(&version("12.0", 12)).outcome, Outcome::Pass);
    assert_eq!(judge_version(&version("9.6.24", 9)).outcome, Outcome::Warn);
}
