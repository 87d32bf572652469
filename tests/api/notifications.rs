//! Contract section 4.

use std::time::Duration;

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use todoctl::domain::NotificationKind;
use todoctl::store::ReminderWindow;

use crate::api::daemon::{Daemon, JWT_SECRET, claims, fields, jwt};
use crate::support::Engine::{self, Postgres, Sqlite};

/// Creates an overdue task for `user` and its notification; returns the task's id.
async fn notified(daemon: &Daemon, user: &str, title: &str) -> i64 {
    let (status, task) = daemon
        .post("/tasks/")
        .user(user)
        .json(&json!({ "title": title, "due_date": "2001-01-01" }))
        .await;
    assert_eq!(status, 201);
    let id = task["id"].as_i64().unwrap();
    let now = daemon.clock.now();
    let window = ReminderWindow {
        now,
        soon: now.saturating_add(Duration::from_secs(86_400)),
        today: todoctl::domain::Timestamp::start_of_day(now.to_datetime().date_naive()).unwrap(),
    };
    let made = daemon
        .store
        .remind(NotificationKind::Overdue, &window, &[id], None)
        .await
        .unwrap();
    assert_eq!(made.notifications, 1);
    id
}

async fn list(daemon: &Daemon, user: &str) -> (Vec<Value>, i64) {
    let (status, body) = daemon.get("/notifications/").user(user).await;
    assert_eq!(status, 200);
    assert_eq!(body.as_object().unwrap().len(), 2);
    (
        body["notifications"].as_array().unwrap().clone(),
        body["unread_count"].as_i64().unwrap(),
    )
}

/// 4: the object's eight keys, the empty list, newest first.
#[rstest]
#[tokio::test]
async fn listing(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    assert_eq!(list(&daemon, "alice").await, (Vec::new(), 0));
    let first = notified(&daemon, "alice", "Pay rent").await;
    let second = notified(&daemon, "alice", "with \"quotes\"").await;
    notified(&daemon, "bob", "not hers").await;
    let (found, unread) = list(&daemon, "alice").await;
    assert_eq!(unread, 2);
    let tasks: Vec<_> = found
        .iter()
        .map(|one| one["task_id"].as_i64().unwrap())
        .collect();
    assert_eq!(tasks, [second, first]);
    let one = found[1].as_object().unwrap();
    let mut keys: Vec<_> = one.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "created_at",
            "id",
            "is_read",
            "message",
            "sent_email",
            "task_id",
            "type",
            "user_id"
        ]
    );
    assert_eq!(one["message"], "\"Pay rent\" is overdue");
    assert_eq!(
        (&one["type"], &one["user_id"]),
        (&json!("overdue"), &json!("alice"))
    );
    assert_eq!(
        (&one["is_read"], &one["sent_email"]),
        (&json!(false), &json!(false))
    );
    assert!(one["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(found[0]["message"], "\"with \"quotes\"\" is overdue");
}

/// 4: one without a task; equal times are ordered by id; there are no paging parameters.
#[rstest]
#[tokio::test]
async fn rows_of_others(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let time = if daemon.is_postgres() {
        "'2026-01-02T03:04:05Z'"
    } else {
        "1767323045000000"
    };
    for _ in 0..3 {
        daemon.database.execute(&format!(
            "INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at)
             VALUES ('alice', NULL, 'due_soon', 'm', FALSE, FALSE, {time})"
        )).await;
    }
    let (found, unread) = list(&daemon, "alice").await;
    let ids: Vec<i64> = found
        .iter()
        .map(|one| one["id"].as_i64().unwrap())
        .collect();
    assert!(
        ids.len() == 3 && ids.is_sorted_by(|one, next| one > next),
        "{ids:?}"
    );
    assert_eq!(
        (unread, &found[0]["task_id"], &found[0]["created_at"]),
        (3, &Value::Null, &json!("2026-01-02T03:04:05Z"))
    );
    let (status, paged) = daemon
        .get("/notifications/?page=2&limit=1&offset=x&x=1")
        .await;
    assert_eq!(
        (status.as_u16(), &paged["notifications"]),
        (200, &json!(found))
    );
    let (status, read) = daemon
        .patch(&format!("/notifications/{}/read", ids[0]))
        .await;
    assert_eq!(
        (status.as_u16(), &read["is_read"], &read["task_id"]),
        (200, &json!(true), &Value::Null)
    );
}

