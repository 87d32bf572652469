//! Contract section 5: provider keys; 2.3: the service that reads them.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use todoctl::clock::Clock;
use todoctl::config::{RotatingSecret, Secret};
use todoctl::domain::Timestamp;

use crate::api::daemon::{Daemon, ENCRYPTION_KEY, ORIGIN, SERVICE_TOKEN, fields};
use crate::api::request::{Request, read};
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::{Answer, HttpPeer};

pub const ROUTE: &str = "/api/user-api-keys";
pub const CURRENT: &str = "/api/user-api-keys/current";
pub const KEY: &str = "AIzaSyCanary-0123456789_abcdefXYZ";
pub const OTHER_KEY: &str = "AIzaSyOther-9876543210_ghijklUVW";

/// A daemon and a provider that accepts every key.
pub async fn start(engine: Engine) -> (Daemon, HttpPeer) {
    start_at(engine, Clock::system()).await
}

pub async fn start_at(engine: Engine, clock: Clock) -> (Daemon, HttpPeer) {
    let provider = HttpPeer::answering(Answer::Json(200, json!({ "models": [] }))).await;
    let url = provider.url.parse().unwrap();
    let daemon = Daemon::start_at(engine, clock, |config| {
        config.services.gemini_api_url = Some(url);
    })
    .await;
    (daemon, provider)
}

pub fn save(daemon: &Daemon, user: &str, key: &str) -> Request {
    daemon
        .post(ROUTE)
        .bearer(daemon.jwt(user))
        .json(&json!({ "api_key": key, "provider": "gemini" }))
}

pub async fn status(daemon: &Daemon, user: &str) -> Value {
    let (status, body) = daemon.get(CURRENT).bearer(daemon.jwt(user)).await;
    assert_eq!(status, 200);
    body
}

/// A service's request for `user`'s key.
pub fn as_service(daemon: &Daemon, user: &str) -> Request {
    daemon
        .get(CURRENT)
        .anonymous()
        .header("X-User-ID", user)
        .header("X-Service-Auth", SERVICE_TOKEN)
}

pub fn nothing() -> Value {
    json!({
        "configured": false, "provider": null, "masked_key": null, "plaintext_key": null,
        "validation_status": null, "last_validated_at": null, "created_at": null, "updated_at": null,
    })
}

pub fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// 5.1, 5.2, 5.3: nothing, save, status for owner and service, replace, delete.
#[rstest]
#[tokio::test]
async fn from_nothing_to_nothing(#[values(Sqlite, Postgres)] engine: Engine) {
    let clock = Clock::fixed(at("2031-01-02T03:04:05Z"));
    let (daemon, provider) = start_at(engine, clock).await;
    assert_eq!(status(&daemon, "alice").await, nothing());
    let (code, body) = as_service(&daemon, "alice").await;
    assert_eq!((code, body), (StatusCode::OK, nothing()));
    let (code, body) = daemon.delete(CURRENT).bearer(daemon.jwt("alice")).await;
    assert_eq!(code, 404);
    assert!(body["detail"].is_string());

    let (code, body) = save(&daemon, "alice", KEY).await;
    assert_eq!(code, 201);
    assert_eq!(
        (&body["success"], &body["masked_key"]),
        (&json!(true), &json!("AIza...XYZ"))
    );
    assert!(body["message"].is_string());
    // The provider was asked once, with the key in a header and nowhere else.
    let asked = provider.received();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].method.as_str(), asked[0].path.as_str()),
        ("GET", "/v1beta/models")
    );
    assert_eq!(asked[0].query, None);
    assert_eq!(asked[0].header("x-goog-api-key"), KEY);

    let mut expected = json!({
        "configured": true, "provider": "gemini", "masked_key": "AIza...XYZ", "plaintext_key": null,
        "validation_status": "success", "last_validated_at": "2031-01-02T03:04:05Z",
        "created_at": "2031-01-02T03:04:05Z", "updated_at": "2031-01-02T03:04:05Z",
    });
    assert_eq!(status(&daemon, "alice").await, expected);
    expected["masked_key"] = json!(null);
    expected["plaintext_key"] = json!(KEY);
    assert_eq!(
        as_service(&daemon, "alice").await,
        (StatusCode::OK, expected)
    );
    assert_eq!(status(&daemon, "bob").await, nothing());

    // Saving again replaces the key, keeps created_at and moves updated_at.
    daemon.clock.set(at("2031-01-02T04:00:00.5Z"));
    assert_eq!(save(&daemon, "alice", OTHER_KEY).await.0, 201);
    let (_, body) = as_service(&daemon, "alice").await;
    assert_eq!(body["plaintext_key"], OTHER_KEY);
    assert_eq!(body["created_at"], "2031-01-02T03:04:05Z");
    assert_eq!(body["updated_at"], "2031-01-02T04:00:00.500000Z");
    assert_eq!(body["last_validated_at"], "2031-01-02T04:00:00.500000Z");

    let (code, body) = daemon.delete(CURRENT).bearer(daemon.jwt("alice")).await;
    assert_eq!((code.as_u16(), &body["success"]), (200, &json!(true)));
    assert!(body["message"].is_string());
    assert_eq!(
        daemon.delete(CURRENT).bearer(daemon.jwt("alice")).await.0,
        404
    );
    assert_eq!(status(&daemon, "alice").await, nothing());
}

