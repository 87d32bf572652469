//! A Redis of which something else answers: a replica, a proxy, a load balancer.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::peers::peer;
use crate::support::process::free_port;
use crate::support::{RedisServer, eventually};

const CHECK: &str = "services.redis";

const ALONE: Symptom = Symptom::Risk("each daemon counts for itself, so rate limits are higher");

faults! {
    FAILOVER = Fault {
        title: "Redis became a replica, and its primary is down",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("the failover has to end, or the primary has to be started"),
    };
    HIDDEN_PRIMARY = Fault {
        title: "Redis is a replica, and another Redis answers here at the address of its primary",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("which address leads to the primary from here is for a person to say"),
    };
    PAUSED = Fault {
        title: "The writes of Redis are paused",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("whether a failover takes place is for a person to say"),
    };
    SLOW = Fault {
        title: "Redis answers, each time after more than a second",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("what makes it slow is for a person to find"),
    };
    NOTHING_BEHIND = Fault {
        title: "A load balancer accepts connections and has no Redis behind it",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("the Redis behind it has to be started"),
    };
    REFUSED_SCRIPT = Fault {
        title: "A proxy in front of Redis does not run the script that counts",
        symptom: ALONE,
        check: CHECK,
        outcome: "fail",
        after: After::Person("another Redis, or another proxy, is needed"),
    };
}

/// A proxy in front of the Redis at the port that `to` tells. It answers by itself what `answer`
/// has an answer for.
fn proxy(
    to: impl Fn() -> u16 + Send + Sync + 'static,
    answer: impl Fn(&[u8]) -> Option<&'static [u8]> + Send + Sync + 'static,
) -> SocketAddr {
    peer(move |mut client| {
        let mut server = TcpStream::connect(("127.0.0.1", to())).unwrap();
        let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut sent = [0; 4096];
        while let Ok(length @ 1..) = client.read(&mut sent) {
            let sent = &sent[..length];
            let written = match answer(sent) {
                Some(own) => client.write_all(own),
                None => server.write_all(sent),
            };
            if written.is_err() {
                break;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
    })
}

fn contains(sent: &[u8], word: &[u8]) -> bool {
    sent.windows(word.len()).any(|part| part == word)
}

/// No command of the remedy changes a setting.
fn sets_nothing(scene: &Scene) {
    let report = scene.doctor(CHECK);
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap().to_owned();
    let mut lines = remedy.lines();
    assert!(lines.all(|line| !line.starts_with("todoctl ")), "{remedy}");
}

#[tokio::test]
async fn replicas() {
    let gone = free_port().to_string();
    let mut scene = Scene::new();
    let cut_off = RedisServer::start_with("", &["--replicaof", "127.0.0.1", &gone]);
    scene.set("REDIS_URL", &cut_off.url());
    scene.proves(&FAILOVER).await;
    let report = scene.doctor(CHECK);
    let said = report
        .says(CHECK, "fail", "while a failover takes place")
        .detail(CHECK);
    assert!(
        said.contains(&format!("does not reach its primary 127.0.0.1:{gone}")),
        "{said}"
    );
    sets_nothing(&scene);
    cut_off.command(&["REPLICAOF", "NO", "ONE"]);
    scene.proves_gone(&FAILOVER);

    // The replica keeps its connection, and new ones lead to another Redis.
    let primary = RedisServer::start_with("", &["--repl-diskless-sync-delay", "0"]);
    let other = RedisServer::start_with("", &[]);
    let port = Arc::new(AtomicU16::new(primary.port()));
    let to = port.clone();
    let front = proxy(move || to.load(Ordering::Relaxed), |_| None);
    let named = front.port().to_string();
    let replica = RedisServer::start_with("", &["--replicaof", "127.0.0.1", &named]);
    eventually("the replica is connected", async || {
        replica.info("master_link_status").as_deref() == Some("up")
    })
    .await;
    port.store(other.port(), Ordering::Relaxed);
    scene.set("REDIS_URL", &replica.url());
    scene.proves(&HIDDEN_PRIMARY).await;
    sets_nothing(&scene);
    port.store(free_port(), Ordering::Relaxed);
    scene.proves(&HIDDEN_PRIMARY).await;
    sets_nothing(&scene);
    scene.set("REDIS_URL", &primary.url());
    scene.proves_gone(&HIDDEN_PRIMARY);
}

#[tokio::test]
async fn pauses_and_slow_answers() {
    let redis = RedisServer::start_with("", &[]);
    let mut scene = Scene::new();
    scene.set("REDIS_URL", &redis.url());
    redis.command(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    scene.proves(&PAUSED).await;
    let unpause = format!(
        "# or: redis-cli -h 127.0.0.1 -p {} CLIENT UNPAUSE",
        redis.port()
    );
    scene.doctor(CHECK).says(CHECK, "fail", &unpause);
    redis.command(&["CLIENT", "UNPAUSE"]);
    scene.proves_gone(&PAUSED);

    let port = redis.port();
    let slow = proxy(
        move || port,
        |_| {
            std::thread::sleep(Duration::from_millis(1500));
            None
        },
    );
    scene.set("REDIS_URL", &format!("redis://{slow}/0"));
    scene.proves(&SLOW).await;
    scene.set("REDIS_URL", &redis.url());
    scene.proves_gone(&SLOW);
}

#[tokio::test]
async fn proxies() {
    let redis = RedisServer::start_with("", &[]);
    let port = redis.port();
    let mut scene = Scene::new();
    let set = |scene: &Scene, at: SocketAddr| scene.set("REDIS_URL", &format!("redis://{at}/0"));

    let closing = peer(drop);
    set(&scene, closing);
    scene.proves(&NOTHING_BEHIND).await;
    let report = scene.doctor(CHECK);
    let said = report.says(CHECK, "fail", "load balancer").detail(CHECK);
    assert!(said.contains("closes them without an answer"), "{said}");

    for (refusal, said) in [
        (
            &b"-NOSCRIPT No matching script.\r\n"[..],
            "several Redis servers",
        ),
        (
            b"-ERR script tried accessing undeclared key\r\n",
            "allow-undeclared-keys",
        ),
        (
            b"-ERR unsupported command 'EVALSHA'\r\n",
            "a proxy may lack them",
        ),
        (
            b"-CROSSSLOT Keys in request don't hash to the same slot\r\n",
            "Redis Cluster",
        ),
        (
            b"-MISCONF Errors writing to the AOF file: No space left on device\r\n",
            "aof_last_write_status",
        ),
    ] {
        let front = proxy(
            move || port,
            move |sent| contains(sent, b"EVALSHA").then_some(refusal),
        );
        set(&scene, front);
        scene.proves(&REFUSED_SCRIPT).await;
        scene.doctor(CHECK).says(CHECK, "fail", said);
    }

    // As proxies that know no inline commands.
    let strict = proxy(
        move || port,
        |sent| (!sent.starts_with(b"*")).then_some(&b""[..]),
    );
    set(&scene, strict);
    scene.proves_gone(&NOTHING_BEHIND);
    scene.proves_gone(&REFUSED_SCRIPT);
}
