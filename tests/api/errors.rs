//! Contract section 1: shapes and statuses of errors, order of checks, paths.

use reqwest::{Method, Response};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use todoctl::api::endpoints;

use crate::api::daemon::{Daemon, JWT_SECRET, claims, fields, jwt};
use crate::api::headers::secured;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::{Database, on_server};

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

/// Checks an answer of the shape (c) on `/tasks/`, and returns its body.
async fn enveloped(response: Response, status: u16, kind: &str) -> Value {
    assert_eq!(response.status(), status);
    secured(&response);
    let id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let body: Value = response.json().await.unwrap();
    let mut keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "detail",
            "errors",
            "instance",
            "rate_limit_info",
            "request_id",
            "retry_after",
            "status",
            "timestamp",
            "title",
            "type",
        ]
    );
    assert_eq!(
        (&body["type"], &body["status"], &body["instance"]),
        (&json!(kind), &json!(status), &json!("/tasks/"))
    );
    assert!(body["detail"].is_string() && body["title"].is_string());
    assert!(body["timestamp"].as_str().unwrap().ends_with("+00:00"));
    assert_eq!(body["request_id"], json!(id));
    assert_eq!(body["errors"].is_null(), status != 422, "{body}");
    body
}

/// Each endpoint's method and path, with the variable segments filled in.
fn routes(task: i64) -> Vec<(Method, String)> {
    let fill = |path: &str| {
        path.replace("{task_id}", &task.to_string())
            .replace("{notification_id}", "1")
            .replace("{asset}", "start.js")
    };
    endpoints()
        .map(|(method, path)| (method.clone(), fill(path)))
        .collect()
}

/// Sends bytes over a connection that stays open; the head of the answer, its body read too.
async fn exchange(stream: &mut tokio::net::TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.split('\r').next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    head
}