/// 2.3: both headers, and only the right token; without a challenge on failure. 10.1, 10.2.
#[rstest]
#[tokio::test]
async fn the_service_that_reads_keys(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, _provider) = start(engine).await;
    assert_eq!(save(&daemon, "alice", KEY).await.0, 201);
    let get = || daemon.get(CURRENT).anonymous();
    // Authorization is ignored if both headers are present.
    let (code, body) = as_service(&daemon, "alice").bearer("nonsense").await;
    assert_eq!((code.as_u16(), &body["plaintext_key"]), (200, &json!(KEY)));
    for token in ["", "wrong", &SERVICE_TOKEN[1..], "\u{e9}"] {
        let request = get()
            .header("X-User-ID", "alice")
            .header("X-Service-Auth", token.as_bytes());
        let response = request.send().await.unwrap();
        assert!(
            !response.headers().contains_key("www-authenticate"),
            "{token}"
        );
        let (code, body) = read(response).await;
        assert_eq!(code, 401, "{token}");
        assert!(body["detail"].is_string());
    }
    // One of the two alone has no effect: the bearer token decides.
    for one in [("X-User-ID", "alice"), ("X-Service-Auth", SERVICE_TOKEN)] {
        let response = get().header(one.0, one.1).send().await.unwrap();
        assert_eq!(header(&response, "www-authenticate"), "Bearer");
        let (code, body) = read(response).await;
        assert_eq!(code, 401);
        assert!(body["detail"].is_string());
        let request = daemon
            .get(CURRENT)
            .bearer(daemon.jwt("alice"))
            .header(one.0, one.1);
        let (code, body) = request.await;
        assert_eq!(
            (code.as_u16(), &body["masked_key"], &body["plaintext_key"]),
            (200, &json!("AIza...XYZ"), &json!(null))
        );
    }
    for user in ["", "  "] {
        assert_eq!(as_service(&daemon, user).await.0, 400, "{user:?}");
    }
    // 2.2's pair is not accepted here, nor X-Service-Auth anywhere else.
    let (code, body) = daemon.get(CURRENT).user("alice").await;
    assert_eq!(
        (code.as_u16(), &body["detail"]["error_code"]),
        (401, &json!("invalid_token"))
    );
    for (method, path) in [
        (Method::POST, ROUTE),
        (Method::DELETE, CURRENT),
        (Method::GET, "/tasks/"),
    ] {
        let request = daemon
            .request(method.clone(), path)
            .anonymous()
            .header("X-User-ID", "alice")
            .header("X-Service-Auth", SERVICE_TOKEN);
        assert_eq!(
            request.json(&json!({ "api_key": KEY })).await.0,
            401,
            "{method} {path}"
        );
        if path != "/tasks/" {
            let request = daemon
                .request(method.clone(), path)
                .user("alice")
                .json(&json!({ "api_key": KEY }));
            assert_eq!(request.await.0, 401, "{method} {path}");
        }
    }
    assert_eq!(status(&daemon, "alice").await["configured"], true);
}

/// 13: a session token is valid wherever a JWT is.
#[rstest]
#[tokio::test]
async fn session_tokens(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, _provider) = start(engine).await;
    let token = daemon.session("alice", Duration::from_secs(60)).await;
    let request = daemon
        .post(ROUTE)
        .bearer(&token)
        .json(&json!({ "api_key": KEY }));
    assert_eq!(request.await.0, 201);
    let (code, body) = daemon.get(CURRENT).bearer(&token).await;
    assert_eq!(
        (code.as_u16(), &body["masked_key"], &body["plaintext_key"]),
        (200, &json!("AIza...XYZ"), &json!(null))
    );
    assert_eq!(daemon.delete(CURRENT).bearer(&token).await.0, 200);
}

