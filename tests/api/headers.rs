//! Contract section 8: CORS and security headers on every answer.

use reqwest::{Method, Response};

use crate::daemon::{Daemon, ORIGIN};
use crate::on_both_engines;

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

fn secured(response: &Response) {
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
    daemon
        .bare(Method::OPTIONS, "/tasks/")
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
        ] {
            secured(&request.send().await.unwrap());
        }
        secured(&preflight(&daemon, ORIGIN, "GET", "").await);
        secured(&preflight(&daemon, "https://evil.example", "GET", "").await);
    }

    /// 8: an allowed origin may read every answer; a foreign one is served without that.
    async fn origins(daemon) {
        for path in ["/tasks/", "/nope", "/tasks/x"] {
            let response = daemon.call(Method::GET, path).header("Origin", ORIGIN).send().await.unwrap();
            assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN);
            assert_eq!(header(&response, "access-control-allow-credentials"), "true");
            for name in ["Content-Type", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "ETag", "X-Request-ID"] {
                assert!(header(&response, "access-control-expose-headers").contains(name), "{name}");
            }
            for origin in ["https://evil.example", "null", "https://app.example.com.evil.example"] {
                let response = daemon.call(Method::GET, path).header("Origin", origin).send().await.unwrap();
                assert_eq!(header(&response, "access-control-allow-origin"), "", "{origin}");
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
        for name in ["Accept", "Accept-Language", "Authorization", "Content-Language", "Content-Type", "X-Timezone"] {
            assert!(header(&good, "access-control-allow-headers").contains(name), "{name}");
        }
        let foreign = preflight(&daemon, "https://evil.example", "GET", "").await;
        assert_eq!(foreign.status(), 400);
        assert_eq!(header(&foreign, "access-control-allow-origin"), "");
        assert_eq!(preflight(&daemon, ORIGIN, "TRACE", "").await.status(), 400);
        assert_eq!(preflight(&daemon, ORIGIN, "GET", "X-User-ID").await.status(), 400);
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
