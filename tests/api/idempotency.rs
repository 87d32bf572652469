//! Contract 13: `Idempotency-Key` on `POST /tasks/`.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use todoctl::clock::Clock;

use crate::api::Fixture;
use crate::api::daemon::{Daemon, fields, send};
use crate::support::on_both_engines;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn post(daemon: &Daemon, key: &str, body: &Value) -> RequestBuilder {
    daemon
        .call(Method::POST, "/tasks/")
        .header("Idempotency-Key", key)
        .json(body)
}

async fn total(daemon: &Daemon) -> i64 {
    let (_, list) = send(daemon.call(Method::GET, "/tasks/?limit=1")).await;
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

on_both_engines! {
    /// The same request again gets the first answer again, whatever became of the task.
    async fn repeated(daemon) {
        let body = json!({ "title": "t", "description": "d", "due_date": "2031-01-02" });
        let first = parts(post(&daemon, "k1", &body).send().await.unwrap()).await;
        assert_eq!((first.0.as_u16(), first.2), (201, false));
        let repeated = (first.0, first.1.clone(), true, first.3.clone());
        assert_eq!(parts(post(&daemon, "k1", &body).send().await.unwrap()).await, repeated);
        // The same task, written differently.
        let other = daemon.call(Method::POST, "/tasks").header("Idempotency-Key", "k1").header("Content-Type", "application/json")
            .body(r#"{ "due_date": "2031-01-02T00:00:00Z", "priority": "Medium", "description": " d ", "title":"t", "x": 1 }"#);
        assert_eq!(parts(other.send().await.unwrap()).await, repeated);
        assert_eq!(total(&daemon).await, 1);
        let id = serde_json::from_str::<Value>(&first.3).unwrap()["id"].as_i64().unwrap();
        let (_, current) = send(daemon.call(Method::GET, &format!("/tasks/{id}"))).await;
        assert_eq!(current, serde_json::from_str::<Value>(&first.3).unwrap());
        assert_eq!(send(daemon.call(Method::DELETE, &format!("/tasks/{id}"))).await.0, 204);
        assert_eq!(parts(post(&daemon, "k1", &body).send().await.unwrap()).await, repeated);
        assert_eq!(total(&daemon).await, 0);
    }

    /// Another body under the same key is 422; another key, or none, is another task.
    async fn another_body(daemon) {
        let body = json!({ "title": "t" });
        assert_eq!(send(post(&daemon, "k", &body)).await.0, 201);
        for other in [
            json!({ "title": "u" }), json!({ "title": "t", "description": "d" }),
            json!({ "title": "t", "priority": "Low" }), json!({ "title": "t", "due_date": "2031-01-02" }),
        ] {
            let (status, answer) = send(post(&daemon, "k", &other)).await;
            assert_eq!((status.as_u16(), fields(&answer)), (422, vec!["header.Idempotency-Key"]));
            assert_eq!(answer["type"], "validation_error");
            assert!(answer["detail"].is_string());
        }
        assert_eq!(total(&daemon).await, 1);
        assert_eq!(send(post(&daemon, "K", &body)).await.0, 201);
        assert_eq!(send(daemon.call(Method::POST, "/tasks/").json(&body)).await.0, 201);
        assert_eq!(total(&daemon).await, 3);
    }

    /// A key is its user's own.
    async fn users_are_apart(daemon) {
        let body = json!({ "title": "t" });
        let (_, mine) = send(post(&daemon, "k", &body)).await;
        let bob = daemon.as_user("bob", Method::POST, "/tasks/").header("Idempotency-Key", "k").json(&json!({ "title": "u" }));
        let (status, theirs) = send(bob).await;
        assert_eq!((status.as_u16(), &theirs["user_id"]), (201, &json!("bob")));
        assert_ne!(mine["id"], theirs["id"]);
    }

    /// Only what was created is kept: a faulty request leaves the key free.
    async fn errors_are_not_kept(daemon) {
        assert_eq!(send(post(&daemon, "k", &json!({ "title": "" }))).await.0, 422);
        assert_eq!(send(daemon.bare(Method::POST, "/tasks/").header("Idempotency-Key", "k")).await.0, 401);
        assert_eq!(send(post(&daemon, "k", &json!({ "title": "t" }))).await.0, 201);
        assert_eq!(send(post(&daemon, "k", &json!({ "title": "" }))).await.0, 422);
        assert_eq!(send(post(&daemon, "k", &json!({ "title": "t" }))).await.0, 201);
        assert_eq!(total(&daemon).await, 1);
    }

    /// 1 to 255 visible ASCII characters, sent once; otherwise 400.
    async fn malformed_keys(daemon) {
        let body = json!({ "title": "t" });
        for key in ["", "a b", "a\tb", "ä", &"x".repeat(256)] {
            let (status, answer) = send(post(&daemon, key, &body)).await;
            assert_eq!(status, 400, "{key:?}");
            assert!(answer["detail"].is_string());
        }
        assert_eq!(send(post(&daemon, "a", &body).header("Idempotency-Key", "b")).await.0, 400);
        assert_eq!(total(&daemon).await, 0);
        for key in ["\"quoted\"", "!~", &"x".repeat(255)] {
            assert_eq!(send(post(&daemon, key, &body)).await.0, 201, "{key:?}");
        }
        // On other routes nobody looks at it.
        assert_eq!(send(daemon.call(Method::GET, "/tasks/").header("Idempotency-Key", "a b")).await.0, 200);
        let bulk = daemon.call(Method::POST, "/tasks/bulk-delete").header("Idempotency-Key", "").json(&json!({ "task_ids": [1] }));
        assert_eq!(send(bulk).await.0, 200);
    }

    /// Twins at the same time, over two daemons: one creates, the others wait and get its answer.
    async fn twins(daemon) {
        let replica = daemon.replica().await;
        for round in 0..5 {
            let mut twins = tokio::task::JoinSet::new();
            for number in 0..8 {
                let daemon: &Daemon = if number % 2 == 0 { &daemon } else { &replica };
                let request = post(daemon, &format!("k{round}"), &json!({ "title": format!("t{round}") }));
                twins.spawn(async move { parts(request.send().await.unwrap()).await });
            }
            let answers = twins.join_all().await;
            assert_eq!(answers.iter().filter(|answer| !answer.2).count(), 1, "{answers:?}");
            for answer in &answers {
                assert_eq!((answer.0.as_u16(), &answer.1, &answer.3), (201, &answers[0].1, &answers[0].3));
            }
            assert_eq!(total(&daemon).await, round + 1);
        }
    }

    /// After 24 hours a key is free again, whether or not it was pruned.
    async fn expiry(daemon) {
        let clock = Clock::fixed(daemon.clock.now());
        let daemon = daemon.replica_at(clock.clone()).await;
        let start = clock.now();
        let (_, first) = send(post(&daemon, "k", &json!({ "title": "t" }))).await;
        send(post(&daemon, "old", &json!({ "title": "t" }))).await;
        clock.set(start.saturating_add(Duration::from_secs(24 * 3600 - 1)));
        assert_eq!(send(post(&daemon, "k", &json!({ "title": "t" }))).await.1, first);
        send(post(&daemon, "young", &json!({ "title": "t" }))).await;
        assert_eq!(daemon.store.prune_idempotency_keys().await.unwrap(), 0);
        clock.set(start.saturating_add(DAY));
        let (status, second) = send(post(&daemon, "k", &json!({ "title": "u" }))).await;
        assert_eq!((status.as_u16(), &second["title"]), (201, &json!("u")));
        // Taken anew, so it is kept from now on.
        assert_eq!(send(post(&daemon, "k", &json!({ "title": "u" }))).await.1, second);
        assert_eq!(daemon.store.prune_idempotency_keys().await.unwrap(), 1);
        clock.set(start.saturating_add(3 * DAY));
        assert_eq!(daemon.store.prune_idempotency_keys().await.unwrap(), 2);
        assert_eq!(daemon.store.prune_idempotency_keys().await.unwrap(), 0);
        assert_eq!(total(&daemon).await, 4);
    }
}