/// 4, 10.25: fifty are listed, all unread ones are counted, however they come and go.
#[rstest]
#[tokio::test]
async fn counting(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let mut tasks = Vec::new();
    for number in 0..53 {
        tasks.push(notified(&daemon, "alice", &format!("t{number}")).await);
    }
    let (found, unread) = list(&daemon, "alice").await;
    assert_eq!((found.len(), unread), (50, 53));
    assert_eq!(found[0]["task_id"], json!(tasks[52]));

    let (status, _) = daemon
        .patch(&format!("/notifications/{}/read", found[0]["id"]))
        .await;
    assert_eq!(status, 200);
    assert_eq!(list(&daemon, "alice").await.1, 52);

    // 3.9: a task takes its notifications with it, read and unread ones.
    for task in [tasks[52], tasks[51]] {
        assert_eq!(daemon.delete(&format!("/tasks/{task}")).await.0, 204);
    }
    assert_eq!(list(&daemon, "alice").await.1, 51);
    daemon
        .post("/tasks/bulk-delete")
        .json(&json!({ "task_ids": tasks[..10] }))
        .await;
    let (found, unread) = list(&daemon, "alice").await;
    assert_eq!((found.len(), unread), (41, 41));
}

/// 4: reading one, again, in both slash forms, whatever the body is.
#[rstest]
#[tokio::test]
async fn reading_one(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    notified(&daemon, "alice", "t").await;
    let before = list(&daemon, "alice").await.0.remove(0);
    let path = format!("/notifications/{}/read", before["id"]);
    let mut expected = before.clone();
    expected["is_read"] = json!(true);
    for request in [
        daemon.patch(&path).json(&json!({})),
        daemon.patch(&path),
        daemon
            .patch(&format!("{path}/"))
            .body("garbage")
            .header("Content-Type", "application/json"),
        daemon
            .patch(&path)
            .body(vec![0xff; 100])
            .header("Content-Type", "image/png"),
    ] {
        let (status, body) = request.await;
        assert_eq!((status.as_u16(), &body), (200, &expected));
    }
    assert_eq!(list(&daemon, "alice").await, (vec![expected], 0));
}

/// 4, 10.12: foreign, unknown and impossible ids.
#[rstest]
#[tokio::test]
async fn not_found(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    notified(&daemon, "bob", "his").await;
    let his = list(&daemon, "bob").await.0[0]["id"].clone();
    for id in [
        his.to_string(),
        "999999".to_owned(),
        "0".to_owned(),
        "-1".to_owned(),
        "99999999999999999999".to_owned(),
    ] {
        let (status, body) = daemon.patch(&format!("/notifications/{id}/read")).await;
        assert_eq!(status, 404, "{id}");
        assert!(body["detail"].is_string());
    }
    assert_eq!(list(&daemon, "bob").await.1, 1);
    for id in ["x", "1.5", "%20"] {
        let (status, body) = daemon.patch(&format!("/notifications/{id}/read")).await;
        assert_eq!(status, 422, "{id}");
        assert_eq!(fields(&body), ["path.notification_id"]);
    }
}

/// 4: reading all of one's own.
#[rstest]
#[tokio::test]
async fn reading_all(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for title in ["a", "b", "c"] {
        notified(&daemon, "alice", title).await;
    }
    notified(&daemon, "bob", "his").await;
    for request in [
        daemon.post("/notifications/read-all").json(&json!({})),
        daemon.post("/notifications/read-all/").body("{garbage"),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 204);
        assert!(response.bytes().await.unwrap().is_empty());
    }
    let (found, unread) = list(&daemon, "alice").await;
    assert_eq!(unread, 0);
    assert!(found.iter().all(|one| one["is_read"] == true));
    assert_eq!(list(&daemon, "bob").await.1, 1);
}

/// 2.4, 1.2, 1.4: credentials come first, a JWT is as good; wrong methods; 10.20: headers.
#[rstest]
#[tokio::test]
async fn callers_and_methods(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for (method, path) in [
        (Method::GET, "/notifications/"),
        (Method::PATCH, "/notifications/x/read"),
        (Method::POST, "/notifications/read-all"),
    ] {
        let response = daemon
            .request(method, path)
            .anonymous()
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(response.headers()["x-frame-options"], "DENY");
    }
    notified(&daemon, "alice", "t").await;
    let token = jwt(&claims("alice", daemon.clock.now()), JWT_SECRET);
    let (status, body) = daemon.get("/notifications").bearer(token).await;
    assert_eq!((status.as_u16(), &body["unread_count"]), (200, &json!(1)));
    for (method, path, allow) in [
        (Method::POST, "/notifications/", "GET, HEAD"),
        (Method::GET, "/notifications/1/read", "PATCH"),
        (Method::GET, "/notifications/read-all", "POST"),
    ] {
        let response = daemon.request(method, path).send().await.unwrap();
        assert_eq!(
            (
                response.status().as_u16(),
                response.headers()["allow"].to_str().unwrap()
            ),
            (405, allow),
            "{path}"
        );
    }
    assert_eq!(daemon.get("/notifications/1").await.0, 404);
    let head = daemon
        .request(Method::HEAD, "/notifications/")
        .send()
        .await
        .unwrap();
    assert_eq!(head.status(), 200);
}
