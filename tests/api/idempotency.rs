//! Contract 13: `Idempotency-Key` on `POST /tasks/`.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use todoctl::clock::Clock;

use crate::api::daemon::{Daemon, fields};
use crate::api::request::Request;
use crate::support::Engine::{self, Postgres, Sqlite};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn post(daemon: &Daemon, key: &str, body: &Value) -> Request {
    daemon
        .post("/tasks/")
        .header("Idempotency-Key", key)
        .json(body)
}

async fn total(daemon: &Daemon) -> i64 {
    let (_, list) = daemon.get("/tasks/?limit=1").await;
    list["total"].as_i64().unwrap()
}

/// Status, tag, whether it is a repetition, body.
async fn parts(response: Response) -> (StatusCode, String, bool, String) {
    let status = response.status();
    let text = |name| {
        response
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned()
    };
    let (tag, replayed) = (text("etag"), text("idempotency-replayed") == "true");
    (status, tag, replayed, response.text().await.unwrap())
}

/// The same request again gets the first answer again, whatever became of the task.
#[rstest]
#[tokio::test]
async fn repeated(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let body = json!({ "title": "t", "description": "d", "due_date": "2031-01-02" });
    let first = parts(post(&daemon, "k1", &body).send().await.unwrap()).await;
    assert_eq!((first.0.as_u16(), first.2), (201, false));
    let repeated = (first.0, first.1.clone(), true, first.3.clone());
    assert_eq!(
        parts(post(&daemon, "k1", &body).send().await.unwrap()).await,
        repeated
    );
    // The same task, written differently.
    let other = daemon.post("/tasks").header("Idempotency-Key", "k1").header("Content-Type", "application/json")
        .body(r#"{ "due_date": "2031-01-02T00:00:00Z", "priority": "Medium", "description": " d ", "title":"t", "x": 1 }"#);
    assert_eq!(parts(other.send().await.unwrap()).await, repeated);
    assert_eq!(total(&daemon).await, 1);
    let id = serde_json::from_str::<Value>(&first.3).unwrap()["id"]
        .as_i64()
        .unwrap();
    let (_, current) = daemon.get(&format!("/tasks/{id}")).await;
    assert_eq!(current, serde_json::from_str::<Value>(&first.3).unwrap());
    assert_eq!(daemon.delete(&format!("/tasks/{id}")).await.0, 204);
    assert_eq!(
        parts(post(&daemon, "k1", &body).send().await.unwrap()).await,
        repeated
    );
    assert_eq!(total(&daemon).await, 0);
}

/// Another body under the same key is 422; another key, or none, is another task.
#[rstest]
#[tokio::test]
async fn another_body(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let body = json!({ "title": "t" });
    assert_eq!(post(&daemon, "k", &body).await.0, 201);
    for other in [
        json!({ "title": "u" }),
        json!({ "title": "t", "description": "d" }),
        json!({ "title": "t", "priority": "Low" }),
        json!({ "title": "t", "due_date": "2031-01-02" }),
    ] {
        let (status, answer) = post(&daemon, "k", &other).await;
        assert_eq!(
            (status.as_u16(), fields(&answer)),
            (422, vec!["header.Idempotency-Key"])
        );
        assert_eq!(answer["type"], "validation_error");
        assert!(answer["detail"].is_string());
    }
    assert_eq!(total(&daemon).await, 1);
    assert_eq!(post(&daemon, "K", &body).await.0, 201);
    assert_eq!(daemon.post("/tasks/").json(&body).await.0, 201);
    assert_eq!(total(&daemon).await, 3);
}

/// A key is its user's own.
#[rstest]
#[tokio::test]
async fn users_are_apart(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let body = json!({ "title": "t" });
    let (_, mine) = post(&daemon, "k", &body).await;
    let bob = daemon
        .post("/tasks/")
        .user("bob")
        .header("Idempotency-Key", "k")
        .json(&json!({ "title": "u" }));
    let (status, theirs) = bob.await;
    assert_eq!((status.as_u16(), &theirs["user_id"]), (201, &json!("bob")));
    assert_ne!(mine["id"], theirs["id"]);
}

/// Only what was created is kept: a faulty request leaves the key free.
#[rstest]
#[tokio::test]
async fn errors_are_not_kept(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    assert_eq!(post(&daemon, "k", &json!({ "title": "" })).await.0, 422);
    assert_eq!(
        daemon
            .post("/tasks/")
            .anonymous()
            .header("Idempotency-Key", "k")
            .await
            .0,
        401
    );
    assert_eq!(post(&daemon, "k", &json!({ "title": "t" })).await.0, 201);
    assert_eq!(post(&daemon, "k", &json!({ "title": "" })).await.0, 422);
    assert_eq!(post(&daemon, "k", &json!({ "title": "t" })).await.0, 201);
    assert_eq!(total(&daemon).await, 1);
}

/// 1 to 255 visible ASCII characters, sent once; otherwise 400.
#[rstest]
#[tokio::test]
async fn malformed_keys(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let body = json!({ "title": "t" });
    for key in ["", "a b", "a\tb", "ä", &"x".repeat(256)] {
        let (status, answer) = post(&daemon, key, &body).await;
        assert_eq!(status, 400, "{key:?}");
        assert!(answer["detail"].is_string());
    }
    assert_eq!(
        post(&daemon, "a", &body)
            .header("Idempotency-Key", "b")
            .await
            .0,
        400
    );
    assert_eq!(total(&daemon).await, 0);
    for key in ["\"quoted\"", "!~", &"x".repeat(255)] {
        assert_eq!(post(&daemon, key, &body).await.0, 201, "{key:?}");
    }
    // Other routes ignore it.
    assert_eq!(
        daemon
            .get("/tasks/")
            .header("Idempotency-Key", "a b")
            .await
            .0,
        200
    );
    let bulk = daemon
        .post("/tasks/bulk-delete")
        .header("Idempotency-Key", "")
        .json(&json!({ "task_ids": [1] }));
    assert_eq!(bulk.await.0, 200);
}

/// Twins at the same time, over two daemons: one creates, the others wait and get its answer.
#[rstest]
#[tokio::test]
async fn twins(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let replica = daemon.replica().await;
    for round in 0..5 {
        let mut twins = tokio::task::JoinSet::new();
        for number in 0..8 {
            let daemon: &Daemon = if number % 2 == 0 { &daemon } else { &replica };
            let request = post(
                daemon,
                &format!("k{round}"),
                &json!({ "title": format!("t{round}") }),
            );
            twins.spawn(async move { parts(request.send().await.unwrap()).await });
        }
        let answers = twins.join_all().await;
        assert_eq!(
            answers.iter().filter(|answer| !answer.2).count(),
            1,
            "{answers:?}"
        );
        for answer in &answers {
            assert_eq!(
                (answer.0.as_u16(), &answer.1, &answer.3),
                (201, &answers[0].1, &answers[0].3)
            );
        }
        assert_eq!(total(&daemon).await, round + 1);
    }
}

/// After 24 hours a key is free again, whether or not it was pruned.
#[rstest]
#[tokio::test]
async fn expiry(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let clock = Clock::fixed(daemon.clock.now());
    let daemon = daemon.replica_at(clock.clone()).await;
    let start = clock.now();
    let (_, first) = post(&daemon, "k", &json!({ "title": "t" })).await;
    post(&daemon, "old", &json!({ "title": "t" })).await;
    clock.set(start.saturating_add(Duration::from_secs(24 * 3600 - 1)));
    assert_eq!(post(&daemon, "k", &json!({ "title": "t" })).await.1, first);
    post(&daemon, "young", &json!({ "title": "t" })).await;
    assert_eq!(daemon.store.prune_idempotency_keys().await.unwrap(), 0);
    clock.set(start.saturating_add(DAY));
    let (status, second) = post(&daemon, "k", &json!({ "title": "u" })).await;
    assert_eq!((status.as_u16(), &second["title"]), (201, &json!("u")));
    // Taken anew, so it is kept from now on.
    assert_eq!(post(&daemon, "k", &json!({ "title": "u" })).await.1, second);
    assert_eq!(daemon.store.prune_idempotency_keys().await.unwrap(), 1);
    clock.set(start.saturating_add(3 * DAY));
    assert_eq!(daemon.store.prune_idempotency_keys().await.unwrap(), 2);
    assert_eq!(daemon.store.prune_idempotency_keys().await.unwrap(), 0);
    assert_eq!(total(&daemon).await, 4);
}
