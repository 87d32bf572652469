//! Contract section 8: CORS and security headers on every answer.

use reqwest::{Method, Response};
use rstest::rstest;
use serde_json::json;

use crate::api::daemon::{Daemon, ORIGIN};
use crate::support::Engine::{self, Postgres, Sqlite};

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// Every answer has these.
pub fn secured(response: &Response) {
    for (name, value) in [
        (
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        ),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-xss-protection", "1; mode=block"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
    ] {
        assert_eq!(header(response, name), value);
    }
    for feature in [
        "geolocation",
        "microphone",
        "camera",
        "payment",
        "usb",
        "magnetometer",
        "gyroscope",
        "accelerometer",
    ] {
        assert!(
            header(response, "permissions-policy").contains(&format!("{feature}=()")),
            "{feature}"
        );
    }
    assert!(header(response, "content-security-policy").contains("frame-ancestors 'none'"));
    assert!(header(response, "vary").contains("Origin"));
    assert!(!header(response, "x-request-id").is_empty());
}

async fn preflight(daemon: &Daemon, origin: &str, method: &str, headers: &str) -> Response {
    preflight_of(daemon, "/tasks/", origin, method, headers).await
}

async fn preflight_of(
    daemon: &Daemon,
    path: &str,
    origin: &str,
    method: &str,
    headers: &str,
) -> Response {
    daemon
        .request(Method::OPTIONS, path)
        .anonymous()
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", headers)
        .send()
        .await
        .unwrap()
}

/// 8, 10.20: every kind of answer has the security headers.
#[rstest]
#[tokio::test]
async fn on_every_answer(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for request in [
        daemon.get("/tasks/"),
        daemon.get("/tasks/").anonymous(),
        daemon.get("/nope").anonymous(),
        daemon.delete("/tasks/").anonymous(),
        daemon.get("/tasks/x"),
        daemon.get("/health").anonymous(),
        daemon.get("/metrics").anonymous(),
        daemon.get("/docs").anonymous(),
        daemon.post("/api/auth/refresh").anonymous(),
        daemon.post("/api/auth/logout").anonymous(),
        daemon.get("/redoc").anonymous(),
        daemon.post("/tasks/").body("x"),
        daemon.post("/tasks/").body(vec![0xff]),
        daemon.post("/tasks/").body(vec![b' '; 2 << 20]),
    ] {
        secured(&request.send().await.unwrap());
    }
    secured(&preflight(&daemon, ORIGIN, "GET", "").await);
    secured(&preflight(&daemon, "https://evil.example", "GET", "").await);
}

/// 8: the policy for scripts and the rest, word for word.
#[rstest]
#[tokio::test]
async fn content_policy(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let preflight = preflight(&daemon, ORIGIN, "GET", "").await;
    let get = async |path| daemon.get(path).anonymous().send().await.unwrap();
    for response in [
        get("/tasks/").await,
        get("/nope").await,
        get("/health").await,
        preflight,
    ] {
        assert_eq!(
            header(&response, "content-security-policy"),
            "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; \
             img-src 'self' data: https:; font-src 'self' data:; connect-src 'self' https:; frame-ancestors 'none'"
        );
    }
}

