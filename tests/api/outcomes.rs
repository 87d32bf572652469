//! Contract 11.3: a create that may have succeeded must not be answered with a 5xx, which browsers
//! retry; 10.36: temporary failures are 503 with `Retry-After`, not 500.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use todoctl::config::DatabaseTarget;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::api::daemon::Daemon;
use crate::api::request::read;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::eventually;

/// Blocks every write until it is released.
enum Held {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Held {
    async fn by(daemon: &Daemon) -> Self {
        if daemon.is_postgres() {
            let mut connection = PgConnection::connect(&daemon.database.url()).await.unwrap();
            sqlx::raw_sql("BEGIN; LOCK TABLE tasks IN EXCLUSIVE MODE")
                .execute(&mut connection)
                .await
                .unwrap();
            Self::Postgres(connection)
        } else {
            let path = daemon.config.database.target.redacted();
            let mut connection = SqliteConnection::connect(&path).await.unwrap();
            sqlx::raw_sql("BEGIN IMMEDIATE")
                .execute(&mut connection)
                .await
                .unwrap();
            Self::Sqlite(connection)
        }
    }

    async fn let_go(self) {
        match self {
            Self::Postgres(connection) => connection.close().await.unwrap(),
            Self::Sqlite(connection) => connection.close().await.unwrap(),
        }
    }
}

async fn total(daemon: &Daemon) -> i64 {
    let (status, body) = daemon.get("/tasks/").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["total"].as_i64().unwrap()
}

/// 11.3: the request times out while the task is being stored; it is stored all the same.
#[rstest]
#[tokio::test]
async fn a_create_that_takes_too_long(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| {
        config.http.request_timeout = Duration::from_secs(1);
    })
    .await;
    let held = Held::by(&daemon).await;
    let create = daemon.post("/tasks/").json(&json!({ "title": "late" }));
    let (status, body) = create.await;
    assert_eq!(
        (status.as_u16(), &body["type"]),
        (409, &json!("outcome_unknown")),
        "{body}"
    );
    // With a key a second request creates nothing, so the answer may ask for one.
    let create = daemon
        .post("/tasks/")
        .header("Idempotency-Key", "k")
        .json(&json!({ "title": "late" }));
    let response = create.send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(read(response).await.0, StatusCode::SERVICE_UNAVAILABLE);
    // Requests that can be repeated get 503.
    let delete = daemon
        .post("/tasks/bulk-delete")
        .json(&json!({ "task_ids": [999_999] }));
    assert_eq!(delete.await.0, StatusCode::SERVICE_UNAVAILABLE);
    held.let_go().await;
    eventually("both are stored", async || total(&daemon).await == 2).await;
}

/// 10.36: a lock that is not released within the database's own limit.
#[rstest]
#[tokio::test]
async fn a_lock_that_is_held(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| {
        if let DatabaseTarget::Postgres(server) = &mut config.database.target {
            server.options = Some("-c lock_timeout=300ms".to_owned());
        }
    })
    .await;
    let held = Held::by(&daemon).await;
    let create = daemon.post("/tasks/").json(&json!({ "title": "hindered" }));
    let response = create.send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let (status, body) = read(response).await;
    assert_eq!(
        (status.as_u16(), &body["type"]),
        (503, &json!("service_unavailable")),
        "{body}"
    );
    held.let_go().await;
    assert_eq!(total(&daemon).await, 0);
    daemon.create_titled("hindered").await;
}

/// Forwards everything.
const OPEN: u8 = 0;
/// Withholds the server's answers, then breaks the connection.
const CUT: u8 = 1;
/// The same, and accepts no new connection.
const CUT_AND_CLOSED: u8 = 2;

/// A network between daemon and database that can be cut.
async fn network(server: (String, u16)) -> (u16, Arc<AtomicU8>) {
    let state = Arc::new(AtomicU8::new(OPEN));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shared = state.clone();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            if shared.load(Ordering::SeqCst) == CUT_AND_CLOSED {
                continue;
            }
            let server = TcpStream::connect((server.0.as_str(), server.1))
                .await
                .unwrap();
            tokio::spawn(carry(client, server, shared.clone()));
        }
    });
    (port, state)
}

async fn carry(client: TcpStream, server: TcpStream, state: Arc<AtomicU8>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async { tokio::io::copy(&mut from_client, &mut to_server).await };
    let down = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let count = from_server.read(&mut bytes).await.unwrap_or(0);
            let cut = state.load(Ordering::SeqCst) != OPEN;
            if cut {
                // Only once: the next query is answered.
                let _ = state.compare_exchange(CUT, OPEN, Ordering::SeqCst, Ordering::SeqCst);
            }
            if cut || count == 0 || to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = up => {}
        () = down => {}
    }
}

/// 11.3: the connection breaks after the task was stored and before the daemon knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_connection_breaks() {
    let direct = Daemon::start_with(Engine::Postgres, |_| ()).await;
    let mut config = direct.config.clone();
    let DatabaseTarget::Postgres(server) = &mut config.database.target else {
        unreachable!("it was started on PostgreSQL");
    };
    let (port, state) = network((server.host.clone(), server.port)).await;
    server.port = port;
    let daemon = direct.replica_with(config).await;
    daemon.create_titled("first").await;

    state.store(CUT, Ordering::SeqCst);
    let created = daemon
        .create(json!({ "title": "found again", "priority": "High" }))
        .await;
    assert_eq!(
        (&created["title"], &created["priority"]),
        (&json!("found again"), &json!("High"))
    );
    assert_eq!(total(&direct).await, 2, "it is there once");

    state.store(CUT_AND_CLOSED, Ordering::SeqCst);
    let create = daemon
        .post("/tasks/")
        .json(&json!({ "title": "who knows" }));
    let (status, body) = create.await;
    assert_eq!(
        (status.as_u16(), &body["type"]),
        (409, &json!("outcome_unknown")),
        "{body}"
    );
    // With a key the request is retried, by the daemon or by the client, and the task is stored
    // once.
    state.store(OPEN, Ordering::SeqCst);
    daemon.create_titled("between").await;
    state.store(CUT, Ordering::SeqCst);
    let mut status = StatusCode::SERVICE_UNAVAILABLE;
    for _ in 0..2 {
        let create = daemon.post("/tasks/").header("Idempotency-Key", "k");
        status = create.json(&json!({ "title": "once" })).await.0;
    }
    assert_eq!(status, StatusCode::CREATED);
    let (_, body) = direct.get("/tasks/?search=once").await;
    assert_eq!(body["total"], 1);
}
