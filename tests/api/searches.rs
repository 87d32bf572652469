//! Contract 10.36: searches that take long, and their clients.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::api::daemon::{Daemon, SERVICE_TOKEN};
use crate::api::hang_up::in_work;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::eventually;

/// How long each reading of the tasks takes.
#[derive(Clone, Copy)]
enum Reading {
    /// Some tenths of a second.
    Long,
    Endless,
}

/// A daemon with two connections, where reading tasks takes long.
async fn daemon(engine: Engine, reading: Reading) -> Daemon {
    let daemon = Daemon::start_with(engine, |config| {
        config.http.request_timeout = Duration::from_secs(120);
        config.database.pool.size = 2;
    })
    .await;
    // Without a folded title, so that a search reads it.
    let (insert, condition) = match engine {
        Postgres => {
            let seconds = match reading {
                Reading::Long => 0.2,
                Reading::Endless => 1000.0,
            };
            (
                "(user_id, title, completed, priority) VALUES ('alice', 't', FALSE, 'Medium')",
                format!("(SELECT count(*) FROM pg_sleep({seconds})) > 0"),
            )
        }
        Sqlite => {
            let limit = match reading {
                Reading::Long => "LIMIT 100000",
                Reading::Endless => "",
            };
            (
                "(user_id, title, created_at, updated_at, title_folded) VALUES ('alice', 't', 1, 1, 't')",
                format!(
                    "(WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n {limit})
                      SELECT count(*) FROM n) > 0"
                ),
            )
        }
    };
    let statements = format!(
        "INSERT INTO tasks {insert};
         ALTER TABLE tasks RENAME TO stored_tasks;
         CREATE VIEW tasks AS SELECT * FROM stored_tasks WHERE {condition}"
    );
    daemon.database.execute(&statements).await;
    daemon
}

async fn is_reading(daemon: &Daemon) -> bool {
    if daemon.is_postgres() {
        let count = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'PgSleep'";
        return daemon.database.column::<i64>(count).await[0] > 0;
    }
    let pools = daemon.store.pools();
    pools.iter().any(|(_, pool)| pool.size > pool.idle)
}

/// The search of a client that has left is stopped, long before its deadline.
#[rstest]
#[tokio::test]
async fn a_client_that_leaves(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = daemon(engine, Reading::Endless).await;
    let address = daemon.base.strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /tasks/?search=xy HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SERVICE_TOKEN}\r\n\
         X-User-ID: alice\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    eventually("the search runs", async || is_reading(&daemon).await).await;
    drop(client);
    eventually("it is stopped", async || !is_reading(&daemon).await).await;
    eventually("its request ends", async || in_work(&daemon).await == 0).await;
    let left = "todoctl_requests_shed_total{reason=\"client_left\"}";
    assert_eq!(daemon.metric(left).await, 1);
    assert_eq!(daemon.get("/notifications/").await.0, 200);
}

/// Searches that would begin too late are refused at once, and nothing else is. What was let in is
/// soon done.
#[rstest]
#[tokio::test]
async fn a_flood(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = daemon(engine, Reading::Long).await;
    let search = || daemon.get("/tasks/?search=xy");
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(search().await.0, 200);
    }
    let each = started.elapsed() / 3;
    // Seconds of work for the half of the connections that one user may use.
    let count = (Duration::from_secs(8).as_millis() / each.as_millis()).clamp(10, 400);
    let flood: Vec<_> = (0..count)
        .map(|_| {
            let request = search();
            tokio::spawn(async move { request.send().await.unwrap() })
        })
        .collect();
    eventually("a search runs", async || is_reading(&daemon).await).await;
    for user in ["alice", "bob"] {
        assert_eq!(daemon.get("/notifications/").user(user).await.0, 200);
    }
    let (mut served, mut refused) = (0, 0);
    for answer in flood {
        let answer = answer.await.unwrap();
        if answer.status() == 200 {
            served += 1;
            continue;
        }
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        let body: Value = answer.json().await.unwrap();
        assert_eq!(
            body["detail"],
            json!("Too many requests of this user are in progress")
        );
        refused += 1;
    }
    assert!(
        served >= 3 && refused >= 3,
        "{served} of {count} were served"
    );
    let shed = "todoctl_requests_shed_total{reason=\"share\"}";
    assert_eq!(daemon.metric(shed).await, refused);
    assert_eq!(search().await.0, 200);
}
