//! Everything through a transaction-mode PgBouncer without prepared statements: 50 clients
//! over two server connections; contract 10.37.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use todoctl::config::PoolerMode;
use todoctl::jobs::{self, Stop};
use todoctl::store::Store;

use crate::jobs::world::{World, target};
use crate::support::process::{Process, SERVICE_TOKEN, serve, with_secrets};
use crate::support::{self, Engine, PgBouncer, TestDatabase};

const CLIENTS: usize = 50;

/// One client, which uses every operation on tasks and notifications.
struct Client {
    http: reqwest::Client,
    base: String,
    user: String,
}

impl Client {
    async fn call(&self, method: &str, path: &str, body: Option<Value>, expected: u16) -> Value {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        loop {
            let mut request = self
                .http
                .request(method.clone(), format!("{}{path}", self.base))
                .bearer_auth(SERVICE_TOKEN)
                .header("X-User-ID", &self.user);
            if let Some(body) = &body {
                request = request.json(body);
            }
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let text = response.text().await.unwrap();
            // Where the machine is slow, what would wait too long is refused, and asked again.
            if text.contains("The service is overloaded at the moment") {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            assert_eq!(status, expected, "{method} {path}: {text}");
            return serde_json::from_str(&text).unwrap_or_default();
        }
    }

    async fn everything(&self) {
        let mut ids = Vec::new();
        for number in 0..4 {
            let body = json!({ "title": format!("t{number}"), "due_date": "2001-01-01", "priority": "High" });
            let task = self.call("POST", "/tasks/", Some(body), 201).await;
            ids.push(task["id"].as_i64().unwrap());
        }
        let path = format!("/tasks/{}", ids[0]);
        self.call("GET", &path, None, 200).await;
        let changed = self
            .call("PUT", &path, Some(json!({ "title": "new" })), 200)
            .await;
        assert_eq!(changed["title"], "new");
        let done = self
            .call("PATCH", &path, Some(json!({ "completed": true })), 200)
            .await;
        assert_eq!(done["completed"], true);
        for query in [
            "",
            "?search=NEW",
            "?priority=High&completed=false",
            "?page=2&limit=2",
            "?due_before=2001-01-01",
        ] {
            let list = self
                .call("GET", &format!("/tasks/{query}"), None, 200)
                .await;
            assert!(list["total"].as_i64().unwrap() > 0, "{query}");
        }
        self.call("DELETE", &path, None, 204).await;
        self.call("GET", &path, None, 404).await;
        let gone = self
            .call(
                "POST",
                "/tasks/bulk-delete",
                Some(json!({ "task_ids": [ids[1], ids[0]] })),
                200,
            )
            .await;
        assert_eq!(gone, json!({ "deleted": [ids[1]], "not_found": [ids[0]] }));
        self.call("GET", "/notifications/", None, 200).await;
        self.call("POST", "/notifications/read-all", None, 204)
            .await;
        self.call("PATCH", "/notifications/999999/read", None, 404)
            .await;
    }

    /// After a run of the reminder job: the notifications of the two remaining tasks.
    async fn notifications(&self) {
        let list = self.call("GET", "/notifications/", None, 200).await;
        let told = list["notifications"].as_array().unwrap();
        assert_eq!(
            (told.len(), &list["unread_count"]),
            (2, &json!(2)),
            "{list}"
        );
        let path = format!("/notifications/{}/read", told[0]["id"]);
        self.call("PATCH", &path, None, 200).await;
        let list = self.call("GET", "/notifications/", None, 200).await;
        assert_eq!(list["unread_count"], 1);
        self.call("POST", "/notifications/read-all", None, 204)
            .await;
        let list = self.call("GET", "/notifications/", None, 200).await;
        assert_eq!(list["unread_count"], 0);
    }
}

/// A daemon behind the pooler, 50 clients, the job of a second process, and no failure.
async fn fifty_clients(pooler: Option<&str>) {
    let database = TestDatabase::create().await;
    let bouncer = PgBouncer::start(&database.url);
    let directory = support::sqlite_dir();
    let mut command = serve(directory.path());
    with_secrets(&mut command)
        .env("DATABASE_URL", &bouncer.url)
        .env("DATABASE_URL_UNPOOLED", &database.url)
        // A busy machine may be slow without failing the test.
        .env("SQLALCHEMY_POOL_TIMEOUT", "60")
        .env("REQUEST_TIMEOUT_SECONDS", "60");
    if let Some(pooler) = pooler {
        command.env("DB_POOLER", pooler);
    }
    let mut daemon = Process::start(&mut command);
    daemon.line("connected through a pooler in transaction mode");
    let base = daemon.base();
    // The daemon's own first run is over, so that the one below makes everything.
    daemon.line(r#""message":"reminders""#);
    let http = support::http_client()
        .timeout(Duration::from_secs(120))
        .build()
        .unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            Arc::new(Client {
                http: http.clone(),
                base: base.clone(),
                user: format!("user{number}"),
            })
        })
        .collect();
    let all = |clients: &[Arc<Client>]| {
        let work = clients.iter().cloned();
        work.map(|client| tokio::spawn(async move { client.everything().await }))
            .collect::<Vec<_>>()
    };
    let mut failures = 0;
    for work in all(&clients) {
        failures += usize::from(work.await.is_err());
    }
    assert!(
        failures == 0,
        "{failures} clients failed; the daemon said\n{}",
        daemon.stop()
    );
    let config = crate::jobs::world::config(target(&bouncer.url));
    let store = Store::connect(
        &todoctl::config::DatabaseConfig {
            pooler: PoolerMode::Detect,
            ..config
        },
        todoctl::clock::Clock::system(),
    )
    .await
    .unwrap();
    let metrics = todoctl::telemetry::JobMetrics::new().unwrap();
    let clock = todoctl::clock::Clock::system();
    let run = jobs::run_reminders(&store, &clock, false, &Stop::never(), &metrics)
        .await
        .unwrap();
    assert_eq!((run.overdue, run.skipped), (2 * CLIENTS, 0));
    let reading = clients.iter().cloned();
    let reading: Vec<_> = reading
        .map(|client| tokio::spawn(async move { client.notifications().await }))
        .collect();
    for work in reading {
        work.await.unwrap();
    }
    let said = daemon.stop();
    assert!(!said.contains("\"level\":\"ERROR\""), "{said}");
}

/// The pooler is recognised by its server connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_detected() {
    fifty_clients(None).await;
}

/// The pooler is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_configured() {
    fifty_clients(Some("transaction")).await;
}

/// 10.37: three replicas behind the pooler create each notification once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas() {
    let world = World::start(Engine::Postgres).await;
    let bouncer = PgBouncer::start(&world.database.url());
    let mut wanted = BTreeSet::new();
    for number in 0..600 {
        let due = if number % 2 == 0 {
            "2031-05-09"
        } else {
            "2031-05-10T18:00:00Z"
        };
        let title = format!("t{number}");
        let due = due.parse().unwrap();
        wanted.insert(world.task("alice", &title, Some(due)).await);
    }
    let config = todoctl::config::DatabaseConfig {
        pooler: PoolerMode::Detect,
        ..crate::jobs::world::config(target(&bouncer.url))
    };
    assert_eq!(world.remind_in_three_stores(&config).await, 600);
    let told = world.told("alice").await;
    assert_eq!(told.len(), 600);
    let told: BTreeSet<i64> = told.into_iter().map(|one| one.task_id.unwrap()).collect();
    assert_eq!(told, wanted);
}
