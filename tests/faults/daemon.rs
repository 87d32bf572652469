//! Ports, services, and the daemon itself.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::faults::Broken;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::peers::{http, silent};
use crate::support::{RedisServer, blocking_http_client};
use url::Url;

faults! {
    TAKEN_PORT = Fault {
        title: "Another program listens on PORT",
        symptom: Symptom::Start("cannot listen on"),
        check: "daemon.port",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    TAKEN_METRICS_PORT = Fault {
        title: "Another program listens on METRICS_ADDR",
        symptom: Symptom::Start("cannot listen on"),
        check: "daemon.metrics_port",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FOREIGN_ADDRESS = Fault {
        title: "HOST is an address of another machine",
        symptom: Symptom::Start("cannot listen on"),
        check: "daemon.listen",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_AUTH_SERVER = Fault {
        title: "The auth server cannot be reached",
        symptom: Symptom::Risk("tokens of its users are answered with 503"),
        check: "services.auth_server",
        outcome: "fail",
        after: After::Person("only a person knows where it is, or can start it"),
    };
    NO_REDIS = Fault {
        title: "Redis cannot be reached",
        symptom: Symptom::Risk("each daemon counts requests for itself"),
        check: "services.redis",
        outcome: "fail",
        after: After::Person("only a person knows where it is, or can start it"),
    };
    REDIS_PASSWORD = Fault {
        title: "The password of Redis is wrong",
        symptom: Symptom::Risk("each daemon counts requests for itself"),
        check: "services.redis",
        outcome: "fail",
        after: After::Person("only a person knows the password"),
    };
    REDIS_DATABASE = Fault {
        title: "REDIS_URL names a database that Redis does not have",
        symptom: Symptom::Risk("each daemon counts requests for itself"),
        check: "services.redis",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

#[tokio::test]
async fn a_port_that_somebody_else_has() {
    let mut scene = Scene::sqlite().await;
    scene.has_own_port = true;
    scene.set("PORT", &http().port().to_string());
    scene.proves(&TAKEN_PORT).await;
}

#[tokio::test]
async fn a_metrics_port_of_another_program() {
    let mut scene = Scene::sqlite().await;
    scene.set("METRICS_ADDR", &http().to_string());
    scene.proves(&TAKEN_METRICS_PORT).await;
}

#[tokio::test]
async fn a_foreign_address() {
    let mut scene = Scene::sqlite().await;
    scene.set("HOST", "203.0.113.9");
    scene.proves(&FOREIGN_ADDRESS).await;
}

#[tokio::test]
async fn services_that_cannot_be_reached() {
    let mut scene = Scene::sqlite().await;
    scene.set("AUTH_SERVER_URL", "http://127.0.0.1:1");
    scene.proves(&NO_AUTH_SERVER).await;
    scene.set("REDIS_URL", "redis://:canary@127.0.0.1:1/0");
    scene.proves(&NO_REDIS).await;
    let redis = RedisServer::start();
    scene.set("REDIS_URL", &redis.url());
    scene.proves_gone(&NO_REDIS);
}

#[tokio::test]
async fn a_redis_with_another_password_or_database() {
    let redis = RedisServer::start();
    let mut scene = Scene::sqlite().await;
    let mut wrong = Url::parse(&redis.url()).unwrap();
    wrong.set_password(Some("wrong-canary")).unwrap();
    scene.set("REDIS_URL", wrong.as_str());
    scene.proves(&REDIS_PASSWORD).await;
    let mut database = Url::parse(&redis.url()).unwrap();
    scene.set("REDIS_URL", database.as_str());
    scene.proves_gone(&REDIS_PASSWORD);
    database.set_path("/99");
    scene.set("REDIS_URL", database.as_str());
    scene.proves(&REDIS_DATABASE).await;
}

/// In a container nobody reaches 127.0.0.1, but a proxy in the same container or pod does.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_in_the_same_container() {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    let alone = if Path::new("/.dockerenv").exists() {
        "warn"
    } else {
        "pass"
    };
    let check = "daemon.listen";
    scene.doctor(check).says(check, alone, "");
    let ask = move || {
        let request = blocking_http_client().get(format!("{base}/health"));
        request.header("X-Forwarded-For", "198.51.100.7").send()
    };
    let answer = tokio::task::spawn_blocking(ask).await.unwrap();
    assert!(answer.unwrap().status().is_success());
    scene.doctor(check).says(check, "pass", "");
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
fn services_that_are_not_there() {
    let broken = Broken::new()
        .env("AUTH_SERVER_URL", "http://127.0.0.1:1")
        .env("REDIS_URL", "redis://:canary@127.0.0.1:1/0")
        .env("RESEND_API_KEY", "canary")
        .env("RESEND_API_URL", &format!("http://{}", silent()))
        .env("HTTPS_PROXY", "http://u:canary@proxy:3128");
    let report = broken.doctor();
    report
        .says("services.auth_server", "fail", "AUTH_SERVER_URL")
        .says("services.redis", "fail", "REDIS_URL")
        .says("services.mail", "warn", "RESEND_API_URL")
        .says("services.mail", "warn", "HTTPS_PROXY is set")
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
    says(&right, "fail", "start the primary 127.0.0.1:1");
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