/// 5.2 step 1, 10.7, 10.19, 10.28: an invalid body uses up no attempt; the provider is not asked.
#[rstest]
#[tokio::test]
async fn validation(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, provider) = start(engine).await;
    let long = format!("AIza{}", "k".repeat(300));
    let cases = [
        (json!({}), "api_key"),
        (json!({ "apiKey": KEY }), "api_key"),
        (json!({ "api_key": null }), "api_key"),
        (json!({ "api_key": 5 }), "api_key"),
        (json!({ "api_key": [KEY] }), "api_key"),
        (json!({ "api_key": "AIzaCanary-too-shor" }), "api_key"),
        (json!({ "api_key": long }), "api_key"),
        (json!({ "api_key": KEY, "provider": null }), "provider"),
        (json!({ "api_key": KEY, "provider": 1 }), "provider"),
        (json!({ "api_key": KEY, "provider": "openai" }), "provider"),
        (json!({ "api_key": KEY, "provider": "Gemini" }), "provider"),
        (
            json!({ "api_key": KEY, "provider": "g".repeat(51) }),
            "provider",
        ),
        (json!({ "api_key": KEY, "provider": KEY }), "provider"),
        (json!(KEY), ""),
        (json!([{ "api_key": KEY }]), ""),
    ];
    for (body, field) in cases {
        let request = daemon.post(ROUTE).bearer(daemon.jwt("alice")).json(&body);
        let (code, answer) = request.await;
        assert_eq!(code, 422, "{body}");
        assert_eq!(fields(&answer), [field], "{body}");
        assert_eq!(answer["errors"][0]["value"], json!(null), "{body}");
        assert!(!answer.to_string().contains("Canary"), "{answer}");
    }
    let both = daemon
        .post(ROUTE)
        .bearer(daemon.jwt("alice"))
        .json(&json!({ "api_key": "x", "provider": "y" }));
    assert_eq!(fields(&both.await.1), ["api_key", "provider"]);
    let broken = daemon
        .post(ROUTE)
        .bearer(daemon.jwt("alice"))
        .header("Content-Type", "application/json");
    let (code, answer) = broken.body(format!("{{\"api_key\": \"{KEY}\", }}")).await;
    assert_eq!(code, 422);
    assert!(!answer.to_string().contains("Canary"), "{answer}");
    assert_eq!(provider.count(), 0);
    // The longest valid key, without a provider: no attempt has been used up.
    let longest = format!("AIza{}", "k".repeat(299));
    for _ in 0..5 {
        let request = daemon
            .post(ROUTE)
            .bearer(daemon.jwt("alice"))
            .json(&json!({ "api_key": longest }));
        assert_eq!(request.await.0, 201);
    }
    assert_eq!(save(&daemon, "alice", KEY).await.0, 429);
    let (_, body) = as_service(&daemon, "alice").await;
    assert_eq!(body["plaintext_key"], longest);
}

/// 5.2 step 3: 400 by the trimmed value; the attempt counts, and the provider is not asked.
#[rstest]
#[tokio::test]
async fn format(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, provider) = start(engine).await;
    let short = format!("AIza{}", " ".repeat(20));
    for key in [
        "aizaSyCanary-0123456789",
        "sk-0123456789-0123456789",
        &short,
        "AIzaSyCan\u{e9}ry-0123456789",
        "AIzaSy Canary 0123456789",
    ] {
        let (code, body) = save(&daemon, "alice", key).await;
        assert_eq!(code, 400, "{key}");
        assert!(body["detail"].is_string());
        assert!(!body.to_string().contains(key), "{body}");
    }
    assert_eq!(provider.count(), 0);
    assert_eq!(save(&daemon, "alice", KEY).await.0, 429);
    assert_eq!(status(&daemon, "alice").await, nothing());
    // 10.29: the trimmed key is checked, masked and stored.
    let (code, body) = save(&daemon, "bob", &format!("  {KEY}\n")).await;
    assert_eq!(
        (code.as_u16(), &body["masked_key"]),
        (201, &json!("AIza...XYZ"))
    );
    assert_eq!(provider.received()[0].header("x-goog-api-key"), KEY);
    assert_eq!(as_service(&daemon, "bob").await.1["plaintext_key"], KEY);
}

