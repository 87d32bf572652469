//! Provider keys, tokens and passwords do not reach the log, at any level.

use serde_json::{Value, json};

use crate::support::process::{Process, SERVICE_TOKEN, serve, with_secrets};
use crate::support::{Answer, HttpPeer, RedisServer, blocking_http_client, sqlite_dir};

const KEY: &str = "AIzaSyCanary-0123456789_abcdefXYZ";
const JWT_SECRET: &str = "a-canary-secret-for-signing-0123456789";

/// Contract 5, 10.7: neither the key nor any part of it, whatever becomes of the request.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_key_is_never_logged() {
    let provider = HttpPeer::answering(Answer::Json(200, json!({ "models": [] }))).await;
    let url = provider.url.clone();
    let work = move || {
        let directory = sqlite_dir();
        let mut command = serve(directory.path());
        let mut daemon = Process::start(
            with_secrets(&mut command)
                .env("JWT_SECRET", JWT_SECRET)
                .env("LOG_LEVEL", "trace")
                .env("GEMINI_API_URL", &url),
        );
        let base = daemon.base();
        let client = blocking_http_client();
        let claims = json!({ "sub": "me", "exp": 4_000_000_000_i64, "type": "access" });
        let token = jsonwebtoken::encode(
            &jsonwebtoken::Header::default(),
            &claims,
            &jsonwebtoken::EncodingKey::from_secret(JWT_SECRET.as_bytes()),
        )
        .unwrap();
        let route = format!("{base}/api/user-api-keys");
        let save = |body: Value| {
            let request = client.post(&route).bearer_auth(&token).json(&body);
            request.send().unwrap().status().as_u16()
        };
        assert_eq!(save(json!({ "api_key": KEY })), 201);
        provider.set(Answer::Json(403, json!({ "error": KEY })));
        assert_eq!(save(json!({ "api_key": KEY })), 400);
        provider.set(Answer::HangUp);
        assert_eq!(save(json!({ "api_key": KEY })), 400);
        assert_eq!(save(json!({ "api_key": [KEY] })), 422);
        assert_eq!(save(json!({ "api_key": KEY, "provider": KEY })), 422);
        let status = client
            .get(format!("{route}/current"))
            .header("X-User-ID", "me")
            .header("X-Service-Auth", SERVICE_TOKEN)
            .send()
            .unwrap();
        assert_eq!(status.json::<Value>().unwrap()["plaintext_key"], KEY);
        let metrics = client.get(format!("{base}/metrics")).send().unwrap();
        let metrics = metrics.text().unwrap();
        daemon.signal("-TERM");
        let (_, said) = daemon.end();
        assert!(said.contains("TRACE") && said.contains("/api/user-api-keys"));
        for secret in [
            KEY,
            "Canary",
            "abcdefXYZ",
            &token,
            SERVICE_TOKEN,
            JWT_SECRET,
        ] {
            assert!(!said.contains(secret), "{secret} was logged");
            assert!(!metrics.contains(secret), "{secret} is a metric");
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

/// An outage of Redis is one line, not one a request, and does not hold its password.
#[test]
fn an_outage_of_redis_is_one_line() {
    let mut redis = RedisServer::start();
    let directory = sqlite_dir();
    let mut command = serve(directory.path());
    let mut daemon = Process::start(
        with_secrets(&mut command)
            .env("RATE_LIMIT_PER_MINUTE", "1000")
            .env("REDIS_URL", redis.url()),
    );
    let base = daemon.base();
    let ask = || {
        let request = blocking_http_client().get(format!("{base}/tasks/"));
        let request = request.bearer_auth(SERVICE_TOKEN).header("X-User-ID", "me");
        assert_eq!(request.send().unwrap().status(), 200);
    };
    ask();
    redis.kill();
    (0..10).for_each(|_| ask());
    redis.run();
    daemon.line("Redis is back");
    ask();
    daemon.signal("-TERM");
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(0));
    assert_eq!(said.matches("Redis is down").count(), 1, "{said}");
    assert!(!said.contains("canary"), "{said}");
}