/// 10.20: after a fault, and after a body that nobody wants, a connection is good.
#[rstest]
#[tokio::test]
async fn connections_after_faults(#[values(Sqlite, Postgres)] engine: Engine) {
    const NEXT: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let daemon = Daemon::start(engine).await;
    let address = daemon.base.strip_prefix("http://").unwrap();
    let token = jwt(&claims("alice", daemon.clock.now()), JWT_SECRET);
    daemon.database.execute("DROP TABLE user_api_keys").await;
    let fault = format!(
        "GET /api/user-api-keys/current HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let mut unread = b"POST /tasks/ HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n".to_vec();
    unread.resize(unread.len() + 900_000, b' ');
    for (request, status) in [
        (fault.as_bytes(), "http/1.1 500 "),
        (&unread, "http/1.1 401 "),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = exchange(&mut stream, request).await;
        assert!(head.starts_with(status), "{head}");
        assert!(
            exchange(&mut stream, NEXT)
                .await
                .starts_with("http/1.1 200 "),
            "{head}"
        );
    }
}

/// 1.4: what the HTTP parser refuses has a status and nothing else, and ends the connection.
#[rstest]
#[tokio::test]
async fn heads_that_cannot_be_read(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let many = "X-Header: 1\r\n".repeat(101);
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000));
    for (request, statuses) in [
        ("hello\r\n\r\n", &["400"][..]),
        (&long, &["414", "431"]),
        (
            &format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
            &["431"],
        ),
    ] {
        let answer = raw(&daemon, request.as_bytes()).await;
        let status = answer.strip_prefix("HTTP/1.1 ").unwrap_or_default();
        let is_expected = statuses.iter().any(|one| status.starts_with(one));
        assert!(is_expected && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

/// 1.4: what a proxy could read differently is refused: hosts, and ends of bodies.
#[rstest]
#[tokio::test]
async fn ambiguous_heads(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for (head, status) in [
        ("GET /health/live HTTP/1.1", 400),
        ("GET /health/live HTTP/1.1\r\nHost: a\r\nHost: a", 400),
        ("GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b", 400),
        ("GET /health/live HTTP/1.1\r\nHost:", 400),
        ("GET /health/live HTTP/1.1\r\nHost: a b", 400),
        ("GET /health/live HTTP/1.1\r\nHost: u@a", 400),
        ("GET /nope HTTP/1.1\r\nHost: a/b", 400),
        (
            "GET /health/live HTTP/1.1\r\nHost: a\r\nTE: gzip, chunked",
            400,
        ),
        ("GET /health/live HTTP/1.1\r\nHost: a\r\nTE: trailers", 200),
        ("GET /health/live HTTP/1.1\r\nHost: [::1]:8000", 200),
        ("GET /health/live HTTP/1.0", 200),
    ] {
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        let answer = raw(&daemon, request.as_bytes()).await;
        let line = answer.lines().next().unwrap();
        assert!(line.contains(&format!(" {status} ")), "{head:?}: {line}");
        assert!(answer.contains("x-request-id: "), "{answer}");
        if status == 400 {
            assert!(answer.contains(r#"{"detail":""#), "{answer}");
        }
    }
    for codings in [
        "gzip, chunked",
        "chunked, chunked",
        "gzip\r\nTransfer-Encoding: chunked",
    ] {
        let request = format!(
            "POST /tasks/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: {codings}\r\n\r\n0\r\n\r\n"
        );
        let answer = raw(&daemon, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{codings:?}: {answer}");
    }
}

/// 1.1 (c): every key of the envelope.
#[rstest]
#[tokio::test]
async fn envelope(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let response = daemon
        .post("/tasks/")
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    let body = enveloped(response, 422, "validation_error").await;
    assert_eq!(body["errors"][0]["value"], json!({}));
}

/// 1.1 (c): `instance` is the decoded path, without the query.
#[rstest]
#[tokio::test]
async fn instance(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let (status, body) = daemon.get("/tasks/%C3%A4%20b?x=1").await;
    assert_eq!(
        (status.as_u16(), &body["instance"]),
        (422, &json!("/tasks/ä b"))
    );
}

/// 1.3, 10.6, 13: both slash forms of every route are answered alike, without a redirect.
#[rstest]
#[tokio::test]
async fn every_slash_form(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for (method, path) in routes(1) {
        let other = path
            .strip_suffix('/')
            .map_or_else(|| format!("{path}/"), str::to_owned);
        let mut statuses = Vec::new();
        for form in [&path, &other] {
            let (status, _) = daemon.request(method.clone(), form).anonymous().await;
            statuses.push(status.as_u16());
        }
        assert_eq!(statuses[0], statuses[1], "{method} {path}");
        assert!(statuses[0] != 404 && statuses[0] != 405, "{method} {path}");
        assert_eq!(
            (300..400).contains(&statuses[0]),
            path == "/redoc",
            "{method} {path}"
        );
    }
}

/// 13: HEAD is answered wherever GET is, with its status, and nothing after the headers.
#[rstest]
#[tokio::test]
async fn every_head(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("t").await;
    let token = jwt(&claims("alice", daemon.clock.now()), JWT_SECRET);
    let gets = routes(id)
        .into_iter()
        .filter(|(method, _)| method == Method::GET);
    for path in gets
        .map(|(_, path)| path)
        .chain(["/tasks/999999".to_owned()])
    {
        for bearer in [token.as_str(), ""] {
            let get = daemon
                .get(&path)
                .bearer(bearer)
                .send()
                .await
                .unwrap()
                .status();
            let head = format!(
                "HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n\r\n"
            );
            let answer = raw(&daemon, head.as_bytes()).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {} ", get.as_u16())),
                "{path}: {get}, {answer}"
            );
            assert!(
                answer.find("\r\n\r\n") == Some(answer.len() - 4),
                "{path}: {answer}"
            );
        }
    }
}

/// 1.4: unknown paths, and `GET /`.
#[rstest]
#[tokio::test]
async fn unknown_paths(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for path in [
        "/",
        "/nope",
        "/tasks//",
        "//tasks",
        "/TASKS/",
        "/api/user-api-keys/test",
        "/tasks/1/2",
    ] {
        let (status, body) = daemon.get(path).anonymous().await;
        assert_eq!(status, 404, "{path}");
        assert_eq!(body, json!({ "detail": "Not Found" }));
    }
    for method in [
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
    ] {
        assert_eq!(
            daemon.request(method.clone(), "/nope").await.0,
            404,
            "{method}"
        );
    }
}

/// 1.4, 10.31: wrong methods name all right ones; also before authentication.
#[rstest]
#[tokio::test]
async fn wrong_methods(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for (method, path, allow) in [
        (Method::POST, "/tasks/1", "DELETE, GET, HEAD, PATCH, PUT"),
        (Method::DELETE, "/tasks", "GET, HEAD, POST"),
        (Method::POST, "/health", "GET, HEAD"),
        (Method::OPTIONS, "/tasks/", "GET, HEAD, POST"),
        (
            Method::from_bytes(b"PROPFIND").unwrap(),
            "/tasks/",
            "GET, HEAD, POST",
        ),
    ] {
        let response = daemon
            .request(method.clone(), path)
            .anonymous()
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 405, "{method} {path}");
        assert_eq!(response.headers()["allow"], allow);
        assert_eq!(
            response.json::<Value>().await.unwrap(),
            json!({ "detail": "Method Not Allowed" })
        );
    }
}

/// 1.2, 10.33: credentials are checked before anything else.
#[rstest]
#[tokio::test]
async fn credentials_first(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for (method, path, body) in [
        (Method::POST, "/tasks/", "{broken"),
        (Method::GET, "/tasks/abc", ""),
        (Method::GET, "/tasks/?page=x", ""),
        (Method::PUT, "/tasks/1", "[]"),
    ] {
        let request = daemon.request(method, path).anonymous().raw_json(body);
        assert_eq!(request.await.0, 401, "{path}");
    }
    // Broken JSON before fields and existence.
    let broken = daemon.put("/tasks/abc").raw_json("{");
    assert_eq!(broken.await.1["errors"][0]["code"], "json_invalid");
}

/// 1.2: fields before existence and ownership.
#[rstest]
#[tokio::test]
async fn fields_before_existence(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let (_, foreign) = daemon
        .post("/tasks/")
        .user("bob")
        .json(&json!({ "title": "t" }))
        .await;
    for id in [&json!(999_999), &foreign["id"]] {
        for (method, body, field) in [
            (Method::PUT, json!({ "title": "" }), "title"),
            (Method::PATCH, json!({}), "completed"),
        ] {
            let (status, answer) = daemon
                .request(method, &format!("/tasks/{id}"))
                .json(&body)
                .await;
            assert_eq!(
                (status.as_u16(), fields(&answer)),
                (422, vec![field]),
                "{id}"
            );
        }
    }
}

/// 1.3, 10.6: both slash forms are served directly, whatever the Host.
#[rstest]
#[tokio::test]
async fn slash_forms(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for path in ["/tasks", "/tasks/", "/tasks?limit=1", "/tasks/?limit=1"] {
        assert_eq!(daemon.get(path).await.0, 200, "{path}");
    }
    let id = daemon.create_titled("t").await;
    for path in [format!("/tasks/{id}"), format!("/tasks/{id}/")] {
        assert_eq!(
            daemon.get(&path).header("Host", "evil.example").await.0,
            200
        );
    }
}

/// 13, 10.46: HEAD wherever GET is, without a body.
#[rstest]
#[tokio::test]
async fn head(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("t").await;
    for path in [
        "/tasks/".to_owned(),
        format!("/tasks/{id}"),
        "/health".to_owned(),
        "/docs".to_owned(),
        "/openapi.json".to_owned(),
    ] {
        let response = daemon.request(Method::HEAD, &path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.bytes().await.unwrap().is_empty());
    }
    assert_eq!(
        daemon
            .request(Method::HEAD, "/tasks/999999")
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
}

/// Bytes that are not HTTP end with a 400 and leave the daemon well.
#[rstest]
#[tokio::test]
async fn garbage(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for request in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".as_slice(),
        b"GET /tasks/ HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST /tasks/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ] {
        let answer = raw(&daemon, request).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(200_000));
    assert!(
        raw(&daemon, long.as_bytes())
            .await
            .starts_with("HTTP/1.1 4")
    );
    assert_eq!(daemon.get("/health").anonymous().await.0, 200);
}

/// A client that hangs up in the middle of its body, many times, costs nothing.
#[rstest]
#[tokio::test]
async fn clients_that_hang_up(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let address = daemon.base.strip_prefix("http://").unwrap().to_owned();
    for _ in 0..100 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let token = crate::api::daemon::SERVICE_TOKEN;
        let head = format!(
            "POST /tasks/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-User-ID: alice\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"title\""
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        drop(stream);
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "GET /tasks/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-User-ID: alice\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        drop(stream);
    }
    for _ in 0..20 {
        assert_eq!(daemon.get("/tasks/").await.1["total"], 0);
    }
}

/// 10.35, 10.36, 10.5: the database gone is 503 with Retry-After and no driver text; back, it works again.
#[tokio::test]
async fn database_gone() {
    let daemon = Daemon::start(Postgres).await;
    daemon.create_titled("t").await;
    let Database::Postgres(database) = &*daemon.database else {
        panic!("it was started on PostgreSQL");
    };
    let allow = |yes: bool| format!("ALTER DATABASE {} ALLOW_CONNECTIONS {yes}", database.name);
    on_server(&allow(false)).await;
    on_server(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
        database.name
    ))
    .await;
    for request in [
        daemon.get("/tasks/"),
        daemon.post("/tasks/").json(&json!({ "title": "lost?" })),
    ] {
        let response = request.send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"));
        let body = enveloped(response, 503, "service_unavailable").await;
        assert!(!body.to_string().contains("postgres"), "{body}");
    }
    let (status, body) = daemon.get("/health").anonymous().await;
    assert_eq!(
        (status.as_u16(), &body["status"], &body["database"]),
        (503, &json!("unhealthy"), &json!("disconnected"))
    );
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["database", "status", "timestamp"]);
    assert_eq!(daemon.get("/health/ready").anonymous().await.0, 503);
    assert_eq!(daemon.get("/health/live").anonymous().await.0, 200);
    on_server(&allow(true)).await;
    assert_eq!(daemon.get("/tasks/").await.1["total"], 1);
    assert_eq!(daemon.get("/health").anonymous().await.0, 200);
}

/// A restarted server goes unnoticed by reads: their connections are replaced.
#[tokio::test]
async fn connections_cut() {
    let daemon = Daemon::start(Postgres).await;
    let id = daemon.create_titled("t").await;
    for _ in 0..5 {
        daemon.database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await;
        assert_eq!(daemon.get(&format!("/tasks/{id}")).await.0, 200);
    }
}

/// 1.1 (c): a fault of the schema is a 500 that tells the client nothing of it.
#[tokio::test]
async fn schema_fault() {
    let daemon = Daemon::start(Postgres).await;
    daemon
        .database
        .execute("ALTER TABLE tasks RENAME COLUMN title TO heading")
        .await;
    let response = daemon.get("/tasks/").send().await.unwrap();
    let body = enveloped(response, 500, "database_error").await;
    assert!(!body.to_string().contains("title\\\""), "{body}");
    daemon
        .database
        .execute("ALTER TABLE tasks RENAME COLUMN heading TO title")
        .await;
    daemon
        .database
        .execute("ALTER TABLE tasks ADD CONSTRAINT none CHECK (title <> 'forbidden')")
        .await;
    let response = daemon
        .post("/tasks/")
        .json(&json!({ "title": "forbidden" }))
        .send()
        .await
        .unwrap();
    enveloped(response, 409, "integrity_error").await;
}
