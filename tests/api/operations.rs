//! Probes, metrics, documentation, stopping; contract section 7 and 13.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use todoctl::api::endpoints;
use todoctl::store::migrate::{self, Down};
use tokio::net::TcpStream;

use crate::api::daemon::{Daemon, JWT_SECRET, claims, jwt};
use crate::api::request::Request;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::eventually;

/// 7, 11.5: `/health` and its three keys; live and ready.
#[rstest]
#[tokio::test]
async fn probes(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let (status, body) = daemon.get("/health").anonymous().await;
    assert_eq!(status, 200);
    assert_eq!(
        (&body["status"], &body["database"]),
        (&json!("healthy"), &json!("connected"))
    );
    assert!(body["timestamp"].as_str().unwrap().ends_with("+00:00"));
    assert_eq!(body.as_object().unwrap().len(), 3);
    assert_eq!(
        daemon.get("/health/live").anonymous().await,
        (reqwest::StatusCode::OK, json!({ "status": "alive" }))
    );
    assert_eq!(
        daemon.get("/health/ready").anonymous().await,
        (reqwest::StatusCode::OK, json!({ "status": "ready" }))
    );
}

/// 7, 10.43: metrics name routes by template, unknown methods as `other`, and authentication outcomes.
#[rstest]
#[tokio::test]
async fn metrics(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("t").await;
    let token = jwt(&claims("alice", daemon.clock.now()), JWT_SECRET);
    daemon.get(&format!("/tasks/{id}")).bearer(token).await;
    daemon.get("/tasks/").anonymous().await;
    daemon
        .request(Method::from_bytes(b"BREW").unwrap(), "/tasks/")
        .anonymous()
        .await;
    daemon.get("/some/path/of/an/attacker").anonymous().await;
    let response = daemon.get("/metrics").anonymous().send().await.unwrap();
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    let text = response.text().await.unwrap();
    for line in [
        r#"http_requests_total{method="POST",route="/tasks/",status="201"} 1"#,
        r#"http_requests_total{method="GET",route="/tasks/{task_id}",status="200"} 1"#,
        r#"http_requests_total{method="GET",route="/tasks/",status="401"} 1"#,
        r#"http_requests_total{method="other",route="other",status="405"} 1"#,
        r#"http_requests_total{method="GET",route="other",status="404"} 1"#,
        r#"auth_attempts_total{method="jwt",outcome="accepted"} 1"#,
        r#"auth_attempts_total{method="service",outcome="accepted"} 1"#,
        r#"auth_attempts_total{method="none",outcome="refused"} 1"#,
        r#"auth_validation_seconds_count{method="jwt"} 1"#,
        r#"http_request_duration_seconds_count{method="POST",route="/tasks/"} 1"#,
        "http_requests_in_flight 1",
        "todoctl_database_up 1",
        "todoctl_migrations_pending 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for name in [
        "db_pool_connections{",
        "db_pool_acquire_seconds_bucket",
        "db_batch_requests_bucket",
        "db_batch_fallbacks_total",
        "todoctl_build_info{commit=",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(text.contains(name), "{name}");
    }
    assert!(!text.contains("attacker"));
    assert!(!text.contains("alice"));
}

/// What `todoctl doctor` reads of a daemon.
#[rstest]
#[tokio::test]
async fn status(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let (status, body) = daemon.get("/status").anonymous().await;
    assert_eq!(status, 200);
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    assert!(body["pools"][0]["max"].as_u64().unwrap() >= 1, "{body}");
    assert_eq!(
        (&body["mails"], &body["last_reminder_run"]),
        (&json!(null), &json!(null))
    );
}

/// 7, 10.34: the documentation is a page by itself, and everything it loads is here.
#[rstest]
#[tokio::test]
async fn documentation(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let page = daemon.get("/docs").anonymous().send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(
        page.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        !policy.contains("unsafe-eval") && !policy.contains("http"),
        "{policy}"
    );
    let html = page.text().await.unwrap();
    let mut loaded = 0;
    for part in html.split(['"']).filter(|part| part.starts_with('/')) {
        let asset = daemon.get(part).anonymous().send().await.unwrap();
        assert_eq!(asset.status(), 200, "{part}");
        assert!(!asset.bytes().await.unwrap().is_empty());
        loaded += 1;
    }
    assert_eq!(loaded, 4);
    let redoc = daemon.get("/redoc").anonymous().send().await.unwrap();
    assert_eq!(
        (
            redoc.status().as_u16(),
            redoc.headers()["location"].to_str().unwrap()
        ),
        (307, "/docs")
    );
    assert_eq!(daemon.get("/docs/nope.js").anonymous().await.0, 404);
}

/// 7: the document lists every route of the table and nothing else, with its statuses.
#[rstest]
#[tokio::test]
async fn openapi(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let (status, document) = daemon.get("/openapi.json").anonymous().await;
    assert_eq!(status, 200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            documented.insert((path.clone(), method.to_uppercase()));
            if path.starts_with("/tasks") {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let mut places = parameters.map(|one| one["in"].as_str().unwrap());
                let is_validated = operation["requestBody"].is_object()
                    || places.any(|place| ["path", "query"].contains(&place));
                let invalid = is_validated.then_some("422");
                for status in ["401", "500", "503"].into_iter().chain(invalid) {
                    assert!(
                        operation["responses"][status].is_object(),
                        "{method} {path} {status}"
                    );
                }
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["headers"]["X-Request-ID"].is_object(),
                    "{method} {path} {status}"
                );
                if status == "503" && !path.starts_with("/health") {
                    assert!(
                        response["headers"]["Retry-After"].is_object(),
                        "{method} {path}"
                    );
                }
            }
        }
    }
    let table: BTreeSet<_> = endpoints()
        .map(|(method, path)| (path.to_owned(), method.to_string()))
        .collect();
    assert_eq!(documented, table);
    let references = document.to_string();
    for part in references.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name} is not defined"
        );
    }
}

