//! Contract section 1: shapes and statuses of errors, order of checks, paths.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::daemon::{Daemon, send};
use crate::on_both_engines;

/// Sends bytes as they are and reads until the daemon closes the connection.
async fn raw(daemon: &Daemon, request: &[u8]) -> String {
    let address = daemon.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(std::time::Duration::from_secs(10), reading)
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

on_both_engines! {
    /// 1.1 (c): every key of the envelope.
    async fn envelope(daemon) {
        let response = daemon.call(Method::POST, "/tasks/").json(&json!({})).send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body: Value = response.json().await.unwrap();
        let mut keys: Vec<&String> = body.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, [
            "detail", "errors", "instance", "rate_limit_info", "request_id", "retry_after", "status",
            "timestamp", "title", "type",
        ]);
        assert_eq!((&body["type"], &body["status"], &body["instance"]), (&json!("validation_error"), &json!(422), &json!("/tasks/")));
        assert!(body["detail"].is_string());
        assert!(body["timestamp"].as_str().unwrap().ends_with("+00:00"));
        assert_eq!(body["request_id"], json!(id));
        assert_eq!(body["errors"][0]["value"], json!({}));
    }

    /// 1.4: unknown paths, and `GET /`.
    async fn unknown_paths(daemon) {
        for path in ["/", "/nope", "/tasks//", "//tasks", "/TASKS/", "/api/user-api-keys/test", "/tasks/1/2"] {
            let (status, body) = send(daemon.bare(Method::GET, path)).await;
            assert_eq!(status, 404, "{path}");
            assert_eq!(body, json!({ "detail": "Not Found" }));
        }
    }

    /// 1.4, 10.31: wrong methods name all right ones; also before authentication.
    async fn wrong_methods(daemon) {
        for (method, path, allow) in [
            (Method::POST, "/tasks/1", "DELETE, GET, HEAD, PATCH, PUT"),
            (Method::DELETE, "/tasks", "GET, HEAD, POST"),
            (Method::POST, "/health", "GET, HEAD"),
            (Method::OPTIONS, "/tasks/", "GET, HEAD, POST"),
            (Method::from_bytes(b"PROPFIND").unwrap(), "/tasks/", "GET, HEAD, POST"),
        ] {
            let response = daemon.bare(method.clone(), path).send().await.unwrap();
            assert_eq!(response.status(), 405, "{method} {path}");
            assert_eq!(response.headers()["allow"], allow);
            assert_eq!(response.json::<Value>().await.unwrap(), json!({ "detail": "Method Not Allowed" }));
        }
    }

    /// 1.2, 10.33: who is not known is told so before anything else is looked at.
    async fn credentials_first(daemon) {
        for (method, path, body) in [
            (Method::POST, "/tasks/", "{broken"), (Method::GET, "/tasks/abc", ""),
            (Method::GET, "/tasks/?page=x", ""), (Method::PUT, "/tasks/1", "[]"),
        ] {
            let request = daemon.bare(method, path).header("Content-Type", "application/json").body(body);
            assert_eq!(send(request).await.0, 401, "{path}");
        }
        // Broken JSON before fields and existence.
        let broken = daemon.call(Method::PUT, "/tasks/abc").header("Content-Type", "application/json").body("{");
        assert_eq!(send(broken).await.1["errors"][0]["code"], "json_invalid");
    }

    /// 1.3, 10.6: both slash forms are served directly, whatever the Host.
    async fn slash_forms(daemon) {
        for path in ["/tasks", "/tasks/", "/tasks?limit=1", "/tasks/?limit=1"] {
            assert_eq!(send(daemon.call(Method::GET, path)).await.0, 200, "{path}");
        }
        let id = daemon.create_titled("t").await;
        for path in [format!("/tasks/{id}"), format!("/tasks/{id}/")] {
            assert_eq!(send(daemon.call(Method::GET, &path).header("Host", "evil.example")).await.0, 200);
        }
    }

    /// 13, 10.46: HEAD wherever GET is, without a body.
    async fn head(daemon) {
        let id = daemon.create_titled("t").await;
        for path in ["/tasks/".to_owned(), format!("/tasks/{id}"), "/health".to_owned(), "/docs".to_owned(), "/openapi.json".to_owned()] {
            let response = daemon.call(Method::HEAD, &path).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            assert!(response.bytes().await.unwrap().is_empty());
        }
        assert_eq!(daemon.call(Method::HEAD, "/tasks/999999").send().await.unwrap().status(), 404);
    }

    /// Bytes that are not HTTP end with a 400 and leave the daemon well.
    async fn garbage(daemon) {
        for request in [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".as_slice(),
            b"GET /tasks/ HTTP/9.9\r\n\r\n", b"\0\0\0\0\r\n\r\n",
            b"POST /tasks/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        ] {
            let answer = raw(&daemon, request).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(200_000));
        assert!(raw(&daemon, long.as_bytes()).await.starts_with("HTTP/1.1 4"));
        assert_eq!(send(daemon.bare(Method::GET, "/health")).await.0, 200);
    }

    /// A client that hangs up in the middle of its body, many times, costs nothing.
    async fn clients_that_hang_up(daemon) {
        let address = daemon.base.strip_prefix("http://").unwrap().to_owned();
        for _ in 0..100 {
            let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
            let token = crate::daemon::SERVICE_TOKEN;
            let head = format!("POST /tasks/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-User-ID: alice\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"title\"");
            stream.write_all(head.as_bytes()).await.unwrap();
            drop(stream);
            let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
            let head = format!("GET /tasks/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-User-ID: alice\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            drop(stream);
        }
        for _ in 0..20 {
            assert_eq!(send(daemon.call(Method::GET, "/tasks/")).await.1["total"], 0);
        }
    }

    /// 10.35, 10.36, 10.5: the database gone is 503 with Retry-After and no driver text; back, it works again.
    async fn database_gone(daemon) {
        if !daemon.is_postgres() {
            return;
        }
        daemon.create_titled("t").await;
        let name = daemon.postgres_url().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
        let mut admin = sqlx::PgConnection::connect(&crate::support::postgres_url()).await.unwrap();
        let allow = |yes: bool| sqlx::AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {yes}"));
        sqlx::query(allow(false)).execute(&mut admin).await.unwrap();
        sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1")
            .bind(&name).execute(&mut admin).await.unwrap();
        for request in [
            daemon.call(Method::GET, "/tasks/"),
            daemon.call(Method::POST, "/tasks/").json(&json!({ "title": "lost?" })),
        ] {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key("retry-after"));
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["type"], "service_unavailable");
            assert!(!body.to_string().contains("postgres"), "{body}");
        }
        let (status, body) = send(daemon.bare(Method::GET, "/health")).await;
        assert_eq!((status.as_u16(), &body["status"], &body["database"]), (503, &json!("unhealthy"), &json!("disconnected")));
        assert_eq!(send(daemon.bare(Method::GET, "/health/ready")).await.0, 503);
        assert_eq!(send(daemon.bare(Method::GET, "/health/live")).await.0, 200);
        sqlx::query(allow(true)).execute(&mut admin).await.unwrap();
        assert_eq!(send(daemon.call(Method::GET, "/tasks/")).await.1["total"], 1);
        assert_eq!(send(daemon.bare(Method::GET, "/health")).await.0, 200);
    }

    /// A restarted server goes unnoticed by reads: their connections are replaced.
    async fn connections_cut(daemon) {
        if !daemon.is_postgres() {
            return;
        }
        let id = daemon.create_titled("t").await;
        let mut admin = sqlx::PgConnection::connect(&crate::support::postgres_url()).await.unwrap();
        for _ in 0..5 {
            sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = $1")
                .bind(daemon.postgres_url().rsplit('/').next().unwrap().split('?').next().unwrap())
                .execute(&mut admin).await.unwrap();
            assert_eq!(send(daemon.call(Method::GET, &format!("/tasks/{id}"))).await.0, 200);
        }
    }

    /// 1.1 (c): a fault of the schema is a 500 that tells the client nothing of it.
    async fn schema_fault(daemon) {
        if !daemon.is_postgres() {
            return;
        }
        let mut admin = sqlx::PgConnection::connect(daemon.postgres_url()).await.unwrap();
        sqlx::query("ALTER TABLE tasks RENAME COLUMN title TO heading").execute(&mut admin).await.unwrap();
        let (status, body) = send(daemon.call(Method::GET, "/tasks/")).await;
        assert_eq!((status.as_u16(), &body["type"]), (500, &json!("database_error")));
        assert!(!body.to_string().contains("title\\\""), "{body}");
        sqlx::query("ALTER TABLE tasks RENAME COLUMN heading TO title").execute(&mut admin).await.unwrap();
        sqlx::query("ALTER TABLE tasks ADD CONSTRAINT none CHECK (title <> 'forbidden')").execute(&mut admin).await.unwrap();
        let (status, body) = send(daemon.call(Method::POST, "/tasks/").json(&json!({ "title": "forbidden" }))).await;
        assert_eq!((status.as_u16(), &body["type"]), (409, &json!("integrity_error")));
    }
}
