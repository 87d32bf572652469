//! Contract 10.36: one user's requests do not keep the database from the others.

use std::time::{Duration, Instant};

use reqwest::Response;
use rstest::rstest;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinHandle;

use crate::api::daemon::Daemon;
use crate::api::request::Request;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::eventually;

/// What other users wait for at most, on a busy machine too.
const PROMPT: Duration = Duration::from_secs(3);

async fn daemon(engine: Engine, connections: usize) -> Daemon {
    Daemon::start_with(engine, |config| {
        config.database.pool.size = connections;
        config.database.pool.timeout = Duration::from_secs(15);
    })
    .await
}

/// So many tasks, and somebody who holds their locks, so that every change of them waits.
async fn hold(daemon: &Daemon, count: usize) -> (Vec<i64>, PgConnection) {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(daemon.create_titled("held").await);
    }
    let mut connection = PgConnection::connect(&daemon.database.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM tasks FOR UPDATE")
        .execute(&mut connection)
        .await
        .unwrap();
    (ids, connection)
}

fn spawn(request: Request) -> JoinHandle<Response> {
    tokio::spawn(async move { request.send().await.unwrap() })
}

/// A change of each task, all at once.
fn flood(daemon: &Daemon, ids: &[i64]) -> Vec<JoinHandle<Response>> {
    let change = |id| {
        daemon
            .patch(&format!("/tasks/{id}"))
            .json(&json!({ "completed": true }))
    };
    ids.iter().map(|id| spawn(change(id))).collect()
}

fn finished(flood: &[JoinHandle<Response>]) -> usize {
    flood.iter().filter(|request| request.is_finished()).count()
}

async fn waiting_for_locks(daemon: &Daemon) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    daemon.database.column::<i64>(count).await[0]
}

/// Reads and writes of another user, and probes.
async fn others_are_served(daemon: &Daemon) {
    let started = Instant::now();
    let (status, task) = daemon
        .post("/tasks/")
        .user("bob")
        .json(&json!({ "title": "bob's" }))
        .await;
    assert_eq!(status, 201, "{task}");
    let path = format!("/tasks/{}", task["id"]);
    let done = json!({ "completed": true });
    assert_eq!(daemon.patch(&path).user("bob").json(&done).await.0, 200);
    assert_eq!(daemon.get("/tasks/?search=ob").user("bob").await.0, 200);
    assert_eq!(
        daemon.get("/tasks/").bearer(daemon.jwt("carol")).await.0,
        200
    );
    for probe in ["/health", "/health/live", "/health/ready", "/metrics"] {
        assert_eq!(daemon.get(probe).anonymous().await.0, 200, "{probe}");
    }
    // Work of no user, as jobs are.
    daemon.store.ping().await.unwrap();
    assert!(started.elapsed() < PROMPT, "{:?}", started.elapsed());
}

