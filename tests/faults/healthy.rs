//! What works: reports without alarms, short, and in little time.

use std::time::{Duration, Instant};

use serde_json::Value;
use url::Url;

use crate::faults::hidden::{KEY, TOKEN};
use crate::faults::peers::{BlackHole, silent};
use crate::faults::{Broken, PROMISE, fix};
use crate::support::auth_peer::{AuthPeer, TestKey};
use crate::support::process::{Process, free_port, serve};
use crate::support::{Answer, HttpPeer, MailPeer, PgBouncer, RedisServer, TestDatabase};

/// When everything answers. A loaded machine needs twice as long.
const QUICK: Duration = Duration::from_secs(6);

const PREVIOUS: &str = include_str!("../migrations/previous_service.sql");

/// Checks that failed or warned.
fn alarms(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["outcome"] == "fail" || check["outcome"] == "warn")
        // The tests' server is faster than safe, on purpose.
        .filter(|check| check["id"] != "database.durability")
        .map(|check| format!("{}: {}", check["id"], check["detail"]))
        .collect()
}

#[track_caller]
fn is_calm(broken: &Broken, command: &[&str]) {
    let report = broken.report(&[command, &["--format", "json"]].concat());
    assert_eq!(alarms(&report.json), Vec::<String>::new(), "{command:?}");
    let is_durable = report.json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .all(|check| check["id"] != "database.durability" || check["outcome"] != "fail");
    assert_eq!(report.code, i32::from(!is_durable));
}

/// As in production, with a key provider that answers.
fn production(broken: Broken, key_provider: &str) -> Broken {
    broken
        .env("ENVIRONMENT", "production")
        .env("HOST", "0.0.0.0")
        .env("CORS_ORIGINS", "https://app.example.com")
        .env("GEMINI_API_URL", key_provider)
}

async fn key_provider() -> HttpPeer {
    // As for a key that is not valid.
    let refusal = serde_json::json!({ "error": { "status": "INVALID_ARGUMENT" } });
    HttpPeer::answering(Answer::Json(400, refusal)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_production_service_with_everything() {
    let database = TestDatabase::migrated().await;
    database
        .execute(r#"CREATE TABLE "user" (id text PRIMARY KEY, email text)"#)
        .await;
    let (auth, mail, keys) = (
        AuthPeer::start().await,
        MailPeer::start().await,
        key_provider().await,
    );
    auth.publish(&[&TestKey::ed25519()]);
    let redis = RedisServer::start();
    let port = free_port().to_string();
    let broken = production(Broken::with_server(&database.url), &keys.url)
        .env("AUTH_SERVER_URL", auth.url.as_str())
        .env("REDIS_URL", &redis.url())
        .env("RESEND_API_KEY", "re_0123456789abcdef")
        .env("RESEND_API_URL", mail.url().as_str())
        .env("EMAIL_FROM", "Todo <todo@example.com>")
        .env("PORT", &port);
    let mut command = serve(broken.path());
    command.envs(broken.environment.iter().map(|(name, value)| (name, value)));
    let mut daemon = Process::start(&mut command);
    daemon.base();

    is_calm(&broken, &["doctor"]);
    let started = Instant::now();
    let said = fix::at_a_terminal(&broken, "todoctl doctor", "");
    let took = started.elapsed();
    assert!(took < QUICK, "{took:?}");
    assert!(said.lines().count() <= 25, "{said}");
    assert!(said.contains("4 checks passed"), "{said}");
    daemon.stop();
}

/// Every service that is not configured is on one line.
#[tokio::test(flavor = "multi_thread")]
async fn a_clean_install() {
    let keys = key_provider().await;
    // This may be a container, where nobody reaches the default.
    let broken = Broken::new()
        .secrets()
        .env("HOST", "0.0.0.0")
        .env("GEMINI_API_URL", &keys.url);
    is_calm(&broken, &["doctor"]);
    assert!(broken.output(&["migrate", "up"]).status.success());
    is_calm(&broken, &["doctor"]);
    is_calm(&broken, &["db", "check"]);
    let said = String::from_utf8(broken.output(&["doctor"]).stdout).unwrap();
    let skips: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("skip"))
        .collect();
    assert_eq!(skips.len(), 2, "{said}");
    for service in ["Auth server", "Redis", "Mail"] {
        assert!(skips[0].contains(service), "{said}");
    }
    assert!(said.lines().count() <= 12, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_the_previous_service() {
    let database = TestDatabase::create().await;
    database.execute(PREVIOUS).await;
    let encrypted = "UPDATE user_api_keys SET encrypted_key = '{}'";
    database.execute(&encrypted.replace("{}", TOKEN)).await;
    let keys = key_provider().await;
    let broken =
        production(Broken::with_server(&database.url), &keys.url).env("ENCRYPTION_KEY", KEY);
    assert!(broken.output(&["migrate", "up"]).status.success());
    is_calm(&broken, &["doctor"]);
}

/// As Neon offers it: a pooled and a direct address.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode() {
    let database = TestDatabase::migrated().await;
    let pooler = PgBouncer::start(&database.url);
    let keys = key_provider().await;
    let broken = production(Broken::with_server(&pooler.url), &keys.url)
        .env("DATABASE_URL_UNPOOLED", &database.url)
        .env("DB_POOLER", "transaction");
    is_calm(&broken, &["doctor"]);
    is_calm(&broken, &["db", "check"]);
}

/// A role that may only read is asked only what it may do.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read() {
    let database = TestDatabase::migrated().await;
    let url = Url::parse(&database.url).unwrap();
    let name = url.path().trim_start_matches('/').replace("test", "reader");
    database
        .execute(&format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'canary'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name};
             ALTER ROLE {name} SET default_transaction_read_only = on"
        ))
        .await;
    let mut reader = url.clone();
    reader.set_username(&name).unwrap();
    reader.set_password(Some("canary")).unwrap();
    let broken = Broken::with_server(reader.as_str());
    let only = [
        "database.query",
        "database.latency",
        "database.migrations",
        "database.connections",
    ];
    let mut command = vec!["doctor"];
    command.extend(only.iter().flat_map(|id| ["--only", id]));
    is_calm(&broken, &command);
    database
        .execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}"))
        .await;
}

