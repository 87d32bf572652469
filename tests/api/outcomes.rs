//! Contract 11.3: a create that may have taken place must not end in a 5xx, which a browser
//! repeats; 10.36: what is only hindered is 503 with `Retry-After`, and not 500.

use std::time::Duration;

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use todoctl::config::DatabaseTarget;

use crate::api::daemon::Daemon;
use crate::api::request::read;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::{eventually, on_server};

/// What keeps every write waiting, until it is let go.
pub enum Held {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Held {
    pub async fn by(daemon: &Daemon) -> Self {
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

    pub async fn let_go(self) {
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

/// 10.36: a change that was answered with 503 is not made later, when the lock that it waits for
/// becomes free, or the queue behind it.
#[rstest]
#[tokio::test]
async fn a_late_lock(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| {
        config.http.request_timeout = Duration::from_secs(1);
        config.database.pool.size = 1;
    })
    .await;
    let kept = daemon.create_titled("before").await;
    let path = format!("/tasks/{kept}");
    let held = Held::by(&daemon).await;
    let late = json!({ "title": "late" });
    let mut requests = Vec::new();
    for _ in 0..3 {
        for request in [
            daemon.put(&path).json(&late),
            daemon.put(&path).header("If-Match", "*").json(&late),
            daemon.delete(&path),
            daemon
                .post("/tasks/")
                .header("Idempotency-Key", "k")
                .json(&late),
        ] {
            requests.push(tokio::spawn(async move { request.send().await.unwrap() }));
            // The next waits in the queue, and has less time left when its turn comes.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
    for request in requests {
        assert_eq!(
            request.await.unwrap().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
    held.let_go().await;
    eventually("the work is over", async || {
        daemon.metric("http_requests_in_flight").await == 1
    })
    .await;
    let (_, list) = daemon.get("/tasks/").await;
    assert_eq!(list["total"], 1, "{list}");
    assert_eq!(list["tasks"][0]["title"], "before");
}

/// 11.3, 10.36: what cannot be done in time is not done, so it is 503 and may be repeated.
#[rstest]
#[tokio::test]
async fn a_change_that_takes_too_long(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| {
        config.http.request_timeout = Duration::from_secs(1);
    })
    .await;
    let id = daemon.create_titled("before").await;
    let held = Held::by(&daemon).await;
    let late = json!({ "title": "late" });
    for request in [
        daemon.post("/tasks/").json(&late),
        daemon
            .post("/tasks/")
            .header("Idempotency-Key", "k")
            .json(&late),
        daemon.put(&format!("/tasks/{id}")).json(&late),
        daemon
            .put(&format!("/tasks/{id}"))
            .header("If-Match", "*")
            .json(&late),
        daemon.delete(&format!("/tasks/{id}")),
        daemon
            .post("/tasks/bulk-delete")
            .json(&json!({ "task_ids": [id] })),
    ] {
        let response = request.send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"));
        let (status, body) = read(response).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    }
    held.let_go().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (_, body) = daemon.get("/tasks/").await;
    assert_eq!(
        (&body["total"], &body["tasks"][0]["title"]),
        (&json!(1), &json!("before"))
    );
}

/// 10.36: a lock that does not come free in the database's own time.
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

/// 11.3: the connection breaks after the task was stored and before the daemon knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_connection_breaks() {
    let (direct, daemon, network) = Daemon::behind_a_network(Duration::from_secs(4)).await;
    daemon.create_titled("first").await;

    network.cut();
    let created = daemon
        .create(json!({ "title": "found again", "priority": "High" }))
        .await;
    assert_eq!(
        (&created["title"], &created["priority"]),
        (&json!("found again"), &json!("High"))
    );
    assert_eq!(total(&direct).await, 2, "it is there once");

    network.close();
    let create = daemon
        .post("/tasks/")
        .json(&json!({ "title": "who knows" }));
    let (status, body) = create.await;
    assert_eq!(
        (status.as_u16(), &body["type"]),
        (409, &json!("outcome_unknown")),
        "{body}"
    );
    // With a key it is asked again, by the daemon or by the client, and stored once.
    network.open();
    daemon.create_titled("between").await;
    network.cut();
    let mut status = StatusCode::SERVICE_UNAVAILABLE;
    for _ in 0..2 {
        let create = daemon.post("/tasks/").header("Idempotency-Key", "k");
        status = create.json(&json!({ "title": "once" })).await.0;
    }
    assert_eq!(status, StatusCode::CREATED);
    let (_, body) = direct.get("/tasks/?search=once").await;
    assert_eq!(body["total"], 1);
}

/// 11.3: the connection breaks while the commit waits, and the server does not notice. The
/// task is not there yet, and must not appear after an answer that asks for a repeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_commit_waits() {
    for can_reconnect in [true, false] {
        // Without a connection it is waited for until the server would refuse it.
        let (direct, daemon, network) = Daemon::behind_a_network(Duration::from_secs(3)).await;
        daemon.create_titled("first").await;
        direct
            .database
            .execute(
                "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN
                         PERFORM set_config('lock_timeout', '0', true);
                         PERFORM pg_advisory_xact_lock(42);
                         RETURN NULL;
                     END $$;
                 CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
                     FOR EACH ROW EXECUTE FUNCTION wait();",
            )
            .await;
        let mut holder = PgConnection::connect(&direct.database.url()).await.unwrap();
        sqlx::raw_sql("SELECT pg_advisory_lock(42)")
            .execute(&mut holder)
            .await
            .unwrap();
        let breaking = async {
            eventually("the commit waits", async || {
                let waiting: Vec<i64> = direct
                    .database
                    .column("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
                    .await;
                waiting == [1]
            })
            .await;
            if !can_reconnect {
                network.close();
            }
            network.break_present();
        };
        let create = daemon
            .post("/tasks/")
            .json(&json!({ "title": "waits" }))
            .send();
        let (response, ()) = tokio::join!(create, breaking);
        let (status, body) = read(response.unwrap()).await;
        holder.close().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        if can_reconnect {
            // The server's session was ended, so it is certain.
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
            assert_eq!(total(&direct).await, 1);
        } else {
            assert_eq!(
                (status.as_u16(), &body["type"]),
                (409, &json!("outcome_unknown")),
                "{body}"
            );
            assert_eq!(total(&direct).await, 2);
        }
    }
}

/// 10.36: a number that the database gives out twice is its fault, and the cause is logged.
#[tokio::test]
async fn a_sequence_that_lags_behind() {
    let daemon = Daemon::start(Engine::Postgres).await;
    daemon.create_titled("first").await;
    daemon
        .database
        .execute("SELECT setval('tasks_id_seq', 1, false)")
        .await;
    let (status, body) = daemon
        .post("/tasks/")
        .json(&json!({ "title": "second" }))
        .await;
    assert_eq!(
        (status.as_u16(), &body["type"]),
        (500, &json!("database_error")),
        "{body}"
    );
}

/// 13: a standby gets no requests, and another server in its place is found.
#[tokio::test]
async fn a_standby_is_not_ready() {
    let daemon = Daemon::start(Engine::Postgres).await;
    daemon.create_titled("first").await;
    let name: Vec<String> = daemon
        .database
        .column("SELECT current_database()::text")
        .await;
    let name = &name[0];
    let read_only = |on| format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}");
    on_server(&read_only("on")).await;
    // The daemon has connections that do not know.
    daemon
        .database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    let ready = daemon.get("/health/ready").anonymous().await;
    assert_eq!(
        ready,
        (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "status": "read_only" })
        )
    );
    let create = daemon.post("/tasks/").json(&json!({ "title": "refused" }));
    assert_eq!(create.await.0, StatusCode::SERVICE_UNAVAILABLE);
    on_server(&read_only("off")).await;
    daemon.create_titled("second").await;
    assert_eq!(
        daemon.get("/health/ready").anonymous().await.0,
        StatusCode::OK
    );
}