/// 5.1: a key whose last check failed.
#[rstest]
#[tokio::test]
async fn a_failed_validation(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, _provider) = start(engine).await;
    assert_eq!(save(&daemon, "alice", KEY).await.0, 201);
    let time = if daemon.is_postgres() {
        "'2026-01-02T03:04:05Z'"
    } else {
        "1767323045000000"
    };
    daemon
        .database
        .execute(&format!(
            "UPDATE user_api_keys SET validation_status = 'failure', last_validated_at = {time}"
        ))
        .await;
    for body in [
        status(&daemon, "alice").await,
        as_service(&daemon, "alice").await.1,
    ] {
        assert_eq!(
            (&body["validation_status"], &body["last_validated_at"]),
            (&json!("failure"), &json!("2026-01-02T03:04:05Z"))
        );
        assert_eq!(body["configured"], true);
    }
}

/// 2.2, 10.1: without a configured service token, no token is accepted, not even an empty one.
#[rstest]
#[tokio::test]
async fn no_service_token(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| {
        config.auth.service_auth_token = RotatingSecret {
            current: Secret::new(""),
            previous: Vec::new(),
        };
    })
    .await;
    let get = |path: &str| daemon.get(path).anonymous().header("X-User-ID", "alice");
    for request in [
        get(CURRENT).header("X-Service-Auth", ""),
        get(CURRENT).header("X-Service-Auth", "x"),
        get("/tasks/").header("Authorization", "Bearer "),
        get("/tasks/").header("Authorization", "Bearer x"),
        get("/tasks/").header("Authorization", "Bearer"),
        get("/tasks/").header("X-Service-Auth", ""),
    ] {
        let (code, body) = request.await;
        assert_eq!(code, 401);
        assert!(body["detail"].is_string(), "{body}");
    }
}

/// 9.1: what is stored is a Fernet token; rows of Python's `cryptography`, and of previous keys, are read.
#[rstest]
#[tokio::test]
async fn at_rest(#[values(Sqlite, Postgres)] engine: Engine) {
    // Written by cryptography 50.0.2 under OLD_KEY.
    const OLD_KEY: &str = "F_Si5OlS5GM_4f_vHZDaTZhjZIRw7YlUbRZnJ5M1BIs=";
    const TOKEN: &str = "gAAAAABrBjyv3oshvZo2QBdqRbBzKR4YIDaHYvh7-RRfUzqdDD7GSuPyq4LpRmgQfGexBmc73WIEqBAPBDFC3AWDPCJ2px5YKO9SEsTvcd1-182UCXfOgBWzWfusMwCL08EybCEOIstj";
    let provider = HttpPeer::answering(Answer::Json(200, json!({ "models": [] }))).await;
    let url = provider.url.parse().unwrap();
    let daemon = Daemon::start_with(engine, |config| {
        config.services.gemini_api_url = Some(url);
        config.auth.encryption_key = RotatingSecret {
            current: Secret::new(ENCRYPTION_KEY),
            previous: vec![Secret::new(OLD_KEY)],
        };
    })
    .await;
    let now = if daemon.is_postgres() {
        "'2026-01-02T03:04:05Z'"
    } else {
        "1767323045000000"
    };
    let insert = |user: &str, token: &str, provider: &str| {
        format!(
            "INSERT INTO user_api_keys (user_id, encrypted_key, provider, created_at, updated_at)
         VALUES ('{user}', '{token}', '{provider}', {now}, {now})"
        )
    };
    daemon
        .database
        .execute(&insert("alice", TOKEN, "gemini"))
        .await;
    daemon
        .database
        .execute(&insert(
            "bob",
            &TOKEN.replace("gAAAAABr", "gAAAAABs"),
            "gemini",
        ))
        .await;
    daemon
        .database
        .execute(&insert("carol", TOKEN, "openai"))
        .await;
    let (code, body) = as_service(&daemon, "alice").await;
    assert_eq!(code, 200);
    assert_eq!(
        body,
        json!({
            "configured": true, "provider": "gemini", "masked_key": null,
            "plaintext_key": "AIzaSyPython-wrote-this-key-0123456789xyz",
            "validation_status": null, "last_validated_at": null,
            "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z",
        })
    );
    // 5.1: a row that cannot be decrypted is 500 in the plain shape, and can be replaced.
    for request in [
        as_service(&daemon, "bob"),
        daemon.get(CURRENT).bearer(daemon.jwt("bob")),
    ] {
        let (code, body) = request.await;
        assert_eq!(code, 500);
        assert!(
            body["detail"].is_string() && body["type"].is_null(),
            "{body}"
        );
    }
    assert_eq!(save(&daemon, "bob", KEY).await.0, 201);
    assert_eq!(as_service(&daemon, "bob").await.1["plaintext_key"], KEY);
    // Only the provider gemini is ever looked up.
    assert_eq!(status(&daemon, "carol").await, nothing());
    let user = todoctl::domain::UserId::new("bob").unwrap();
    let stored = format!("{:?}", daemon.store.api_key(&user).await.unwrap());
    assert!(
        stored.contains("gAAAAA") && !stored.contains(KEY),
        "{stored}"
    );
}

