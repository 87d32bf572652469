//! Values of `REDIS_URL` that lead nowhere, and a Redis that others use as well.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::process::free_port;
use crate::support::{RedisServer, eventually};

const CONFIG: &str = "config.services";
const CHECK: &str = "services.redis";
const RUNNING: &str = "daemon.services";

const ALONE: Symptom = Symptom::Risk("each daemon counts for itself, so rate limits are higher");

faults! {
    UNENCODED = Fault {
        title: "The password in REDIS_URL is not percent-encoded",
        symptom: Symptom::Start("REDIS_URL has a user or password with characters"),
        check: CONFIG,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    CLIENT_COMMAND = Fault {
        title: "REDIS_URL is a command of redis-cli, as providers show it",
        symptom: Symptom::Start("REDIS_URL is a command, and not a URL alone"),
        check: CONFIG,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    WORD_AS_DATABASE = Fault {
        title: "REDIS_URL has a word for the number of a database",
        symptom: Symptom::Start("REDIS_URL has a database that is not a number"),
        check: CONFIG,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_SCHEME = Fault {
        title: "REDIS_URL is host and port alone",
        symptom: Symptom::Start("REDIS_URL is not a redis:// or rediss:// URL"),
        check: CONFIG,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    CUT_OFF = Fault {
        title: "Redis is a replica that does not reach its primary, and serves no old data",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("the primary has to be started"),
    };
    WANTS_CERTIFICATE = Fault {
        title: "Redis asks for a client certificate",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("whether it has to is for a person to say"),
    };
    OLD_CA = Fault {
        title: "SSL_CERT_FILE has a new CA, and the daemon was started with the old one",
        symptom: ALONE,
        check: RUNNING,
        outcome: "warn",
        after: After::Person("the daemon has to be restarted"),
    };
}

#[tokio::test]
async fn urls_of_redis() {
    let password = "p@ss#1/x?y";
    let redis = RedisServer::start_with("", &["--requirepass", password]);
    let mut scene = Scene::sqlite().await;
    let at = format!("127.0.0.1:{}", redis.port());
    for written in [
        format!("redis://:{password}@{at}/0"),
        format!("'redis://:{password}@{at}/0'"),
    ] {
        scene.set("REDIS_URL", &written);
        scene.proves(&UNENCODED).await;
        scene.doctor(CHECK).says(CHECK, "pass", "");
        let shown = scene.todoctl(&["config", "show"]);
        assert!(!String::from_utf8_lossy(&shown.stdout).contains("ss%231"));
    }
    scene.set(
        "REDIS_URL",
        &format!("'redis-cli -u redis://:{password}@{at}'"),
    );
    scene.proves(&CLIENT_COMMAND).await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
    drop(redis);
    let redis = RedisServer::start_with("", &[]);
    let right = format!("127.0.0.1:{}", redis.port());
    scene.set("REDIS_URL", &format!("redis://{right}/todo"));
    scene.proves(&WORD_AS_DATABASE).await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
    scene.set("REDIS_URL", &right);
    scene.proves(&NO_SCHEME).await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
}

#[tokio::test]
async fn a_replica_without_its_primary() {
    let gone = free_port().to_string();
    let options = [
        "--replicaof",
        "127.0.0.1",
        &gone,
        "--replica-serve-stale-data",
        "no",
    ];
    let replica = RedisServer::start_with("", &options);
    let mut scene = Scene::new();
    scene.set("REDIS_URL", &replica.url());
    scene.proves(&CUT_OFF).await;
    let report = scene.doctor(CHECK);
    let detail = report.detail(CHECK);
    assert!(
        detail.contains(&format!("its primary 127.0.0.1:{gone}")),
        "{detail}"
    );
    let right = RedisServer::start_with("", &[]);
    scene.set("REDIS_URL", &right.url());
    scene.proves_gone(&CUT_OFF);
}

/// Makes a CA and a certificate of it for localhost: `ca.pem`, `cert.pem`, `key.pem`.
fn make_certificates(directory: &Path) {
    let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 \
        -keyout ca.key -out ca.pem -subj /CN=ca
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
        -out request.pem -subj /CN=localhost
        printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' > extensions
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 \
        -extfile extensions -out cert.pem";
    let made = Command::new("sh")
        .args(["-ec", make])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_redis() {
    let files = tempfile::tempdir().unwrap();
    make_certificates(files.path());
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let (ca, certificate, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
    let port = free_port().to_string();
    let options = [
        "--tls-port",
        &port,
        "--tls-ca-cert-file",
        &ca,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
    ];
    let mut redis = RedisServer::start_with("", &options);
    let mut scene = Scene::sqlite().await;
    scene.set("SSL_CERT_FILE", &ca);
    scene.set("REDIS_URL", &format!("rediss://localhost:{port}/0"));
    scene.set("RATE_LIMIT_PER_MINUTE", "6000");
    scene.proves(&WANTS_CERTIFICATE).await;
    scene
        .doctor(CHECK)
        .says(CHECK, "fail", "tls-auth-clients no");
    redis.command(&["CONFIG", "SET", "tls-auth-clients", "no"]);
    scene.proves_gone(&WANTS_CERTIFICATE);

    let base = scene.start_at_its_port();
    assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 200);
    scene.doctor(RUNNING).says(RUNNING, "pass", "");
    redis.kill();
    make_certificates(files.path());
    // Times of a start have seconds.
    let file = std::fs::File::options().append(true).open(&ca).unwrap();
    let later = file.metadata().unwrap().modified().unwrap() + Duration::from_secs(2);
    file.set_modified(later).unwrap();
    redis.run();
    redis.command(&["CONFIG", "SET", "tls-auth-clients", "no"]);
    eventually("the daemon misses Redis", async || {
        assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 200);
        scene.doctor(RUNNING).check(RUNNING)["outcome"] == "warn"
    })
    .await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
    scene.proves(&OLD_CA).await;
    let report = scene.doctor(RUNNING);
    report.says(
        RUNNING,
        "warn",
        "SSL_CERT_FILE was changed after the daemon started",
    );
    scene.end();
    scene.start();
    scene.proves_gone(&OLD_CA);
}
