//! A Redis that answers and does not count.

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::process::free_port;
use crate::support::{RedisServer, eventually};
use rcgen::generate_simple_self_signed;

const CHECK: &str = "services.redis";

const ALONE: Symptom = Symptom::Risk("each daemon counts for itself, so rate limits are higher");

faults! {
    NO_PASSWORD = Fault {
        title: "Redis requires a password that REDIS_URL lacks",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("nobody else knows the password"),
    };
    WRONG_PASSWORD = Fault {
        title: "The password in REDIS_URL is wrong",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("nobody else knows the password"),
    };
    NO_SUCH_DATABASE = Fault {
        title: "REDIS_URL names a database number that Redis does not have",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    REPLICA = Fault {
        title: "REDIS_URL leads to a replica, which is read-only",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FULL_MEMORY = Fault {
        title: "The memory of Redis is full",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_PERMISSION = Fault {
        title: "The user of Redis may not use the limiter's keys",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_TLS = Fault {
        title: "REDIS_URL asks for TLS that Redis does not speak",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("whether the network may be trusted is for a person to say"),
    };
    TLS_ONLY = Fault {
        title: "Redis speaks TLS, and REDIS_URL does not ask for it",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    TOO_MANY_CLIENTS = Fault {
        title: "Redis has no connection left",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("the clients are those of other programs"),
    };
    CLUSTER = Fault {
        title: "REDIS_URL leads to a node of a cluster",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("another Redis is needed"),
    };
}

#[tokio::test]
async fn passwords() {
    let redis = RedisServer::start();
    let mut scene = Scene::new();
    let bare = format!("redis://127.0.0.1:{}/0", redis.port());
    scene.set("REDIS_URL", &bare);
    scene.proves(&NO_PASSWORD).await;
    scene.set("REDIS_URL", &redis.url());
    scene.proves_gone(&NO_PASSWORD);
    scene.set(
        "REDIS_URL",
        &bare.replace("redis://", "redis://:canary-wrong@"),
    );
    scene.proves(&WRONG_PASSWORD).await;
    scene.set("REDIS_URL", &redis.url());
    scene.proves_gone(&WRONG_PASSWORD);
}

#[tokio::test]
async fn databases_and_replicas() {
    let primary = RedisServer::start_with("", &["--repl-diskless-sync-delay", "0"]);
    let mut scene = Scene::new();
    scene.set("REDIS_URL", &primary.url().replace("/0", "/99"));
    scene.proves(&NO_SUCH_DATABASE).await;
    assert_eq!(scene.get("REDIS_URL"), Some(primary.url()));

    let of = primary.port().to_string();
    let replica = RedisServer::start_with("", &["--replicaof", "127.0.0.1", &of]);
    eventually("the replica is connected", async || {
        replica.info("master_link_status").as_deref() == Some("up")
    })
    .await;
    scene.set("REDIS_URL", &replica.url());
    scene.proves(&REPLICA).await;
    assert_eq!(scene.get("REDIS_URL"), Some(primary.url()));
}

#[tokio::test]
async fn memory_and_permissions() {
    let redis = RedisServer::start_with("", &["--maxmemory", "5mb"]);
    let fill = "for i = 1, 20000 do redis.pcall('SET', i, string.rep('x', 1000), 'EX', 1000) end";
    redis.command(&["EVAL", fill, "0"]);
    let mut scene = Scene::new();
    scene.set("REDIS_URL", &redis.url());
    scene.proves(&FULL_MEMORY).await;

    let redis = RedisServer::start_with("", &[]);
    redis.command(&[
        "ACL", "SETUSER", "todo", "on", ">canary", "~other:*", "+@all",
    ]);
    let url = redis.url().replace("redis://", "redis://todo:canary@");
    scene.set("REDIS_URL", &url);
    scene.proves(&NO_PERMISSION).await;
}

#[tokio::test]
async fn connections() {
    let redis = RedisServer::start_with("", &[]);
    let mut scene = Scene::new();
    scene.set("REDIS_URL", &redis.url().replace("redis:", "rediss:"));
    scene.proves(&NO_TLS).await;
    scene.set("REDIS_URL", &redis.url());
    scene.proves_gone(&NO_TLS);

    let certificate = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let public = write("cert.pem", certificate.cert.pem());
    let private = write("key.pem", certificate.signing_key.serialize_pem());
    let port = free_port().to_string();
    let options = [
        "--tls-port",
        &port,
        "--tls-cert-file",
        &public,
        "--tls-key-file",
        &private,
        "--tls-auth-clients",
        "no",
    ];
    let encrypted = RedisServer::start_with("", &options);
    scene.set("SSL_CERT_FILE", &public);
    scene.set("REDIS_URL", &format!("redis://localhost:{port}/0"));
    scene.proves(&TLS_ONLY).await;
    drop(encrypted);

    let redis = RedisServer::start_with("", &["--maxclients", "1"]);
    let client = redis::Client::open(redis.url()).unwrap();
    let mut other = None;
    eventually("the only connection", async || {
        other = client.get_connection().ok();
        other.is_some()
    })
    .await;
    scene.set("REDIS_URL", &redis.url());
    scene.proves(&TOO_MANY_CLIENTS).await;
    drop(other);
    scene.proves_gone(&TOO_MANY_CLIENTS);

    let directory = tempfile::tempdir().unwrap();
    let nodes = directory.path().join("nodes.conf");
    let options = [
        "--cluster-enabled",
        "yes",
        "--cluster-config-file",
        nodes.to_str().unwrap(),
    ];
    let node = RedisServer::start_with("", &options);
    // Such a node has database 0 alone.
    for url in [node.url(), node.url().replace("/0", "/1")] {
        scene.set("REDIS_URL", &url);
        scene.proves(&CLUSTER).await;
        let said = scene.doctor(CHECK);
        said.says(CHECK, "fail", "node of a Redis Cluster");
    }
}