/// 5 and 8: every answer below the path has its headers: errors, 404, 405, preflights too.
#[rstest]
#[tokio::test]
async fn headers_on_every_answer(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, provider) = start(engine).await;
    provider.set(Answer::Json(403, json!({})));
    let preflight = daemon
        .request(Method::OPTIONS, ROUTE)
        .anonymous()
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization, content-type",
        );
    for (request, expected) in [
        (daemon.get(CURRENT).bearer(daemon.jwt("alice")), 200),
        (
            daemon
                .request(Method::HEAD, CURRENT)
                .bearer(daemon.jwt("alice")),
            200,
        ),
        (
            daemon
                .get("/api/user-api-keys/current/")
                .bearer(daemon.jwt("alice")),
            200,
        ),
        (daemon.get(CURRENT).anonymous(), 401),
        (daemon.get(CURRENT).bearer("wrong"), 401),
        (daemon.post(ROUTE).anonymous().body("{"), 401),
        (daemon.delete(CURRENT).anonymous(), 401),
        (daemon.delete(CURRENT).bearer(daemon.jwt("alice")), 404),
        (
            daemon
                .post(ROUTE)
                .bearer(daemon.jwt("alice"))
                .json(&json!({})),
            422,
        ),
        (
            daemon
                .post(ROUTE)
                .bearer(daemon.jwt("alice"))
                .body("x=1")
                .header("Content-Type", "text/plain"),
            415,
        ),
        (
            daemon
                .post(ROUTE)
                .bearer(daemon.jwt("alice"))
                .body(vec![b' '; 2 << 20])
                .header("Content-Type", "application/json"),
            413,
        ),
        (save(&daemon, "alice", KEY), 400),
        (daemon.get(ROUTE).anonymous(), 405),
        (daemon.put(CURRENT).anonymous(), 405),
        // There is no such route, although a client has a caller for it.
        (
            daemon
                .post("/api/user-api-keys/test")
                .bearer(daemon.jwt("alice")),
            404,
        ),
        (daemon.get("/api/user-api-keys//").anonymous(), 404),
        (preflight, 200),
    ] {
        let response = request.header("Origin", ORIGIN).send().await.unwrap();
        let url = response.url().path().to_owned();
        assert_eq!(response.status(), expected, "{url}");
        for (name, value) in [
            (
                "cache-control",
                "no-cache, no-store, must-revalidate, private, max-age=0",
            ),
            ("pragma", "no-cache"),
            ("expires", "0"),
            (
                "strict-transport-security",
                "max-age=31536000; includeSubDomains",
            ),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("x-xss-protection", "1; mode=block"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
            ("access-control-allow-origin", ORIGIN),
            ("access-control-allow-credentials", "true"),
            ("vary", "Origin"),
        ] {
            assert_eq!(header(&response, name), value, "{expected} {url}: {name}");
        }
        for name in [
            "permissions-policy",
            "content-security-policy",
            "x-request-id",
        ] {
            assert!(
                response.headers().contains_key(name),
                "{expected} {url}: {name}"
            );
        }
        let allow = header(&response, "allow").to_owned();
        match (expected, url.as_str()) {
            (405, ROUTE) => assert_eq!(allow, "POST"),
            (405, _) => assert_eq!(allow, "DELETE, GET, HEAD"),
            _ => assert_eq!(allow, ""),
        }
    }
    // Other routes may be cached.
    let tasks = daemon.get("/tasks/").send().await.unwrap();
    assert_eq!(header(&tasks, "pragma"), "");
}

/// 10.36: without its table the answer is 500 and does not contain the statement.
#[rstest]
#[tokio::test]
async fn a_fault_of_the_database(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, _provider) = start(engine).await;
    daemon.database.execute("DROP TABLE user_api_keys").await;
    let (code, body) = daemon.get(CURRENT).bearer(daemon.jwt("alice")).await;
    assert_eq!(
        (code.as_u16(), &body["type"]),
        (500, &json!("database_error"))
    );
    assert!(
        !body.to_string().contains("user_api_keys ") && !body.to_string().contains("SELECT"),
        "{body}"
    );
}
