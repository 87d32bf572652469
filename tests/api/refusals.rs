//! Contract 13: what `/status` counts of refused requests.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use todoctl::config::Secret;
use todoctl::domain::UserId;
use todoctl::store::{NewSession, SessionHash};

use crate::api::daemon::{Daemon, SERVICE_TOKEN, SESSION_SECRET, claims, jwt};
use crate::support::Engine::{self, Postgres, Sqlite};

/// Each kind: reason, credentials, route and details, and how many there were.
fn refusals(status: &Value) -> Vec<(String, u64)> {
    let refusals = status["requests"]["refusals"].as_array().unwrap().iter();
    let mut all: Vec<(String, u64)> = refusals
        .map(|one| {
            let texts = ["reason", "caller", "route"].map(|name| one[name].as_str().unwrap());
            let details = one["details"].as_object().unwrap().keys();
            let details: Vec<&str> = details.map(String::as_str).collect();
            let name = format!("{} {}", texts.join(" "), details.join(","));
            (name, one["count"].as_u64().unwrap())
        })
        .collect();
    all.sort();
    all
}

/// Reasons are told apart, and nothing is kept of what clients send.
#[rstest]
#[tokio::test]
async fn refused_requests(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let get = |token: &str| daemon.get("/tasks/?search=canary").bearer(token);
    let now = daemon.clock.now();
    assert_eq!(
        get(&jwt(&claims("alice", now), "canary-secret")).await.0,
        401
    );
    let ended = NewSession {
        hash: SessionHash::new(&Secret::new(SESSION_SECRET), "todo_ended-canary"),
        user: UserId::new("alice").unwrap(),
        label: None,
        expires_at: now.saturating_add(Duration::ZERO),
    };
    daemon.store.create_session(&ended).await.unwrap();
    assert_eq!(get("todo_ended-canary").await.0, 401);
    assert_eq!(get("todo_unknown-canary").await.0, 401);
    let form = "application/x-www-form-urlencoded";
    for media_type in [form, "application/canary"] {
        let create = daemon.post("/tasks/").body("title=canary");
        let refused = create.header("Content-Type", media_type).await;
        assert_eq!(refused.0, 415);
    }
    let service = daemon
        .get("/tasks/")
        .anonymous()
        .header("X-User-ID", "canary");
    let service = service.header("X-Service-Auth", SERVICE_TOKEN);
    assert_eq!(service.await.0, 401);
    let blank = daemon.get("/tasks/").bearer(SERVICE_TOKEN);
    assert_eq!(blank.header("X-User-ID", " ").await.0, 400);
    daemon.create(json!({ "title": "canary" })).await;
    // Neither a refusal nor a write.
    assert_eq!(daemon.get("/tasks/999").await.0, 404);

    let (_, status) = daemon.get("/status").anonymous().await;
    let expected = [
        ("X-User-ID unknown /tasks/ the user id is empty or blank", 1),
        ("ended_session session  ", 1),
        (
            "media_type service /tasks/ another,application/x-www-form-urlencoded",
            2,
        ),
        ("service_auth_elsewhere service  ", 1),
        ("signature jwt  HS256", 1),
        ("unknown_own_session session  ", 1),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(refusals(&status), expected, "{status:#}");
    assert_eq!(status["requests"]["done"]["POST"], 1);
    assert!(!status.to_string().contains("canary"), "{status}");
}
