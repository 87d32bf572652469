//! 10.36: a change that was answered with 503 does not take effect later, however long the
//! network keeps it. A create without a key is 409 where nobody can tell (11.3).

use std::time::Duration;

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use todoctl::config::PoolerMode;

use crate::api::daemon::Daemon;
use crate::api::request::Request;
use crate::support::{Engine, Network, PgBouncer, eventually, postgres_target};

/// What the network holds up, with everything after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Statement,
    Commit,
}

/// What is between the network and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Pooled,
}

/// A daemon behind a network, and another one on the same database that reaches it directly.
struct World {
    direct: Daemon,
    daemon: Daemon,
    network: Network,
    _pooler: Option<PgBouncer>,
}

impl World {
    async fn new(way: Way) -> Self {
        let direct = Daemon::start_with(Engine::Postgres, |config| {
            config.http.request_timeout = Duration::from_secs(1);
        })
        .await;
        let mut config = direct.config.clone();
        let pooler = (way == Way::Pooled).then(|| PgBouncer::start(&direct.database.url()));
        if let Some(pooler) = &pooler {
            config.database.target = postgres_target(&pooler.url);
            config.database.pooler = PoolerMode::Transaction;
        }
        let network = Network::before(&mut config.database.target).await;
        let daemon = direct.replica_with(config).await;
        Self {
            direct,
            daemon,
            network,
            _pooler: pooler,
        }
    }

    /// A task with a notification; the ids of both.
    async fn task(&self) -> (i64, i64) {
        let id = self.direct.create_titled("before").await;
        let database = &self.direct.database;
        database
            .execute(&format!(
                "INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at)
                 SELECT user_id, id, 'overdue', 'm', false, false, now() FROM tasks WHERE id = {id}"
            ))
            .await;
        let newest = "SELECT max(id) FROM notifications";
        (id, database.column::<i64>(newest).await[0])
    }

    /// Everything that a change could change.
    async fn state(&self) -> Vec<String> {
        self.direct
            .database
            .column(
                "SELECT t::text FROM tasks AS t UNION ALL SELECT n::text FROM notifications AS n
                 UNION ALL SELECT key FROM todoctl_idempotency_keys ORDER BY 1",
            )
            .await
    }

    /// Sends a request, which the network holds up until it was answered, and then lets go.
    async fn late(&self, held: Held, request: Request) -> (StatusCode, Value) {
        // So that a connection is open.
        self.daemon.get("/notifications/").await;
        let before = self.state().await;
        match held {
            Held::Statement => self.network.hold_all(),
            Held::Commit => self.network.hold_from_commit(),
        }
        let answer = request.await;
        assert_eq!(self.state().await, before, "it was held up");
        self.network.open();
        self.network.delivered().await;
        self.until_idle().await;
        assert_eq!(self.state().await, before, "{answer:?}");
        answer
    }

    /// Waits until the server has done what it was sent, and no transaction is open.
    async fn until_idle(&self) {
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
             AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'";
        tokio::time::sleep(Duration::from_millis(100)).await;
        eventually("no transaction is open", async || {
            self.direct.database.column::<i64>(busy).await == [0]
        })
        .await;
    }
}

#[rstest]
#[case(Way::Direct, Held::Statement)]
#[case(Way::Pooled, Held::Statement)]
#[case(Way::Pooled, Held::Commit)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements(#[case] way: Way, #[case] held: Held) {
    let world = World::new(way).await;
    let daemon = &world.daemon;
    let (id, notification) = world.task().await;
    let path = format!("/tasks/{id}");
    let read = format!("/notifications/{notification}/read");
    for request in [
        daemon.put(&path).json(&json!({ "title": "late" })),
        daemon.patch(&path).json(&json!({ "completed": true })),
        daemon.delete(&path),
        daemon
            .post("/tasks/bulk-delete")
            .json(&json!({ "task_ids": [id] })),
        daemon.patch(&read),
        daemon.post("/notifications/read-all"),
    ] {
        let (status, body) = world.late(held, request).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    }
    let create = daemon.post("/tasks/").json(&json!({ "title": "late" }));
    let (status, body) = world.late(held, create).await;
    match way {
        Way::Direct => {
            assert_eq!(status, StatusCode::CONFLICT, "{body}");
            assert_eq!(body["type"], "outcome_unknown");
        }
        // What was held up is its BEGIN, or the server has ended the transaction, which was idle.
        Way::Pooled => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}"),
    }
}

/// What takes several statements, so that its COMMIT is one of its own.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions(
    #[values(Way::Direct, Way::Pooled)] way: Way,
    #[values(Held::Statement, Held::Commit)] held: Held,
) {
    let world = World::new(way).await;
    let daemon = &world.daemon;
    let (id, _) = world.task().await;
    let path = format!("/tasks/{id}");
    let late = json!({ "title": "late" });
    for request in [
        daemon.put(&path).header("If-Match", "*").json(&late),
        daemon
            .patch(&path)
            .header("If-Match", "*")
            .json(&json!({ "completed": true })),
        daemon.delete(&path).header("If-Match", "*"),
        daemon
            .post("/tasks/")
            .header("Idempotency-Key", "k")
            .json(&late),
    ] {
        let (status, body) = world.late(held, request).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    }
}

/// The old connection is held up alone, and another change of the task is acknowledged before it
/// heals.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_change_stays(#[values(Way::Direct, Way::Pooled)] way: Way) {
    let world = World::new(way).await;
    let daemon = &world.daemon;
    let (id, _) = world.task().await;
    let path = format!("/tasks/{id}");
    daemon.get(&path).await;
    world.network.hold();
    let (status, body) = daemon.put(&path).json(&json!({ "title": "late" })).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    let acknowledged = json!({ "title": "acknowledged" });
    let (status, body) = daemon.put(&path).json(&acknowledged).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    world.network.open();
    world.network.delivered().await;
    world.until_idle().await;
    let (_, task) = world.direct.get(&path).await;
    assert_eq!(task["title"], "acknowledged");
}
