//! Clients that do not read their answers.

use std::time::{Duration, Instant};

use rstest::rstest;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::api::daemon::{Daemon, SERVICE_TOKEN};
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::eventually;

/// What may wait in all.
const BUDGET: u64 = 64 * 1024 * 1024;

/// So many megabytes of memory does this process use, the daemon in it.
fn megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse::<u64>().unwrap() / 1024
}

/// Sends `path` so many times on one connection, and reads nothing.
async fn ask(daemon: &Daemon, path: &str, times: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = daemon.base.strip_prefix("http://").unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SERVICE_TOKEN}\r\nX-User-ID: alice\r\n\r\n"
    );
    stream
        .write_all(request.repeat(times).as_bytes())
        .await
        .unwrap();
    stream
}

/// A tenth of a megabyte for each hundred tasks of a list.
async fn fill(daemon: &Daemon) {
    let text = "x".repeat(900);
    let insert = if daemon.is_postgres() {
        format!(
            "INSERT INTO tasks (user_id, title, description, completed, priority)
             SELECT 'alice', 't', '{text}', FALSE, 'Medium' FROM generate_series(1, 500)"
        )
    } else {
        format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500)
             INSERT INTO tasks (user_id, title, description, created_at, updated_at, title_folded, description_folded)
             SELECT 'alice', 't', '{text}', n, n, 't', '{text}' FROM n"
        )
    };
    daemon.database.execute(&insert).await;
}

/// They take a bounded amount of memory, are disconnected, and keep nobody from being answered.
#[rstest]
#[case::lists("/tasks/?limit=500", 300, 1, 1)]
#[case::assets("/docs/swagger-ui-bundle.js", 300, 1, 0)]
#[case::pipelined_lists("/tasks/?limit=500", 150, 20, 1)]
#[case::pipelined_documents("/openapi.json", 40, 300, 0)]
#[tokio::test]
async fn clients_that_do_not_read(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[case] path: &str,
    #[case] connections: usize,
    #[case] requests: usize,
    #[case] given_up: u64,
) {
    let daemon = Daemon::start(engine).await;
    fill(&daemon).await;
    let before = megabytes();
    let mut silent = Vec::new();
    for number in 0..connections {
        silent.push(ask(&daemon, path, requests).await);
        if number % 10 == 0 {
            let started = Instant::now();
            assert!(daemon.metric("http_unsent_bytes").await <= BUDGET);
            assert!(started.elapsed() < Duration::from_secs(3));
            // More at once would exceed the user's share of the database.
            eventually("the requests are answered", async || {
                daemon.metric("http_requests_in_flight").await <= 1
            })
            .await;
        }
    }
    let grown = megabytes().saturating_sub(before);
    assert!(grown < 250, "{grown} MB");
    let shed = "todoctl_requests_shed_total{reason=\"unsent\"}";
    assert!(daemon.metric(shed).await >= given_up);
    // Who reads gets everything.
    let (status, list) = daemon.get("/tasks/?limit=500").await;
    assert_eq!(status, 200);
    assert_eq!(list["tasks"].as_array().unwrap().len(), 500);
    eventually("they are disconnected", async || {
        daemon.metric("http_connections").await <= 1
    })
    .await;
    assert_eq!(daemon.metric("http_unsent_bytes").await, 0);
    drop(silent);
}
