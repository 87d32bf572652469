//! Clients that hang up before their answers; contract 10.36.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::daemon::{Daemon, SERVICE_TOKEN};
use crate::api::outcomes::Held;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::eventually;

/// Sends a create without its last bytes.
async fn create_without(daemon: &Daemon, missing: usize) -> TcpStream {
    let address = daemon.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /tasks/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SERVICE_TOKEN}\r\nX-User-ID: alice\r\n\
         Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{{\"title\":\"t\"}}"
    );
    let part = &request.as_bytes()[..request.len() - missing];
    stream.write_all(part).await.unwrap();
    stream
}

async fn create(daemon: &Daemon) -> TcpStream {
    create_without(daemon, 0).await
}

pub async fn in_work(daemon: &Daemon) -> u64 {
    // Without the one that asks.
    daemon.metric("http_requests_in_flight").await - 1
}

/// All that the daemon answers before it closes the connection.
async fn answer(mut stream: TcpStream) -> String {
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.to_lowercase()
}

/// A request that waits for its turn leaves the queue when its client does, while the lock is still
/// held. One that has only closed its side is told.
#[rstest]
#[tokio::test]
async fn what_nobody_waits_for(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| config.database.pool.size = 2).await;
    daemon.create_titled("before").await;
    let held = Held::by(&daemon).await;
    let mut clients = vec![create(&daemon).await];
    eventually("its statement runs", async || in_work(&daemon).await == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..7 {
        clients.push(create(&daemon).await);
    }
    eventually("all wait", async || in_work(&daemon).await == 8).await;
    let patient = clients.pop().unwrap();
    drop(clients);
    let told = answer(patient).await;
    assert!(told.starts_with("http/1.1 503 "), "{told}");
    assert!(told.contains("retry-after: "), "{told}");
    eventually("those that wait leave", async || {
        in_work(&daemon).await == 1
    })
    .await;
    let left = "todoctl_requests_shed_total{reason=\"client_left\"}";
    assert_eq!(daemon.metric(left).await, 7);
    held.let_go().await;
    eventually("the first is done", async || in_work(&daemon).await == 0).await;
    assert_eq!(daemon.get("/tasks/").await.1["total"], 2);
    let (_, status) = daemon.get("/status").anonymous().await;
    let requests = &status["requests"];
    let left = &requests["refusals"][0];
    assert_eq!(
        (&left["reason"], &left["count"]),
        (&json!("client_left"), &json!(8))
    );
    assert_eq!(requests["shed"], 0, "{requests:#}");
}

/// One that has closed its side gets its answer, if it need not wait long.
#[rstest]
#[tokio::test]
async fn a_short_wait(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| config.database.pool.size = 2).await;
    let held = Held::by(&daemon).await;
    let (first, second) = (create(&daemon).await, create(&daemon).await);
    eventually("both wait", async || in_work(&daemon).await == 2).await;
    let letting_go = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        held.let_go().await;
    };
    let (first, second, ()) = tokio::join!(answer(first), answer(second), letting_go);
    assert!(first.starts_with("http/1.1 201 "), "{first}");
    assert!(second.starts_with("http/1.1 201 "), "{second}");
}

/// Nothing more comes of a body after the end of the client's side, so it is not waited for.
#[tokio::test]
async fn half_a_body() {
    let daemon = Daemon::start(Sqlite).await;
    let whole = answer(create(&daemon).await).await;
    assert!(whole.starts_with("http/1.1 201 "), "{whole}");
    let started = Instant::now();
    let refused = answer(create_without(&daemon, 5).await).await;
    assert!(refused.starts_with("http/1.1 400 "), "{refused}");
    assert!(started.elapsed() < Duration::from_secs(5));
}