/// 13: the headers that a request may have, and what their answers are.
#[rstest]
#[tokio::test]
async fn openapi_headers(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let (_, document) = daemon.get("/openapi.json").anonymous().await;
    let parameters = |path: &str, method: &str| -> BTreeSet<String> {
        document["paths"][path][method]["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "header")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let conditions = BTreeSet::from(["If-Match".to_owned(), "If-None-Match".to_owned()]);
    for (path, method, status) in [
        ("/tasks/", "get", "200"),
        ("/tasks/{task_id}", "get", "200"),
        ("/tasks/{task_id}", "put", "200"),
        ("/tasks/{task_id}", "patch", "200"),
        ("/tasks/{task_id}", "delete", "204"),
    ] {
        assert_eq!(parameters(path, method), conditions, "{method} {path}");
        let responses = &document["paths"][path][method]["responses"];
        assert!(responses["412"].is_object(), "{method} {path}");
        assert_eq!(
            responses["304"].is_object(),
            method == "get",
            "{method} {path}"
        );
        assert_eq!(
            responses[status]["headers"]["ETag"].is_object(),
            status == "200",
            "{method} {path}"
        );
    }
    assert_eq!(
        parameters("/tasks/", "post"),
        BTreeSet::from(["Idempotency-Key".to_owned()])
    );
    assert!(
        document["paths"]["/tasks/"]["post"]["responses"]["201"]["headers"]["ETag"].is_object()
    );
    assert!(
        document["components"]["responses"]["MethodNotAllowed"]["headers"]["Allow"].is_object()
    );
    assert_eq!(
        document["components"]["securitySchemes"]["user"]["name"],
        "X-User-ID"
    );
    let refused = &document["paths"]["/tasks/"]["get"]["responses"]["401"];
    assert!(refused["headers"]["WWW-Authenticate"].is_object());
}

/// `todoctl openapi` prints what the daemon serves.
#[rstest]
#[tokio::test]
async fn openapi_command(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let (_, served) = daemon.get("/openapi.json").anonymous().await;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_todoctl"))
        .arg("openapi")
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap(),
        served
    );
    assert!(output.stderr.is_empty());
}

/// A stop lets a request that was accepted end, and refuses new connections.
#[rstest]
#[tokio::test]
async fn graceful_stop(#[values(Sqlite, Postgres)] engine: Engine) {
    let mut daemon = Daemon::start(engine).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(4);
    let body = reqwest::Body::wrap_stream(futures_util::stream::unfold(
        receiver,
        |mut receiver| async { receiver.recv().await.map(|chunk| (chunk, receiver)) },
    ));
    let slow = daemon.post("/tasks/").raw_json(body).send();
    let slow = tokio::spawn(slow);
    sender.send(Ok(b"{\"title\":".to_vec())).await.unwrap();
    eventually(
        "the daemon counts the request, whose head it has",
        async || daemon.metric("http_requests_in_flight").await == 2,
    )
    .await;
    let base = daemon.base.clone();
    let store = daemon.store.clone();
    let stopping = tokio::spawn(async move { (daemon.stop().await, daemon) });
    eventually("the daemon takes no connections", async || {
        TcpStream::connect(base.trim_start_matches("http://"))
            .await
            .is_err()
    })
    .await;
    sender.send(Ok(b" \"late\"}".to_vec())).await.unwrap();
    drop(sender);
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(answer.status(), 201);
    let id = answer.json::<Value>().await.unwrap()["id"]
        .as_i64()
        .unwrap();
    let (drained, _daemon) = stopping.await.unwrap();
    assert!(drained);
    let user = todoctl::domain::UserId::new("alice").unwrap();
    assert!(store.task(&user, id).await.unwrap().is_some());
}

/// Without migrations the daemon is alive and not ready, and contract 10.36: requests may be
/// repeated later. When all migrations are applied, what is missing is a defect.
#[rstest]
#[tokio::test]
async fn not_ready_without_migrations(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let status = async |request: Request| {
        let response = request.send().await.unwrap();
        let may_be_repeated = response.headers().contains_key("retry-after");
        (response.status().as_u16(), may_be_repeated)
    };
    let create = || daemon.post("/tasks/").json(&json!({ "title": "t" }));
    let rename = |from: &str, to: &str| format!("ALTER TABLE tasks RENAME {from} TO {to}");
    daemon
        .database
        .execute(&rename("priority", "urgency"))
        .await;
    assert_eq!(status(create()).await, (500, false));
    daemon
        .database
        .execute(&rename("urgency", "priority"))
        .await;
    let target = &daemon.config.database.target;
    migrate::down(target, Down::To(6)).await.unwrap();
    for request in [
        create(),
        create().header("Idempotency-Key", "k"),
        daemon.get("/tasks/?search=t"),
    ] {
        assert_eq!(status(request).await, (503, true));
    }
    migrate::down(target, Down::To(0)).await.unwrap();
    for request in [
        daemon.get("/tasks/"),
        daemon.get("/notifications/"),
        daemon.get("/tasks/").bearer("a-session-token"),
        daemon
            .post("/tasks/bulk-delete")
            .json(&json!({ "task_ids": [1] })),
    ] {
        assert_eq!(status(request).await, (503, true));
    }
    let unready = (
        StatusCode::SERVICE_UNAVAILABLE,
        json!({ "status": "migrations" }),
    );
    assert_eq!(daemon.get("/health/ready").anonymous().await, unready);
    assert_eq!(daemon.get("/health/live").anonymous().await.0, 200);
}
