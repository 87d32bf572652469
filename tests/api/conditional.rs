//! Contract 13: entity tags, `If-None-Match`, `If-Match`.

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::daemon::{Daemon, ORIGIN};
use crate::api::request::Request;
use crate::support::Engine::{self, Postgres, Sqlite};

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// Sends, and returns status, tag and body.
async fn tagged(request: Request) -> (StatusCode, String, Vec<u8>) {
    let response = request.send().await.unwrap();
    let tag = header(&response, "etag").to_owned();
    (
        response.status(),
        tag,
        response.bytes().await.unwrap().to_vec(),
    )
}

async fn status(request: Request) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

fn path(id: i64) -> String {
    format!("/tasks/{id}")
}

/// The tag is strong, and the same for the same bytes in answers to POST, GET, PUT and PATCH.
#[rstest]
#[tokio::test]
async fn tags(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let create = daemon.post("/tasks/").json(&json!({ "title": "t" }));
    let (created, tag, body) = tagged(create).await;
    assert_eq!(created, 201);
    let id = serde_json::from_slice::<Value>(&body).unwrap()["id"]
        .as_i64()
        .unwrap();
    assert!(
        tag.len() == 34 && tag.starts_with('"') && tag.ends_with('"'),
        "{tag}"
    );
    let get = || daemon.get(&path(id));
    assert_eq!(tagged(get()).await, (StatusCode::OK, tag.clone(), body));
    let head = daemon
        .request(Method::HEAD, &path(id))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (head.status().as_u16(), header(&head, "etag")),
        (200, tag.as_str())
    );
    for request in [
        daemon.put(&path(id)).json(&json!({ "title": "u" })),
        daemon.patch(&path(id)).json(&json!({ "completed": true })),
        daemon.put(&path(id)).json(&json!({})),
    ] {
        let changed = tagged(request).await;
        assert_ne!(changed.1, tag);
        assert_eq!(tagged(get()).await, changed);
    }
}

/// `Cache-Control` and `Vary`.
#[rstest]
#[tokio::test]
async fn caching_headers(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("t").await;
    for request in [
        daemon.get(&path(id)),
        daemon.get("/tasks/"),
        daemon.get("/tasks/?cursor="),
        daemon.post("/tasks/").json(&json!({ "title": "t" })),
        daemon.put(&path(id)).json(&json!({ "title": "u" })),
        daemon.patch(&path(id)).json(&json!({ "completed": true })),
    ] {
        let response = request.header("Origin", ORIGIN).send().await.unwrap();
        assert!(response.status().is_success());
        assert_eq!(header(&response, "cache-control"), "private, no-cache");
        assert_eq!(
            header(&response, "vary"),
            "Authorization, X-User-ID, Origin"
        );
        assert_eq!(response.headers().get_all("vary").iter().count(), 1);
        assert!(!header(&response, "etag").is_empty());
    }
    let error = daemon.get("/tasks/").anonymous().send().await.unwrap();
    assert_eq!(
        (header(&error, "vary"), header(&error, "etag")),
        ("Origin", "")
    );
}

/// `If-None-Match` on GET and HEAD: 304 without a body; weak comparison, lists, `*`.
#[rstest]
#[tokio::test]
async fn if_none_match(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("t").await;
    for path in [
        path(id),
        "/tasks/".to_owned(),
        "/tasks/?cursor=&limit=5".to_owned(),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let ask = |value: &str| {
                daemon
                    .request(method.clone(), &path)
                    .header("If-None-Match", value)
            };
            let (_, tag, _) = tagged(daemon.get(&path)).await;
            for value in [
                tag.clone(),
                format!("W/{tag}"),
                "*".to_owned(),
                format!("\"x\", W/\"y, z\",{tag}"),
            ] {
                let response = ask(&value).send().await.unwrap();
                assert_eq!(response.status(), 304, "{value}");
                assert_eq!(header(&response, "etag"), tag);
                assert_eq!(header(&response, "cache-control"), "private, no-cache");
                assert!(header(&response, "vary").starts_with("Authorization"));
                assert_eq!(header(&response, "content-type"), "");
                assert!(response.bytes().await.unwrap().is_empty());
            }
            for value in ["\"x\"", "x", tag.trim_matches('"'), ""] {
                assert_eq!(status(ask(value)).await, 200, "{value}");
            }
        }
    }
    // 404 and 422 have no tag.
    assert_eq!(
        status(daemon.get("/tasks/999999").header("If-None-Match", "*")).await,
        404
    );
    assert_eq!(
        status(daemon.get("/tasks/x").header("If-None-Match", "*")).await,
        422
    );
    assert_eq!(
        status(
            daemon
                .get(&path(id))
                .anonymous()
                .header("If-None-Match", "*")
        )
        .await,
        401
    );
    // After a change the same request gets the new task.
    let (_, tag, _) = tagged(daemon.get("/tasks/")).await;
    daemon
        .patch(&path(id))
        .json(&json!({ "completed": true }))
        .await;
    assert_eq!(
        status(daemon.get("/tasks/").header("If-None-Match", &tag)).await,
        200
    );
}

