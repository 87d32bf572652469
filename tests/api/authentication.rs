//! Contract section 2, and 13 for session tokens.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use todoctl::config::Secret;

use crate::api::daemon::{Daemon, JWT_SECRET, OLD_JWT_SECRET, SERVICE_TOKEN, claims, jwt};
use crate::api::tokens::sql;
use crate::support::Engine::{self, Postgres, Sqlite};

async fn with_bearer(daemon: &Daemon, token: &str) -> (u16, Value, Option<String>) {
    let response = daemon
        .get("/tasks/")
        .anonymous()
        .header("Authorization", format!("Bearer {token}"))
        .send()
        .await
        .unwrap();
    let challenge = response
        .headers()
        .get("www-authenticate")
        .map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    (status, response.json().await.unwrap(), challenge)
}

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

/// 2.1: missing credentials are 401 in the plain shape, never 403.
#[rstest]
#[tokio::test]
async fn missing_credentials(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for header in [
        None,
        Some("Basic abc"),
        Some("Bearer"),
        Some("Bearer  "),
        Some(""),
    ] {
        let mut request = daemon.get("/tasks/").anonymous();
        if let Some(header) = header {
            request = request.header("Authorization", header);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401, "{header:?}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        let body: Value = response.json().await.unwrap();
        assert!(body["detail"].is_string(), "{body}");
    }
}

/// 2.1: good tokens, the scheme word in any case, several spaces, the previous secret.
#[rstest]
#[tokio::test]
async fn good_tokens(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let good = claims("alice", daemon.clock.now());
    let token = jwt(&good, JWT_SECRET);
    for header in [format!("Bearer {token}"), format!("bEARER   {token}")] {
        let request = daemon
            .get("/tasks/")
            .anonymous()
            .header("Authorization", header);
        assert_eq!(request.await.0, 200);
    }
    assert_eq!(
        with_bearer(&daemon, &jwt(&good, OLD_JWT_SECRET)).await.0,
        200
    );
    // 10.32: another machine's clock may be a little ahead.
    let ahead = daemon.clock.now().unix_seconds() + 5;
    let skewed = with(&with(&good, "iat", json!(ahead)), "nbf", json!(ahead));
    assert_eq!(with_bearer(&daemon, &jwt(&skewed, JWT_SECRET)).await.0, 200);
}

/// 2.1: invalid tokens; 10.3: a token without `exp` is invalid.
#[rstest]
#[tokio::test]
async fn bad_tokens(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let now = daemon.clock.now();
    let good = claims("alice", now);
    let seconds = now.unix_seconds();
    let expired = with(&good, "exp", json!(seconds - 1));
    let mut bad = vec![
        // Only tokens with a valid signature are reported as expired.
        jwt(&expired, "another-secret-0123456789-0123456789"),
        "abc.def.ghi".to_owned(),
        "not-a-jwt".to_owned(),
        jwt(&good, "another-secret-0123456789-0123456789"),
        // `alg: none`, with the claims of a good token.
        format!(
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.",
            jwt(&good, JWT_SECRET).split('.').nth(1).unwrap()
        ),
        SERVICE_TOKEN.to_owned(),
    ];
    let other_algorithm = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS512),
        &good,
        &jsonwebtoken::EncodingKey::from_secret(JWT_SECRET.as_bytes()),
    );
    bad.push(other_algorithm.unwrap());
    for claims in [
        without(&good, "exp"),
        without(&good, "type"),
        without(&good, "sub"),
        with(&good, "type", json!("refresh")),
        with(&good, "sub", json!("")),
        with(&good, "sub", json!(7)),
        with(&good, "sub", json!("nul\0")),
        with(&good, "sub", json!("x".repeat(256))),
        with(&good, "nbf", json!(seconds + 600)),
        with(&good, "iat", json!(seconds + 600)),
        with(&good, "aud", json!("somebody")),
        with(&good, "exp", json!("soon")),
    ] {
        bad.push(jwt(&claims, JWT_SECRET));
    }
    for token in bad {
        let (status, body, challenge) = with_bearer(&daemon, &token).await;
        assert_eq!(status, 401, "{token}");
        assert_eq!(body["detail"]["error_code"], "invalid_token", "{token}");
        // 1.1 (b): these two keys and no other.
        assert!(body["detail"]["message"].is_string(), "{body}");
        assert_eq!(
            (
                body.as_object().unwrap().len(),
                body["detail"].as_object().unwrap().len()
            ),
            (1, 2),
            "{body}"
        );
        assert_eq!(challenge.as_deref(), Some("Bearer"));
    }
    let (status, body, challenge) = with_bearer(&daemon, &jwt(&expired, JWT_SECRET)).await;
    assert_eq!(
        (status, body["detail"]["error_code"].as_str()),
        (401, Some("token_expired"))
    );
    assert!(body["detail"]["message"].is_string(), "{body}");
    assert_eq!(
        (
            body["detail"].as_object().unwrap().len(),
            challenge.as_deref()
        ),
        (2, Some("Bearer"))
    );
}

