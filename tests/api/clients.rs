//! Contract 11: each existing client's own requests, as it sends them.

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::daemon::{Daemon, SERVICE_TOKEN};
use crate::api::request::Request;
use crate::support::Engine::{self, Postgres, Sqlite};

/// What the tool server relies on: nine keys of these types.
fn is_task(task: &Value) {
    let object = task.as_object().unwrap();
    assert_eq!(object.len(), 9, "{task}");
    assert!(task["id"].is_i64() && task["user_id"] == "usr_1" && task["completed"].is_boolean());
    assert!(["Low", "Medium", "High", "Urgent"].contains(&task["priority"].as_str().unwrap()));
    assert!(task["title"].as_str().unwrap().chars().count() <= 200);
    for time in ["created_at", "updated_at"] {
        assert!(task[time].as_str().unwrap().ends_with('Z'), "{task}");
    }
}

/// The headers that the tool server sends with everything, bodies or not.
fn by_tool(request: Request) -> Request {
    request
        .bearer(SERVICE_TOKEN)
        .header("X-User-ID", "usr_1")
        .header("Content-Type", "application/json")
        .header("Accept-Encoding", "gzip, deflate")
}

/// Contract 11.1: exact codes, `tasks`, nine keys, an object with `detail` on 422.
#[rstest]
#[tokio::test]
async fn tool_server(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let request = |method, path: &str| by_tool(daemon.request(method, path).anonymous());
    let (status, task) = request(Method::POST, "/tasks/").body(
        json!({ "title": "Pay rent", "description": null, "priority": "High", "due_date": "2031-12-22T00:00:00" }).to_string(),
    ).await;
    assert_eq!(status, 201);
    is_task(&task);
    assert_eq!(task["due_date"], "2031-12-22T00:00:00Z");
    let path = format!("/tasks/{}", task["id"]);

    let (status, list) = request(Method::GET, "/tasks/").await;
    assert_eq!((status.as_u16(), &list["limit"]), (200, &json!(1000)));
    is_task(&list["tasks"][0]);

    let body = json!({ "due_date": "2031-12-22T05:00:00+05:00" }).to_string();
    let (status, task) = request(Method::PUT, &path).body(body).await;
    assert_eq!(status, 200);
    is_task(&task);
    assert_eq!(task["due_date"], "2031-12-22T00:00:00Z");

    let (status, task) = request(Method::PATCH, &path)
        .body(r#"{"completed": true}"#)
        .await;
    assert_eq!((status.as_u16(), &task["completed"]), (200, &json!(true)));

    let (status, wrong) = request(Method::POST, "/tasks/")
        .body(r#"{"title": " "}"#)
        .await;
    assert_eq!(status, 422);
    assert!(wrong["detail"].is_string());

    assert_eq!(request(Method::DELETE, &path).await.0, 204);
    assert_eq!(request(Method::DELETE, &path).await.0, 404);
}

/// Contract 11.2: no key is 200 and not configured; a wrong token is a JSON 401 with `detail`.
#[rstest]
#[tokio::test]
async fn agent_service(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let request = |token: &str| {
        daemon
            .get("/api/user-api-keys/current")
            .anonymous()
            .header("X-User-ID", "usr_1")
            .header("X-Service-Auth", token)
    };
    let (status, key) = request(SERVICE_TOKEN).await;
    assert_eq!(status, 200);
    assert_eq!(key["configured"], false);
    for name in [
        "provider",
        "plaintext_key",
        "validation_status",
        "last_validated_at",
    ] {
        assert!(key[name].is_null() && key.get(name).is_some(), "{name}");
    }
    let (status, refused) = request("wrong").await;
    assert_eq!(status, 401);
    assert!(refused["detail"].is_string());
}

/// Contract 11.3: paths without a slash, foreign headers, an opaque token without an auth server.
#[rstest]
#[tokio::test]
async fn browser_app(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let request = |method, path: &str| {
        daemon
            .request(method, path)
            .bearer(daemon.jwt("usr_1"))
            .header("Origin", "https://elsewhere.example.com")
            .header("Cookie", "better-auth.session_token=opaque")
    };
    let body = json!({ "title": "Pay rent", "description": "", "priority": "Low", "due_date": "2031-01-31T10:00:00.000Z" });
    let (status, task) = request(Method::POST, "/tasks").json(&body).await;
    assert_eq!(status, 201);
    is_task(&task);
    assert_eq!(
        (&task["description"], &task["due_date"]),
        (&Value::Null, &json!("2031-01-31T10:00:00Z"))
    );
    let path = format!("/tasks/{}", task["id"]);

    let (status, list) = request(
        Method::GET,
        "/tasks?search=rent&completed=false&page=1&limit=20",
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(
        (&list["total"], &list["pages"], &list["tasks"][0]["id"]),
        (&json!(1), &json!(1), &task["id"])
    );

    let (status, task) = request(Method::PUT, &path)
        .json(&json!({ "description": "", "due_date": null }))
        .await;
    assert_eq!((status.as_u16(), &task["due_date"]), (200, &Value::Null));
    assert_eq!(
        request(Method::PATCH, &path)
            .json(&json!({ "completed": true }))
            .await
            .0,
        200
    );

    let (status, told) = request(Method::GET, "/notifications").await;
    assert_eq!(
        (status.as_u16(), told),
        (200, json!({ "notifications": [], "unread_count": 0 }))
    );
    assert_eq!(
        request(Method::POST, "/notifications/read-all")
            .json(&json!({}))
            .await
            .0,
        204
    );
    assert_eq!(
        request(Method::PATCH, "/notifications/1/read")
            .json(&json!({}))
            .await
            .0,
        404
    );

    let gone = request(Method::DELETE, &path).header("Content-Type", "application/json");
    assert_eq!(gone.await.0, 204);

    let opaque = daemon.get("/tasks").bearer("opaque");
    let (status, refused) = opaque.await;
    assert_eq!(
        (status.as_u16(), &refused["detail"]["error_code"]),
        (401, &json!("invalid_token"))
    );
}
