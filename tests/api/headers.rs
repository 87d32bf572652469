//! Contract section 8: CORS and security headers on every answer.

use reqwest::{Method, Response};
use serde_json::json;

use crate::api::Fixture;
use crate::api::daemon::{Daemon, ORIGIN, send};
use crate::support::on_both_engines;

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
        .bare(Method::OPTIONS, path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", headers)
        .send()
        .await
        .unwrap()
}

on_both_engines! {
    /// 8, 10.20: every kind of answer has the security headers.
    async fn on_every_answer(daemon) {
        for request in [
            daemon.call(Method::GET, "/tasks/"), daemon.bare(Method::GET, "/tasks/"),
            daemon.bare(Method::GET, "/nope"), daemon.bare(Method::DELETE, "/tasks/"),
            daemon.call(Method::GET, "/tasks/x"), daemon.bare(Method::GET, "/health"),
            daemon.bare(Method::GET, "/metrics"), daemon.bare(Method::GET, "/docs"),
            daemon.bare(Method::POST, "/api/auth/refresh"), daemon.bare(Method::POST, "/api/auth/logout"),
            daemon.bare(Method::GET, "/redoc"), daemon.call(Method::POST, "/tasks/").body("x"),
            daemon.call(Method::POST, "/tasks/").body(vec![0xff]), daemon.call(Method::POST, "/tasks/").body(vec![b' '; 2 << 20]),
        ] {
            secured(&request.send().await.unwrap());
        }
        secured(&preflight(&daemon, ORIGIN, "GET", "").await);
        secured(&preflight(&daemon, "https://evil.example", "GET", "").await);
    }

    /// 8: the policy for scripts and the rest, word for word.
    async fn content_policy(daemon) {
        let preflight = preflight(&daemon, ORIGIN, "GET", "").await;
        let get = async |path| daemon.bare(Method::GET, path).send().await.unwrap();
        for response in [get("/tasks/").await, get("/nope").await, get("/health").await, preflight] {
            assert_eq!(
                header(&response, "content-security-policy"),
                "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; \
                 img-src 'self' data: https:; font-src 'self' data:; connect-src 'self' https:; frame-ancestors 'none'"
            );
        }
    }

    /// 1, 11.3: bodies are JSON, of good answers and of errors.
    async fn bodies_are_json(daemon) {
        let id = daemon.create_titled("t").await;
        let now = if daemon.is_postgres() { "now()" } else { "1767323045000000" };
        daemon.execute(&format!(
            "INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at)
             VALUES ('alice', {id}, 'overdue', 'm', FALSE, FALSE, {now})"
        )).await;
        let (_, told) = send(daemon.call(Method::GET, "/notifications/")).await;
        let read = format!("/notifications/{}/read", told["notifications"][0]["id"]);
        let task = format!("/tasks/{id}");
        for (request, status) in [
            (daemon.call(Method::POST, "/tasks/").json(&json!({ "title": "t" })), 201),
            (daemon.call(Method::GET, "/tasks/"), 200),
            (daemon.call(Method::GET, &task), 200),
            (daemon.call(Method::PUT, &task).json(&json!({ "title": "u" })), 200),
            (daemon.call(Method::PATCH, &task).json(&json!({ "completed": true })), 200),
            (daemon.call(Method::GET, "/notifications/"), 200),
            (daemon.call(Method::PATCH, &read), 200),
            (daemon.call(Method::POST, "/tasks/bulk-delete").json(&json!({ "task_ids": [id] })), 200),
            (daemon.with_jwt("alice", Method::GET, "/api/user-api-keys/current"), 200),
            (daemon.with_jwt("alice", Method::POST, "/api/auth/logout"), 200),
            (daemon.bare(Method::GET, "/health"), 200),
            (daemon.bare(Method::GET, "/health/live"), 200),
            (daemon.bare(Method::GET, "/health/ready"), 200),
            (daemon.bare(Method::GET, "/openapi.json"), 200),
            (daemon.bare(Method::GET, "/tasks/"), 401),
            (daemon.bare(Method::GET, "/nope"), 404),
            (daemon.call(Method::GET, &task), 404),
            (daemon.bare(Method::DELETE, "/tasks/"), 405),
            (daemon.call(Method::GET, "/tasks/x"), 422),
        ] {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{}", response.url());
            assert_eq!(header(&response, "content-type"), "application/json", "{}", response.url());
        }
    }

    /// 8: an allowed origin may read every answer; a foreign one is served without that.
    async fn origins(daemon) {
        let unknown = daemon.bare(Method::GET, "/tasks/").header("Origin", ORIGIN).send().await.unwrap();
        assert_eq!((unknown.status().as_u16(), header(&unknown, "access-control-allow-origin")), (401, ORIGIN));
        assert!(header(&unknown, "access-control-expose-headers").contains("Retry-After"));
        for path in ["/tasks/", "/nope", "/tasks/x", "/redoc"] {
            let response = daemon.call(Method::GET, path).header("Origin", ORIGIN).send().await.unwrap();
            assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN);
            assert_eq!(header(&response, "access-control-allow-credentials"), "true");
            for name in ["Content-Type", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "ETag", "X-Request-ID"] {
                assert!(header(&response, "access-control-expose-headers").contains(name), "{name}");
            }
            for origin in ["https://evil.example", "null", "https://app.example.com.evil.example"] {
                let response = daemon.call(Method::GET, path).header("Origin", origin).send().await.unwrap();
                for name in ["access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"] {
                    assert_eq!(header(&response, name), "", "{origin}");
                }
            }
        }
        assert_eq!(daemon.call(Method::GET, "/tasks/").header("Origin", "null").send().await.unwrap().status(), 200);
    }

    /// 8: preflights, without authentication, on any path.
    async fn preflights(daemon) {
        let good = preflight(&daemon, ORIGIN, "PATCH", "authorization, Content-Type,x-timezone, if-match, if-none-match, idempotency-key").await;
        assert_eq!(good.status(), 200);
        assert_eq!(header(&good, "access-control-allow-origin"), ORIGIN);
        assert_eq!(header(&good, "access-control-allow-credentials"), "true");
        assert_eq!(header(&good, "access-control-allow-methods"), "GET, POST, PUT, PATCH, DELETE, OPTIONS");
        assert_eq!(header(&good, "access-control-max-age"), "600");
        let allowed: Vec<&str> = header(&good, "access-control-allow-headers").split(", ").collect();
        // 13: the last three are todoctl's own.
        for name in ["Accept", "Accept-Language", "Authorization", "Content-Language", "Content-Type", "X-Timezone", "If-Match", "If-None-Match", "Idempotency-Key"] {
            assert!(allowed.contains(&name), "{name}");
        }
        assert_eq!(allowed.len(), 9);
        for path in ["/nope", "/health", "/tasks/1"] {
            let good = preflight_of(&daemon, path, ORIGIN, "DELETE", "authorization").await;
            assert_eq!((good.status().as_u16(), header(&good, "access-control-allow-origin")), (200, ORIGIN), "{path}");
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

    /// 13: an id that is fit for a log is kept, any other replaced; ids differ.
    async fn request_ids(daemon) {
        let with = |id: &str| daemon.bare(Method::GET, "/health/live").header("X-Request-ID", id);
        let sent = with("abc-123.DEF").send().await.unwrap();
        assert_eq!(header(&sent, "x-request-id"), "abc-123.DEF");
        for bad in ["a b", "a\"b", &"x".repeat(129)] {
            let response = with(bad).send().await.unwrap();
            assert_ne!(header(&response, "x-request-id"), bad);
        }
        let one = daemon.bare(Method::GET, "/health/live").send().await.unwrap();
        let two = daemon.bare(Method::GET, "/health/live").send().await.unwrap();
        assert_ne!(header(&one, "x-request-id"), header(&two, "x-request-id"));
    }

    /// 8: no response compression.
    async fn not_compressed(daemon) {
        let response = daemon.call(Method::GET, "/tasks/").header("Accept-Encoding", "gzip, deflate, br").send().await.unwrap();
        assert_eq!(header(&response, "content-encoding"), "");
        assert_eq!(header(&response, "content-type"), "application/json");
    }
}
