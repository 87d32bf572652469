//! Ports, services, and the daemon itself.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::faults::Broken;
use crate::faults::peers::{http, silent};
use crate::support::RedisServer;
use url::Url;

#[test]
fn a_port_that_somebody_else_has() {
    let port = http().port().to_string();
    let report = Broken::new().env("PORT", &port).doctor();
    report.says(
        "daemon.port",
        "fail",
        &format!("ss -ltnp 'sport = :{port}'"),
    );
    report.says("daemon.health", "skip", "");
}

#[test]
fn a_metrics_port_that_somebody_else_has() {
    let broken = Broken::new().env("METRICS_ADDR", &http().to_string());
    broken
        .doctor()
        .says("daemon.metrics_port", "fail", "METRICS_ADDR=127.0.0.1:");
    let same = broken.env("METRICS_ADDR", "127.0.0.1:1");
    same.doctor()
        .says("daemon.metrics_port", "fail", "METRICS_ADDR=127.0.0.1:2");
    let free = same.env("METRICS_ADDR", "127.0.0.1:3");
    free.doctor().says("daemon.metrics_port", "pass", "");
}

#[test]
fn an_address_of_another_machine() {
    let report = Broken::new().env("HOST", "203.0.113.9").doctor();
    report.says("daemon.listen", "fail", "HOST=0.0.0.0");
}

#[test]
fn services_that_are_not_there() {
    let broken = Broken::new()
        .env("AUTH_SERVER_URL", "http://127.0.0.1:1")
        .env("REDIS_URL", "redis://:canary@127.0.0.1:1/0")
        .env("RESEND_API_KEY", "canary")
        .env("RESEND_API_URL", &format!("http://{}", silent()));
    let report = broken.doctor();
    report
        .says("services.auth_server", "fail", "AUTH_SERVER_URL")
        .says("services.redis", "fail", "REDIS_URL")
        .says("services.mail", "warn", "RESEND_API_URL")
        .says("services.key_provider", "warn", "GEMINI_API_URL");
    assert!(!format!("{:#}", report.json).contains("canary"));
}

#[test]
fn something_else_where_redis_should_be() {
    let report = Broken::new()
        .env("REDIS_URL", &format!("redis://{}/0", http()))
        .doctor();
    report.says("services.redis", "fail", "rediss://");
}

/// A Redis that answers a ping and does not count.
#[test]
fn a_redis_that_does_not_count() {
    let redis = RedisServer::start();
    let right = Url::parse(&redis.url()).unwrap();
    let says = |url: &Url, outcome: &str, remedy: &str| {
        let report = Broken::new().env("REDIS_URL", url.as_str()).doctor();
        report.says("services.redis", outcome, remedy);
        let said = format!("{:#}", report.json);
        assert!(!said.contains("canary"), "{said}");
    };
    says(&right, "pass", "");
    let mut wrong = right.clone();
    wrong.set_password(Some("wrong-canary")).unwrap();
    says(&wrong, "fail", "correct user and password");
    let mut database = right.clone();
    database.set_path("/99");
    says(&database, "fail", "the database 0");
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    says(&right, "fail", "maxmemory");
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    says(&right, "fail", "primary");
}

/// A daemon, ended with its value.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_that_runs() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let broken = Broken::new().env("PORT", &port.to_string());
    let child = Command::new(env!("CARGO_BIN_EXE_todoctl"))
        .arg("serve")
        .current_dir(broken.path())
        .env_clear()
        .envs(broken.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _daemon = Daemon(child);
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "the daemon does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    let report = broken.doctor();
    report
        .says("daemon.port", "pass", "")
        .says("daemon.health", "pass", "")
        .says("daemon.version", "pass", "")
        .says("daemon.database", "pass", "")
        .says("daemon.pool", "pass", "")
        .says("database.journal", "pass", "");
    assert_eq!(report.code, 0, "{:#}", report.json);
    // A copy of the file is another database, although it has the same identity row.
    let data = broken.path().join("data");
    for file in ["todo.db", "todo.db-wal"] {
        std::fs::copy(data.join(file), data.join(file.replace("todo", "copy"))).unwrap();
    }
    let copy = broken.env("DATABASE_URL", "sqlite://data/copy.db");
    let report = copy.doctor();
    report.says("daemon.database", "fail", "restart the daemon");
}