/// Requests that wait for a lock use half of the connections, whoever sends them.
#[rstest]
#[case(2, 1)]
#[case(3, 2)]
#[case(8, 4)]
#[tokio::test]
async fn requests_that_wait_for_a_lock(#[case] connections: usize, #[case] share: i64) {
    let daemon = daemon(Postgres, connections).await;
    let (ids, held) = hold(&daemon, 21).await;
    let mut flood = flood(&daemon, &ids[1..]);
    let own_token = daemon
        .put(&format!("/tasks/{}", ids[0]))
        .bearer(daemon.jwt("alice"))
        .json(&json!({ "title": "changed" }));
    flood.push(spawn(own_token));
    eventually("the share is in use", async || {
        waiting_for_locks(&daemon).await >= share
    })
    .await;
    // On a busy machine connections may take long to open.
    eventually("the queue is short", async || {
        daemon.store.queue_delay() < PROMPT / 10
    })
    .await;
    others_are_served(&daemon).await;
    assert_eq!(waiting_for_locks(&daemon).await, share);
    assert_eq!(finished(&flood), 0);
    held.close().await.unwrap();
    for answer in flood {
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    assert_eq!(
        daemon
            .metric("todoctl_requests_shed_total{reason=\"share\"}")
            .await,
        0
    );
}

/// With one connection nothing can be reserved; users take turns.
#[tokio::test]
async fn turns_on_one_connection() {
    let daemon = daemon(Postgres, 1).await;
    let (ids, held) = hold(&daemon, 50).await;
    let flood = flood(&daemon, &ids);
    eventually("the connection is in use", async || {
        waiting_for_locks(&daemon).await == 1
    })
    .await;
    let bob = spawn(daemon.get("/tasks/").user("bob"));
    let job = {
        let store = daemon.store.clone();
        tokio::spawn(async move { store.ping().await.unwrap() })
    };
    eventually("both wait for it", async || {
        let (_, pool) = daemon.store.pools()[0];
        pool.waiting == 2
    })
    .await;
    held.close().await.unwrap();
    assert_eq!(bob.await.unwrap().status(), 200);
    let before = finished(&flood);
    job.await.unwrap();
    assert!(before < 30, "{before} of 50 were served first");
    for answer in flood {
        assert_eq!(answer.await.unwrap().status(), 200);
    }
}

/// Searches without an index, on one connection and on several.
#[rstest]
#[tokio::test]
async fn slow_searches(
    #[values(Sqlite, Postgres)] engine: Engine,
    #[values(1, 4)] connections: usize,
) {
    let daemon = daemon(engine, connections).await;
    let insert = match engine {
        Postgres => {
            "INSERT INTO tasks (user_id, title, completed, priority, search_title)
             SELECT 'alice', repeat('t', 150), FALSE, 'Medium', repeat('t', 150)
             FROM generate_series(1, 60000)"
        }
        Sqlite => {
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
             INSERT INTO tasks (user_id, title, created_at, updated_at, title_folded, search_title)
             SELECT 'alice', hex(zeroblob(75)), n, n, '', hex(zeroblob(75)) FROM n"
        }
    };
    daemon.database.execute(insert).await;
    let search = || spawn(daemon.get("/tasks/?search=xy"));
    let flood: Vec<_> = (0..60).map(|_| search()).collect();
    eventually("the searches run", async || finished(&flood) >= 2).await;
    let (status, body) = daemon.get("/tasks/").user("bob").await;
    assert_eq!(
        (status.as_u16(), &body["total"]),
        (200, &json!(0)),
        "{body}"
    );
    others_are_served(&daemon).await;
    for answer in flood {
        let status = answer.await.unwrap().status();
        assert!(status == 200 || status == 503, "{status}");
    }
}

/// Who would wait too long for a turn is refused at once, alone.
#[tokio::test]
async fn waits_for_a_turn_are_shed() {
    let daemon = Daemon::start_with(Postgres, |config| {
        config.database.pool.size = 4;
        config.database.pool.timeout = Duration::from_millis(2500);
    })
    .await;
    let (ids, held) = hold(&daemon, 4).await;
    let holding = flood(&daemon, &ids[..2]);
    eventually("the share is in use", async || {
        waiting_for_locks(&daemon).await == 2
    })
    .await;
    let first = flood(&daemon, &ids[2..3]).remove(0);
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let second = flood(&daemon, &ids[3..]).remove(0);
    let first = first.await.unwrap();
    assert_eq!(first.status(), 503);
    assert!(first.headers().contains_key("retry-after"));
    let body: Value = first.json().await.unwrap();
    let detail = "Too many requests of this user are in progress";
    assert_eq!(body["detail"], detail);
    // The newest one waited in vain, and another one waits.
    let started = Instant::now();
    let refused = daemon.get("/tasks/").send().await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(1400));
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "2");
    let body: Value = refused.json().await.unwrap();
    assert_eq!(
        (&body["detail"], &body["type"]),
        (&json!(detail), &json!("service_unavailable"))
    );
    others_are_served(&daemon).await;
    assert_eq!(second.await.unwrap().status(), 503);
    held.close().await.unwrap();
    for answer in holding {
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    assert_eq!(daemon.get("/tasks/").await.0, 200);
    assert_eq!(
        daemon
            .metric("todoctl_requests_shed_total{reason=\"share\"}")
            .await,
        3
    );
    assert_eq!(
        daemon
            .metric("todoctl_requests_shed_total{reason=\"queue\"}")
            .await,
        0
    );
}
