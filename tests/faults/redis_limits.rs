//! A Redis that answers and refuses to count.

use std::process::{Child, Command, Stdio};

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::process::free_port;
use crate::support::{RedisServer, eventually};

const CHECK: &str = "services.redis";

const ALONE: Symptom = Symptom::Risk("each daemon counts for itself, so rate limits are higher");

faults! {
    NO_COMMANDS = Fault {
        title: "The user of Redis may not run scripts",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SMALL_MEMORY = Fault {
        title: "maxmemory of Redis is too small, and nothing can be evicted",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_REPLICAS = Fault {
        title: "Redis accepts writes only with replicas, and has none",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("whether others need the replicas is for a person to say"),
    };
    NO_SCRIPTS = Fault {
        title: "EVALSHA or INCR of Redis was renamed away",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("redis.conf has to be changed"),
    };
    CANNOT_SAVE = Fault {
        title: "Redis cannot save its data and refuses writes",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("only a person can give it a disk"),
    };
    USER_OFF = Fault {
        title: "The user of Redis is off",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("why it is off is for a person to say"),
    };
    NEEDLESS_PASSWORD = Fault {
        title: "REDIS_URL has a password, and Redis has none",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    STOPPED = Fault {
        title: "Redis is stopped by SIGSTOP",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SENTINEL = Fault {
        title: "REDIS_URL leads to a Sentinel",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("which of the servers is meant is for a person to say"),
    };
}

fn scene_with(redis: &RedisServer) -> Scene {
    let scene = Scene::new();
    scene.set("REDIS_URL", &redis.url());
    scene
}

#[tokio::test]
async fn users() {
    let redis = RedisServer::start_with("", &[]);
    let user = |rules: &[&str]| {
        redis.command(&[&["ACL", "SETUSER", "todo", "reset", "on", ">canary"], rules].concat());
    };
    let mut scene = scene_with(&redis);
    let url = redis.url().replace("redis://", "redis://todo:canary@");
    scene.set("REDIS_URL", &url);
    for rules in [
        // All keys: the pattern of a remedy would be refused.
        &["~*", "&*", "+@all", "-@scripting"][..],
        &["~other:*", "+@all", "-@scripting"],
        &["+ping", "+hello", "+client"],
        // What the script calls.
        &["~*", "&*", "+@all", "-incr"],
    ] {
        user(rules);
        scene.proves(&NO_COMMANDS).await;
    }
    user(&["~*", "&*", "+@all", "-select"]);
    scene.set("REDIS_URL", &url.replace("/0", "/1"));
    scene.proves(&NO_COMMANDS).await;
    scene.set("REDIS_URL", &url);
    user(&["off", "~*", "+@all"]);
    scene.proves(&USER_OFF).await;
    user(&["~*", "+@all"]);
    scene.proves_gone(&USER_OFF);
}

#[tokio::test]
async fn memory_that_nothing_can_free() {
    let redis = RedisServer::start_with(
        "",
        &["--maxmemory", "100kb", "--maxmemory-policy", "volatile-lru"],
    );
    scene_with(&redis).proves(&SMALL_MEMORY).await;
}

#[tokio::test]
async fn replicas_and_commands() {
    let redis = RedisServer::start_with("", &["--min-replicas-to-write", "1"]);
    let mut scene = scene_with(&redis);
    scene.proves(&NO_REPLICAS).await;
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    scene.proves_gone(&NO_REPLICAS);

    for command in ["INCR", "EVALSHA"] {
        let redis = RedisServer::start_with("", &["--rename-command", command, ""]);
        scene.set("REDIS_URL", &redis.url());
        scene.proves(&NO_SCRIPTS).await;
    }
    scene.unset("REDIS_URL");
    let report = scene.doctor(CHECK);
    report.says(CHECK, "skip", "");
    let right = RedisServer::start_with("", &[]);
    scene.set("REDIS_URL", &right.url());
    scene.proves_gone(&NO_SCRIPTS);
}

#[tokio::test]
async fn a_disk_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    let redis = RedisServer::start_with("", &["--dir", &path, "--enable-protected-configs", "yes"]);
    redis.command(&["CONFIG", "SET", "save", "3600 1"]);
    redis.command(&["SET", "other", "1"]);
    drop(directory);
    redis.command(&["BGSAVE"]);
    let mut scene = scene_with(&redis);
    eventually("the save fails", async || {
        scene.doctor(CHECK).check(CHECK)["outcome"] == "fail"
    })
    .await;
    scene.proves(&CANNOT_SAVE).await;
    redis.command(&["CONFIG", "SET", "dir", "/tmp"]);
    redis.command(&["CONFIG", "SET", "save", ""]);
    scene.proves_gone(&CANNOT_SAVE);
}

#[tokio::test]
async fn passwords_and_stops() {
    let redis = RedisServer::start_with("", &[]);
    let mut scene = Scene::new();
    let url = redis.url().replace("redis://", "redis://:canary-of-redis@");
    scene.set("REDIS_URL", &url);
    scene.proves(&NEEDLESS_PASSWORD).await;
    redis.freeze(true);
    scene.proves(&STOPPED).await;
}

/// Ended with its value.
struct Sentinel(Child);

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_sentinel() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sentinel.conf");
    let port = free_port();
    std::fs::write(&file, format!("port {port}\nbind 127.0.0.1\n")).unwrap();
    let child = Command::new("redis-server")
        .arg(&file)
        .arg("--sentinel")
        .stdout(Stdio::null())
        .spawn();
    let sentinel = Sentinel(child.unwrap());
    eventually("the sentinel listens", async || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
    .await;
    let mut scene = Scene::new();
    scene.set("REDIS_URL", &format!("redis://127.0.0.1:{port}/0"));
    scene.proves(&SENTINEL).await;
    let redis = RedisServer::start_with("", &[]);
    scene.set("REDIS_URL", &redis.url());
    scene.proves_gone(&SENTINEL);
    drop(sentinel);
}