/// `If-Match` on PUT, PATCH and DELETE: strong comparison, lists, `*`; otherwise 412 and no change.
#[rstest]
#[tokio::test]
async fn if_match(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("t").await;
    let (_, tag, body) = tagged(daemon.get(&path(id))).await;
    let requests = |value: &str| {
        [
            daemon.put(&path(id)).json(&json!({ "title": "u" })),
            daemon.put(&path(id)).json(&json!({})),
            daemon.patch(&path(id)).json(&json!({ "completed": true })),
            daemon.delete(&path(id)),
        ]
        .map(|request| request.header("If-Match", value))
    };
    for value in [
        "\"x\"".to_owned(),
        format!("W/{tag}"),
        "x".to_owned(),
        String::new(),
        format!("\"x\", W/{tag}"),
    ] {
        for request in requests(&value) {
            let (status, answer) = request.await;
            assert_eq!(status, 412, "{value}");
            assert!(answer["detail"].is_string());
        }
    }
    // RFC 9110, 13.1.2: changes may have this condition too.
    for request in requests("*") {
        assert_eq!(status(request.header("If-None-Match", "*")).await, 412);
    }
    assert_eq!(tagged(daemon.get(&path(id))).await.2, body);
    // RFC 9110, 13.1.1: it applies to GET as well.
    assert_eq!(
        status(daemon.get(&path(id)).header("If-Match", "\"x\"")).await,
        412
    );
    assert_eq!(
        status(daemon.get(&path(id)).header("If-Match", &tag)).await,
        200
    );

    let put = daemon.put(&path(id)).json(&json!({ "title": "u" }));
    let (changed, second, body) = tagged(put.header("If-Match", format!("\"x\", {tag}"))).await;
    assert_eq!(
        (
            changed.as_u16(),
            serde_json::from_slice::<Value>(&body).unwrap()["title"].as_str()
        ),
        (200, Some("u"))
    );
    // The same tag again is out of date.
    let put = daemon.put(&path(id)).json(&json!({ "title": "v" }));
    assert_eq!(status(put.header("If-Match", &tag)).await, 412);
    // Nothing to change, nothing changed.
    let put = daemon.put(&path(id)).json(&json!({}));
    assert_eq!(
        tagged(put.header("If-Match", &second)).await,
        (StatusCode::OK, second.clone(), body)
    );
    let patch = daemon.patch(&path(id)).json(&json!({ "completed": true }));
    let (_, third, _) = tagged(patch.header("If-Match", "*")).await;
    assert_ne!(third, second);
    assert_eq!(
        status(daemon.delete(&path(id)).header("If-Match", &third)).await,
        204
    );
    assert_eq!(status(daemon.get(&path(id))).await, 404);
}

/// 1.2: 422 for an invalid request and 404 for a missing task come before 412.
#[rstest]
#[tokio::test]
async fn order_of_checks(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("t").await;
    for missing in [
        "/tasks/999999".to_owned(),
        "/tasks/0".to_owned(),
        "/tasks/99999999999999999999".to_owned(),
    ] {
        for value in ["*", "\"x\""] {
            let put = daemon.put(&missing).json(&json!({ "title": "u" }));
            assert_eq!(status(put.header("If-Match", value)).await, 404);
            assert_eq!(
                status(daemon.delete(&missing).header("If-Match", value)).await,
                404
            );
        }
    }
    // Another user's task is 404.
    let foreign = daemon.delete(&path(id)).user("bob").header("If-Match", "*");
    assert_eq!(status(foreign).await, 404);
    let put = daemon.put(&path(id)).json(&json!({ "title": "" }));
    assert_eq!(status(put.header("If-Match", "\"x\"")).await, 422);
    assert_eq!(
        status(
            daemon
                .delete(&path(id))
                .anonymous()
                .header("If-Match", "\"x\"")
        )
        .await,
        401
    );
}

/// Of many concurrent changes of one version, over two daemons, one succeeds.
#[rstest]
#[tokio::test]
async fn no_update_is_lost(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let replica = daemon.replica().await;
    let id = daemon.create_titled("t").await;
    for round in 0..5 {
        let (_, tag, _) = tagged(daemon.get(&path(id))).await;
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..10 {
            let daemon: &Daemon = if number % 2 == 0 { &daemon } else { &replica };
            let title = format!("by {number} in {round}");
            let request = daemon
                .put(&path(id))
                .json(&json!({ "title": title }))
                .header("If-Match", &tag);
            writers.spawn(async move { (request.await, title) });
        }
        let mut winner = Vec::new();
        while let Some(done) = writers.join_next().await {
            let ((status, body), title) = done.unwrap();
            if status == 200 {
                assert_eq!(body["title"], title.as_str());
                winner.push(title);
            } else {
                assert_eq!(status, 412, "{body}");
            }
        }
        assert_eq!(winner.len(), 1);
        let (_, now) = daemon.get(&path(id)).await;
        assert_eq!(now["title"], winner[0].as_str());
    }
}
