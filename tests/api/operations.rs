//! Probes, metrics, documentation, stopping; contract section 7 and 13.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use todoctl::api::route_table;

use crate::api::Fixture;
use crate::api::daemon::{JWT_SECRET, claims, jwt, send};
use crate::support::on_both_engines;

on_both_engines! {
    /// 7, 11.5: `/health` and its three keys; live and ready.
    async fn probes(daemon) {
        let (status, body) = send(daemon.bare(Method::GET, "/health")).await;
        assert_eq!(status, 200);
        assert_eq!((&body["status"], &body["database"]), (&json!("healthy"), &json!("connected")));
        assert!(body["timestamp"].as_str().unwrap().ends_with("+00:00"));
        assert_eq!(body.as_object().unwrap().len(), 3);
        assert_eq!(send(daemon.bare(Method::GET, "/health/live")).await, (reqwest::StatusCode::OK, json!({ "status": "alive" })));
        assert_eq!(send(daemon.bare(Method::GET, "/health/ready")).await, (reqwest::StatusCode::OK, json!({ "status": "ready" })));
    }

    /// 7, 10.43: metrics name routes by template, unknown methods as `other`, and authentication outcomes.
    async fn metrics(daemon) {
        let id = daemon.create_titled("t").await;
        let token = jwt(&claims("alice", daemon.clock.now()), JWT_SECRET);
        send(daemon.bare(Method::GET, &format!("/tasks/{id}")).bearer_auth(token)).await;
        send(daemon.bare(Method::GET, "/tasks/")).await;
        send(daemon.bare(Method::from_bytes(b"BREW").unwrap(), "/tasks/")).await;
        send(daemon.bare(Method::GET, "/some/path/of/an/attacker")).await;
        let response = daemon.bare(Method::GET, "/metrics").send().await.unwrap();
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
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
            "http_requests_in_flight 1", "todoctl_database_up 1", "todoctl_migrations_pending 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        for name in ["db_pool_connections{", "db_pool_acquire_seconds_bucket", "todoctl_build_info{commit=", "process_resident_memory_bytes", "process_start_time_seconds"] {
            assert!(text.contains(name), "{name}");
        }
        assert!(!text.contains("attacker"));
        assert!(!text.contains("alice"));
    }

    /// What `todoctl doctor` reads of a daemon.
    async fn status(daemon) {
        let (status, body) = send(daemon.bare(Method::GET, "/status")).await;
        assert_eq!(status, reqwest::StatusCode::OK);
        assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
        assert!(body["pools"][0]["max"].as_u64().unwrap() >= 1, "{body}");
        assert_eq!((&body["mails"], &body["last_reminder_run"]), (&json!(null), &json!(null)));
    }

    /// 7, 10.34: the documentation is a page by itself, and everything it loads is here.
    async fn documentation(daemon) {
        let page = daemon.bare(Method::GET, "/docs").send().await.unwrap();
        assert_eq!(page.status(), 200);
        assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(!policy.contains("unsafe-eval") && !policy.contains("http"), "{policy}");
        let html = page.text().await.unwrap();
        let mut loaded = 0;
        for part in html.split(['"']).filter(|part| part.starts_with('/')) {
            let asset = daemon.bare(Method::GET, part).send().await.unwrap();
            assert_eq!(asset.status(), 200, "{part}");
            assert!(!asset.bytes().await.unwrap().is_empty());
            loaded += 1;
        }
        assert_eq!(loaded, 4);
        let redoc = daemon.bare(Method::GET, "/redoc").send().await.unwrap();
        assert_eq!((redoc.status().as_u16(), redoc.headers()["location"].to_str().unwrap()), (307, "/docs"));
        assert_eq!(send(daemon.bare(Method::GET, "/docs/nope.js")).await.0, 404);
    }

    /// 7: the document lists every route of the table and nothing else, with its statuses.
    async fn openapi(daemon) {
        let (status, document) = send(daemon.bare(Method::GET, "/openapi.json")).await;
        assert_eq!(status, 200);
        assert!(document["openapi"].as_str().unwrap().starts_with("3."));
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                documented.insert((path.clone(), method.to_uppercase()));
                if path.starts_with("/tasks") {
                    for status in ["401", "422", "500", "503"] {
                        assert!(operation["responses"][status].is_object(), "{method} {path} {status}");
                    }
                }
                for (status, response) in operation["responses"].as_object().unwrap() {
                    assert!(response["headers"]["X-Request-ID"].is_object(), "{method} {path} {status}");
                    if status == "503" && !path.starts_with("/health") {
                        assert!(response["headers"]["Retry-After"].is_object(), "{method} {path}");
                    }
                }
            }
        }
        let table: BTreeSet<_> = route_table::ALL
            .iter()
            .flat_map(|route| route.methods.iter().map(|method| (route.template.to_owned(), method.to_string())))
            .collect();
        assert_eq!(documented, table);
        let references = document.to_string();
        for part in references.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name} is not defined");
        }
    }

    /// 13: the headers that a request may have, and what their answers are.
    async fn openapi_headers(daemon) {
        let (_, document) = send(daemon.bare(Method::GET, "/openapi.json")).await;
        let parameters = |path: &str, method: &str| -> BTreeSet<String> {
            document["paths"][path][method]["parameters"].as_array().unwrap().iter()
                .filter(|parameter| parameter["in"] == "header")
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                .collect()
        };
        let conditions = BTreeSet::from(["If-Match".to_owned(), "If-None-Match".to_owned()]);
        for (path, method, status) in [
            ("/tasks/", "get", "200"), ("/tasks/{task_id}", "get", "200"), ("/tasks/{task_id}", "put", "200"),
            ("/tasks/{task_id}", "patch", "200"), ("/tasks/{task_id}", "delete", "204"),
        ] {
            assert_eq!(parameters(path, method), conditions, "{method} {path}");
            let responses = &document["paths"][path][method]["responses"];
            assert!(responses["412"].is_object(), "{method} {path}");
            assert_eq!(responses["304"].is_object(), method == "get", "{method} {path}");
            assert_eq!(responses[status]["headers"]["ETag"].is_object(), status == "200", "{method} {path}");
        }
        assert_eq!(parameters("/tasks/", "post"), BTreeSet::from(["Idempotency-Key".to_owned()]));
        assert!(document["paths"]["/tasks/"]["post"]["responses"]["201"]["headers"]["ETag"].is_object());
        assert!(document["components"]["responses"]["MethodNotAllowed"]["headers"]["Allow"].is_object());
        assert_eq!(document["components"]["securitySchemes"]["user"]["name"], "X-User-ID");
        let refused = &document["paths"]["/tasks/"]["get"]["responses"]["401"];
        assert!(refused["headers"]["WWW-Authenticate"].is_object());
    }

    /// `todoctl openapi` prints what the daemon serves.
    async fn openapi_command(daemon) {
        let (_, served) = send(daemon.bare(Method::GET, "/openapi.json")).await;
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_todoctl")).arg("openapi").env_clear().output().unwrap();
        assert!(output.status.success());
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), served);
        assert!(output.stderr.is_empty());
    }

    /// A stop lets a request that was accepted end, and refuses new connections.
    async fn graceful_stop(mut_daemon) {
        let mut daemon = mut_daemon;
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(4);
        let body = reqwest::Body::wrap_stream(futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        }));
        let slow = daemon.call(Method::POST, "/tasks/").header("Content-Type", "application/json").body(body).send();
        let slow = tokio::spawn(slow);
        sender.send(Ok(b"{\"title\":".to_vec())).await.unwrap();
        // The daemon has the head when it counts the request.
        while !daemon.bare(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap().contains("http_requests_in_flight 2") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let base = daemon.base.clone();
        let store = daemon.store.clone();
        let stopping = tokio::spawn(async move { (daemon.stop().await, daemon) });
        while reqwest::get(format!("{base}/health/live")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sender.send(Ok(b" \"late\"}".to_vec())).await.unwrap();
        drop(sender);
        let answer = slow.await.unwrap().unwrap();
        assert_eq!(answer.status(), 201);
        let id = answer.json::<Value>().await.unwrap()["id"].as_i64().unwrap();
        let (drained, _daemon) = stopping.await.unwrap();
        assert!(drained);
        let user = todoctl::domain::UserId::new("alice").unwrap();
        assert!(store.task(&user, id).await.unwrap().is_some());
    }

    /// Without migrations the daemon is alive and not ready.
    async fn not_ready_without_migrations(daemon) {
        todoctl::store::migrate::down(&daemon.config.database.target, todoctl::store::migrate::Down::To(0)).await.unwrap();
        let store = todoctl::store::Store::connect(&daemon.config.database, daemon.clock.clone()).await.unwrap();
        assert!(store.migrations_pending().await.unwrap());
    }
}