/// A setting that has other programs read quoted names.
#[tokio::test(flavor = "multi_thread")]
async fn quoted_names() {
    let database = TestDatabase::migrated().await;
    let setting = "DO $$ BEGIN EXECUTE format(
        'ALTER DATABASE %I SET quote_all_identifiers = on', current_database()); END $$";
    database.execute(setting).await;
    let keys = key_provider().await;
    let broken = production(Broken::with_server(&database.url), &keys.url);
    is_calm(&broken, &["doctor"]);
    let check = broken.output(&["migrate", "check"]);
    assert!(check.status.success(), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_in_another_schema() {
    let database = TestDatabase::create().await;
    database.execute("CREATE SCHEMA todo").await;
    let mut url = Url::parse(&database.url).unwrap();
    url.query_pairs_mut()
        .append_pair("options", "-csearch_path=todo");
    let keys = key_provider().await;
    let broken = production(Broken::with_server(url.as_str()), &keys.url);
    assert!(broken.output(&["migrate", "up"]).status.success());
    is_calm(&broken, &["doctor"]);
}

/// Everything at addresses that answer nothing.
fn in_the_dark(at: impl std::fmt::Display, port: u16) -> Broken {
    Broken::with_server(&format!(
        "postgresql://todo:canary@{at}/todo?sslmode=disable"
    ))
    .env(
        "DATABASE_URL_UNPOOLED",
        &format!("postgresql://todo:canary@{at}/todo"),
    )
    .env("REDIS_URL", &format!("redis://:canary@{at}/0"))
    .env("AUTH_SERVER_URL", &format!("http://{at}"))
    .env("RESEND_API_KEY", "re_0123456789abcdef")
    .env("RESEND_API_URL", &format!("http://{at}"))
    .env("GEMINI_API_URL", &format!("http://{at}"))
    .env("PORT", &port.to_string())
    .env("METRICS_ADDR", &at.to_string())
}

/// Servers that accept connections and say nothing, and packets that are dropped.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_answers() {
    let hole = BlackHole::new();
    let quiet = silent();
    for (broken, first) in [
        (in_the_dark(quiet, quiet.port()), "database.tls"),
        (in_the_dark(hole.at, hole.at.port()), "database.connection"),
    ] {
        let started = Instant::now();
        let report = broken.doctor();
        let took = started.elapsed();
        assert!(took < PROMISE, "{took:?}");
        report.says(first, "fail", "");
        for id in ["services.auth_server", "services.redis"] {
            report.says(id, "fail", "");
        }
        for id in ["services.mail", "services.key_provider"] {
            report.says(id, "warn", "");
        }
        assert!(!format!("{:#}", report.json).contains("canary"));
    }
}