/// 1, 11.3: bodies are JSON, of good answers and of errors.
#[rstest]
#[tokio::test]
async fn bodies_are_json(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("t").await;
    let now = if daemon.is_postgres() {
        "now()"
    } else {
        "1767323045000000"
    };
    daemon.database.execute(&format!(
        "INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at)
         VALUES ('alice', {id}, 'overdue', 'm', FALSE, FALSE, {now})"
    )).await;
    let (_, told) = daemon.get("/notifications/").await;
    let read = format!("/notifications/{}/read", told["notifications"][0]["id"]);
    let task = format!("/tasks/{id}");
    for (request, status) in [
        (daemon.post("/tasks/").json(&json!({ "title": "t" })), 201),
        (daemon.get("/tasks/"), 200),
        (daemon.get(&task), 200),
        (daemon.put(&task).json(&json!({ "title": "u" })), 200),
        (daemon.patch(&task).json(&json!({ "completed": true })), 200),
        (daemon.get("/notifications/"), 200),
        (daemon.patch(&read), 200),
        (
            daemon
                .post("/tasks/bulk-delete")
                .json(&json!({ "task_ids": [id] })),
            200,
        ),
        (
            daemon
                .get("/api/user-api-keys/current")
                .bearer(daemon.jwt("alice")),
            200,
        ),
        (
            daemon.post("/api/auth/logout").bearer(daemon.jwt("alice")),
            200,
        ),
        (daemon.get("/health").anonymous(), 200),
        (daemon.get("/health/live").anonymous(), 200),
        (daemon.get("/health/ready").anonymous(), 200),
        (daemon.get("/openapi.json").anonymous(), 200),
        (daemon.get("/tasks/").anonymous(), 401),
        (daemon.get("/nope").anonymous(), 404),
        (daemon.get(&task), 404),
        (daemon.delete("/tasks/").anonymous(), 405),
        (daemon.get("/tasks/x"), 422),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{}", response.url());
        assert_eq!(
            header(&response, "content-type"),
            "application/json",
            "{}",
            response.url()
        );
    }
}