/// 2.2: the service token together with `X-User-ID` acts as that user.
#[rstest]
#[tokio::test]
async fn service_identity(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let id = daemon.create_titled("of alice").await;
    let token = jwt(&claims("alice", daemon.clock.now()), JWT_SECRET);
    let own = daemon.get(&format!("/tasks/{id}")).bearer(&token);
    assert_eq!(own.await.0, 200);
    // Presence of X-User-ID selects the mode: a JWT there is refused.
    let mixed = daemon
        .get("/tasks/")
        .bearer(&token)
        .header("X-User-ID", "alice");
    let (status, body) = mixed.await;
    assert_eq!(status, 401);
    assert!(body["detail"].is_string());
    for wrong in ["wrong", "", &SERVICE_TOKEN[1..]] {
        let request = daemon
            .get("/tasks/")
            .bearer(wrong)
            .header("X-User-ID", "alice");
        assert_eq!(request.await.0, 401, "{wrong:?}");
    }
    let no_bearer = daemon
        .get("/tasks/")
        .anonymous()
        .header("X-User-ID", "alice");
    assert_eq!(no_bearer.await.0, 401);
}

/// 10.2, 10.17, 10.18: invalid user ids are client errors; credentials are checked first.
#[rstest]
#[tokio::test]
async fn odd_user_ids(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for user in ["", "  ", &"x".repeat(256)] {
        let (status, body) = daemon.get("/tasks/").user(user).await;
        assert_eq!(status, 400, "{user:?}");
        assert!(body["detail"].is_string());
    }
    assert_eq!(daemon.get("/tasks/").user(&"x".repeat(255)).await.0, 200);
    let not_ascii = daemon
        .get("/tasks/")
        .anonymous()
        .header("Authorization", b"Bearer \xc3\xa4\xff".as_slice())
        .header("X-User-ID", "");
    assert_eq!(not_ascii.await.0, 401);
    let twice = daemon.get("/tasks/").header("X-User-ID", "bob");
    assert_eq!(twice.await.0, 400);
}

/// 13: session tokens are valid wherever a JWT is, until they expire or are revoked.
#[rstest]
#[tokio::test]
async fn session_tokens(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    daemon.create_titled("of alice").await;
    let token = daemon.session("alice", Duration::from_secs(3600)).await;
    let (status, body, _) = with_bearer(&daemon, &token).await;
    assert_eq!(status, 200);
    assert_eq!(body["total"], 1);
    let id = daemon.store.sessions(None).await.unwrap()[0].id;
    assert!(daemon.store.revoke_session(id).await.unwrap());
    assert!(!daemon.store.revoke_session(id).await.unwrap());
    let (status, body, _) = with_bearer(&daemon, &token).await;
    assert_eq!(
        (status, body["detail"]["error_code"].as_str()),
        (401, Some("invalid_token"))
    );
    let expired = daemon.session("bob", Duration::ZERO).await;
    assert_eq!(with_bearer(&daemon, &expired).await.0, 401);
}

/// 13: sessions under the previous secret are valid while it is set; tokens are not stored.
#[rstest]
#[tokio::test]
async fn the_previous_session_secret(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let token = daemon.session("alice", Duration::from_secs(3600)).await;
    let mut config = daemon.config.clone();
    let secrets = &mut config.auth.session_hash_secret;
    let old = std::mem::replace(
        &mut secrets.current,
        Secret::new("another-session-secret-0123456789-abc"),
    );
    let forgotten = daemon.replica_with(config.clone()).await;
    assert_eq!(with_bearer(&forgotten, &token).await.0, 401);
    config.auth.session_hash_secret.previous = vec![old];
    let rotated = daemon.replica_with(config).await;
    assert_eq!(with_bearer(&rotated, &token).await.0, 200);
    let stored = sql(&daemon, "SELECT token_hash FROM todoctl_sessions").await;
    assert_eq!((stored.len(), stored[0].len()), (1, 64));
    let row = sql(
        &daemon,
        "SELECT token_hash || user_id || COALESCE(label, '') FROM todoctl_sessions",
    )
    .await;
    assert!(!row[0].contains(&token), "{row:?}");
}

/// 13: a cookie never authenticates a task route.
#[rstest]
#[tokio::test]
async fn cookies_do_not_count(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let token = daemon.session("alice", Duration::from_secs(3600)).await;
    let request = daemon.get("/tasks/").anonymous().header(
        "Cookie",
        format!("better-auth.session_token={token}; refresh_token={token}"),
    );
    assert_eq!(request.await.0, 401);
}