/// 8: an allowed origin may read every answer; a foreign one is served without that.
#[rstest]
#[tokio::test]
async fn origins(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let unknown = daemon
        .get("/tasks/")
        .anonymous()
        .header("Origin", ORIGIN)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            unknown.status().as_u16(),
            header(&unknown, "access-control-allow-origin")
        ),
        (401, ORIGIN)
    );
    assert!(header(&unknown, "access-control-expose-headers").contains("Retry-After"));
    for path in ["/tasks/", "/nope", "/tasks/x", "/redoc"] {
        let response = daemon
            .get(path)
            .header("Origin", ORIGIN)
            .send()
            .await
            .unwrap();
        assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN);
        assert_eq!(
            header(&response, "access-control-allow-credentials"),
            "true"
        );
        for name in [
            "Content-Type",
            "Retry-After",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
            "ETag",
            "X-Request-ID",
        ] {
            assert!(
                header(&response, "access-control-expose-headers").contains(name),
                "{name}"
            );
        }
        for origin in [
            "https://evil.example",
            "null",
            "https://app.example.com.evil.example",
        ] {
            let response = daemon
                .get(path)
                .header("Origin", origin)
                .send()
                .await
                .unwrap();
            for name in [
                "access-control-allow-origin",
                "access-control-allow-credentials",
                "access-control-expose-headers",
            ] {
                assert_eq!(header(&response, name), "", "{origin}");
            }
        }
    }
    assert_eq!(
        daemon
            .get("/tasks/")
            .header("Origin", "null")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

/// 8: preflights, without authentication, on any path.
#[rstest]
#[tokio::test]
async fn preflights(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let good = preflight(
        &daemon,
        ORIGIN,
        "PATCH",
        "authorization, Content-Type,x-timezone, if-match, if-none-match, idempotency-key, \
         sentry-trace,baggage,traceparent,tracestate,x-request-id",
    )
    .await;
    assert_eq!(good.status(), 200);
    assert_eq!(header(&good, "access-control-allow-origin"), ORIGIN);
    assert_eq!(header(&good, "access-control-allow-credentials"), "true");
    assert_eq!(
        header(&good, "access-control-allow-methods"),
        "GET, POST, PUT, PATCH, DELETE, OPTIONS"
    );
    assert_eq!(header(&good, "access-control-max-age"), "600");
    let allowed: Vec<&str> = header(&good, "access-control-allow-headers")
        .split(", ")
        .collect();
    // 13: If-Match and those after it are todoctl's own.
    for name in [
        "Accept",
        "Accept-Language",
        "Authorization",
        "Content-Language",
        "Content-Type",
        "X-Timezone",
        "If-Match",
        "If-None-Match",
        "Idempotency-Key",
        "X-Request-ID",
        "sentry-trace",
        "baggage",
        "traceparent",
        "tracestate",
    ] {
        assert!(allowed.contains(&name), "{name}");
    }
    assert_eq!(allowed.len(), 14);
    for path in ["/nope", "/health", "/tasks/1"] {
        let good = preflight_of(&daemon, path, ORIGIN, "DELETE", "authorization").await;
        assert_eq!(
            (
                good.status().as_u16(),
                header(&good, "access-control-allow-origin")
            ),
            (200, ORIGIN),
            "{path}"
        );
    }
    let foreign = preflight(&daemon, "https://evil.example", "GET", "").await;
    assert_eq!(foreign.status(), 400);
    assert_eq!(header(&foreign, "access-control-allow-origin"), "");
    for refused in [
        foreign,
        preflight(&daemon, ORIGIN, "TRACE", "").await,
        preflight(&daemon, ORIGIN, "GET", "X-User-ID").await,
    ] {
        assert_eq!(refused.status(), 400);
        assert!(header(&refused, "content-type").starts_with("text/plain"));
        assert!(!refused.text().await.unwrap().is_empty());
    }
}

/// 8: what depends on the caller is not stored by caches, errors included.
#[rstest]
#[tokio::test]
async fn cache_control(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("t").await;
    let task = format!("/tasks/{id}");
    let private = "private, no-store";
    let tagged = "private, no-cache";
    for (request, status, policy) in [
        (daemon.get("/tasks/"), 200, tagged),
        (daemon.get(&task), 200, tagged),
        (daemon.get("/notifications/"), 200, private),
        (daemon.post("/notifications/read-all"), 204, private),
        (
            daemon
                .post("/tasks/bulk-delete")
                .json(&json!({ "task_ids": [0] })),
            200,
            private,
        ),
        (daemon.get("/tasks/").anonymous(), 401, private),
        (daemon.get("/tasks/").bearer("wrong"), 401, private),
        (daemon.get("/tasks/").user(" "), 400, private),
        (daemon.get("/tasks/999999"), 404, private),
        (daemon.get("/tasks/x"), 422, private),
        (daemon.get(&task).header("If-Match", "\"x\""), 412, private),
        (daemon.post("/tasks/").body("x"), 422, private),
        (
            daemon
                .post("/tasks/")
                .header("Content-Type", "text/plain")
                .body("x"),
            415,
            private,
        ),
        (
            daemon.post("/tasks/").body(vec![b' '; 2 << 20]),
            413,
            private,
        ),
        (daemon.delete(&task), 204, private),
        (daemon.post("/api/auth/refresh").anonymous(), 401, private),
        (daemon.post("/api/auth/logout").anonymous(), 401, private),
        (daemon.get("/health").anonymous(), 200, "no-store"),
        (daemon.get("/openapi.json").anonymous(), 200, "no-cache"),
        (daemon.get("/nope").anonymous(), 404, ""),
    ] {
        let answer = request.send().await.unwrap();
        let place = answer.url().clone();
        assert_eq!(answer.status(), status, "{place}");
        assert_eq!(header(&answer, "cache-control"), policy, "{status} {place}");
    }
}

/// 13: an id that is fit for a log is kept, any other replaced; ids differ.
#[rstest]
#[tokio::test]
async fn request_ids(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let with = |id: &str| {
        daemon
            .get("/health/live")
            .anonymous()
            .header("X-Request-ID", id)
    };
    let sent = with("abc-123.DEF").send().await.unwrap();
    assert_eq!(header(&sent, "x-request-id"), "abc-123.DEF");
    for bad in ["a b", "a\"b", &"x".repeat(129)] {
        let response = with(bad).send().await.unwrap();
        assert_ne!(header(&response, "x-request-id"), bad);
    }
    let one = daemon.get("/health/live").anonymous().send().await.unwrap();
    let two = daemon.get("/health/live").anonymous().send().await.unwrap();
    assert_ne!(header(&one, "x-request-id"), header(&two, "x-request-id"));
}

/// 8: no response compression.
#[rstest]
#[tokio::test]
async fn not_compressed(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let response = daemon
        .get("/tasks/")
        .header("Accept-Encoding", "gzip, deflate, br")
        .send()
        .await
        .unwrap();
    assert_eq!(header(&response, "content-encoding"), "");
    assert_eq!(header(&response, "content-type"), "application/json");
}
