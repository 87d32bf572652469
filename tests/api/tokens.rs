//! Contract section 6: refresh and logout; 9.1 for the table that they read.

use reqwest::Response;
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::api::daemon::{Daemon, JWT_SECRET, OLD_JWT_SECRET, SERVICE_TOKEN, claims, jwt};
use crate::api::request::{Request, read};
use crate::support::Engine::{self, Postgres, Sqlite};

/// The table as the sign-in service makes it.
pub const TABLE: &str = r#"CREATE TABLE user_sessions (
    id text PRIMARY KEY, "userId" text NOT NULL, token text NOT NULL UNIQUE,
    "expiresAt" timestamp(3) NOT NULL, "ipAddress" text, "userAgent" text,
    "createdAt" timestamp(3) NOT NULL, "updatedAt" timestamp(3) NOT NULL)"#;

const PAST: &str = "2001-01-01 00:00:00.123";
pub const FUTURE: &str = "2999-01-01 00:00:00.123";

/// Runs a statement without the daemon; returns the first column of its rows.
pub async fn sql(daemon: &Daemon, statement: &str) -> Vec<String> {
    daemon.database.column(statement).await
}

fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

/// Stores a row with this very text as its `token`.
pub async fn store(daemon: &Daemon, token: &str, user: &str, expires_at: &str) {
    sql(
        daemon,
        &format!(
            r#"INSERT INTO user_sessions (id, "userId", token, "expiresAt", "createdAt", "updatedAt")
               VALUES ('{token}', '{user}', '{token}', '{expires_at}', '{PAST}', '{PAST}')"#
        ),
    )
    .await;
}

/// What is left in the table, in order.
async fn tokens(daemon: &Daemon) -> Vec<String> {
    sql(daemon, "SELECT token FROM user_sessions ORDER BY token").await
}

fn refresh(daemon: &Daemon, cookies: &str) -> Request {
    let request = daemon.post("/api/auth/refresh").anonymous();
    if cookies.is_empty() {
        request
    } else {
        request.header("Cookie", cookies)
    }
}

/// Sends, and checks that the answer is a 401 (b) without a challenge.
async fn refused(request: Request) -> String {
    let response = request.send().await.unwrap();
    assert!(!response.headers().contains_key("www-authenticate"));
    assert!(!response.headers().contains_key("set-cookie"));
    let (status, body) = read(response).await;
    assert_eq!(status, 401, "{body}");
    assert!(body["detail"]["message"].is_string(), "{body}");
    body["detail"]["error_code"].as_str().unwrap().to_owned()
}

fn access(daemon: &Daemon) -> String {
    jwt(&claims("alice", daemon.clock.now()), JWT_SECRET)
}

fn claims_of(token: &str) -> Value {
    let key = jsonwebtoken::DecodingKey::from_secret(JWT_SECRET.as_bytes());
    let rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    jsonwebtoken::decode(token, &key, &rules).unwrap().claims
}

async fn logout(daemon: &Daemon, cookies: &str) -> Response {
    let request = daemon.post("/api/auth/logout").bearer(access(daemon));
    let request = if cookies.is_empty() {
        request
    } else {
        request.header("Cookie", cookies)
    };
    request.send().await.unwrap()
}

fn is_logged_out(response: &Response) {
    assert_eq!(response.status(), 200);
    let set: Vec<&str> = response
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(
        set,
        [
            r#"refresh_token=""; HttpOnly; Max-Age=0; Path=/; SameSite=strict; Secure"#,
            r#"refreshToken=""; HttpOnly; Max-Age=0; Path=/; SameSite=strict; Secure"#,
        ]
    );
}

/// 6.1, 10.22, 10.23, 11.4: a good refresh token, by either name, gives an access token as in 2.1.
#[rstest]
#[tokio::test]
async fn refresh_works(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    sql(&daemon, TABLE).await;
    store(&daemon, &hash("good"), "alice", FUTURE).await;
    store(&daemon, &hash("of-bob"), "bob", FUTURE).await;
    for (cookies, user) in [
        ("refresh_token=good", "alice"),
        ("refreshToken=good", "alice"),
        ("a=b; refreshToken=\"good\"; c", "alice"),
        // 10.23: the sign-in service's own name is preferred, unless it is empty.
        ("refreshToken=good; refresh_token=of-bob", "bob"),
        ("refresh_token=; refreshToken=good", "alice"),
    ] {
        let before = daemon.clock.now().unix_seconds();
        let response = refresh(&daemon, cookies).send().await.unwrap();
        assert_eq!(response.status(), 200, "{cookies}");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!response.headers().contains_key("set-cookie"));
        let body: Value = response.json().await.unwrap();
        assert_eq!(body.as_object().unwrap().len(), 1);
        let token = body["access_token"].as_str().unwrap();
        let claims = claims_of(token);
        let issued = claims["iat"].as_i64().unwrap();
        assert!((before..before + 60).contains(&issued));
        assert_eq!(
            claims,
            json!({ "sub": user, "iat": issued, "exp": issued + 1800, "type": "access" })
        );
        let call = daemon.get("/tasks/").bearer(token);
        assert_eq!(call.await.0, 200);
    }
    // No rotation.
    assert_eq!(tokens(&daemon).await.len(), 2);
}

/// 6.1: missing, unknown and expired ones; 9.1: plain values of web sessions never work.
#[rstest]
#[tokio::test]
async fn refresh_is_refused(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    // Without the table every token is unknown.
    assert_eq!(
        refused(refresh(&daemon, "refresh_token=good")).await,
        "invalid_refresh_token"
    );
    sql(&daemon, TABLE).await;
    let good = hash("good");
    store(&daemon, &good, "alice", FUTURE).await;
    store(&daemon, &hash("old"), "alice", PAST).await;
    store(&daemon, "plain", "alice", FUTURE).await;
    store(&daemon, &hash("UPPER").to_uppercase(), "alice", FUTURE).await;
    store(&daemon, &hash("of nobody"), " ", FUTURE).await;
    for cookies in [
        "",
        "refresh_token=",
        "refreshToken=\"\"",
        "refresh-token=good",
        "better-auth.session_token=good",
    ] {
        assert_eq!(
            refused(refresh(&daemon, cookies)).await,
            "missing_refresh_token",
            "{cookies}"
        );
    }
    let longest = "x".repeat(8000);
    for token in [
        "unknown",
        "plain",
        "UPPER",
        "of nobody",
        &good,
        "'",
        "%",
        "good%20",
        &longest,
    ] {
        let request = refresh(&daemon, &format!("refresh_token={token}"));
        assert_eq!(refused(request).await, "invalid_refresh_token", "{token}");
    }
    // A bearer is no refresh token, and the preferred cookie decides.
    assert_eq!(
        refused(refresh(&daemon, "").bearer("good")).await,
        "missing_refresh_token"
    );
    assert_eq!(
        refused(refresh(&daemon, "refresh_token=unknown; refreshToken=good")).await,
        "invalid_refresh_token"
    );
    assert_eq!(tokens(&daemon).await.len(), 5);
    // 10.22: an expired one loses its row; the second time it is unknown.
    assert_eq!(
        refused(refresh(&daemon, "refresh_token=old")).await,
        "refresh_token_expired"
    );
    assert_eq!(
        refused(refresh(&daemon, "refresh_token=old")).await,
        "invalid_refresh_token"
    );
    assert_eq!(tokens(&daemon).await.len(), 4);
    // 7: the metrics.
    assert_eq!(refresh(&daemon, "refresh_token=good").await.0, 200);
    let metrics = daemon.metrics().await;
    for line in [
        "token_refresh_total 1",
        r#"token_refresh_errors_total{reason="missing"} 6"#,
        r#"token_refresh_errors_total{reason="invalid"} 12"#,
        r#"token_refresh_errors_total{reason="expired"} 1"#,
        r#"token_refresh_errors_total{reason="revoked"} 0"#,
    ] {
        assert!(
            metrics.contains(&format!("{line}\n")),
            "{line} is not in\n{metrics}"
        );
    }
}

/// 10.22: a time without a zone is UTC, whatever the session's time zone.
#[rstest]
#[tokio::test]
async fn expiry_is_utc(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    sql(&daemon, TABLE).await;
    if daemon.is_postgres() {
        let name = sql(&daemon, "SELECT current_database()::text").await;
        sql(
            &daemon,
            &format!(
                "ALTER DATABASE {} SET timezone TO 'Pacific/Auckland'",
                name[0]
            ),
        )
        .await;
    }
    let at = |minutes: i64| {
        let moment = daemon.clock.now().to_datetime() + chrono::TimeDelta::minutes(minutes);
        moment.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
    };
    store(&daemon, &hash("soon"), "alice", &at(5)).await;
    store(&daemon, &hash("just"), "alice", &at(-5)).await;
    assert_eq!(refresh(&daemon, "refresh_token=soon").await.0, 200);
    assert_eq!(
        refused(refresh(&daemon, "refresh_token=just")).await,
        "refresh_token_expired"
    );
}

/// 6.2, 10.23: logout deletes the rows of the cookies that are sent, and clears both.
#[rstest]
#[tokio::test]
async fn logout_works(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    // The table may be missing.
    is_logged_out(&logout(&daemon, "refresh_token=one").await);
    sql(&daemon, TABLE).await;
    for token in ["one", "two", "three"] {
        store(&daemon, &hash(token), "bob", FUTURE).await;
    }
    store(&daemon, "plain", "bob", FUTURE).await;
    let bare = logout(&daemon, "").await;
    is_logged_out(&bare);
    let body: Value = bare.json().await.unwrap();
    assert_eq!(body["success"], true);
    assert!(body["message"].is_string());
    assert_eq!(body.as_object().unwrap().len(), 2);
    is_logged_out(&logout(&daemon, "refresh_token=unknown; refreshToken=plain").await);
    assert_eq!(tokens(&daemon).await.len(), 4);
    is_logged_out(&logout(&daemon, "refreshToken=one").await);
    assert_eq!(tokens(&daemon).await.len(), 3);
    is_logged_out(&logout(&daemon, "refreshToken=two; refresh_token=three").await);
    assert_eq!(tokens(&daemon).await, ["plain"]);
}

/// 2.1, 10.10: an access token outlives the sign-out that it was used for.
#[rstest]
#[tokio::test]
async fn logout_leaves_access_tokens(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let token = access(&daemon);
    assert_eq!(daemon.post("/api/auth/logout").bearer(&token).await.0, 200);
    assert_eq!(daemon.get("/tasks/").bearer(&token).await.0, 200);
}

/// 6.2: logout succeeds even if a row cannot be deleted.
#[rstest]
#[tokio::test]
async fn logout_survives_a_failing_table(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    sql(&daemon, "CREATE TABLE user_sessions (id integer)").await;
    is_logged_out(&logout(&daemon, "refresh_token=one").await);
}

/// 2.4, 13: a JWT or a session token, never the service, never a cookie.
#[rstest]
#[tokio::test]
async fn who_may_log_out(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    sql(&daemon, TABLE).await;
    store(&daemon, &hash("one"), "alice", FUTURE).await;
    let post = || {
        daemon
            .post("/api/auth/logout")
            .anonymous()
            .header("Cookie", "refresh_token=one")
    };
    let response = post().send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert!(!response.headers().contains_key("set-cookie"));
    let (status, body) = read(response).await;
    assert_eq!(status, 401);
    assert!(body["detail"].is_string(), "{body}");
    let mut expired = claims("alice", daemon.clock.now());
    expired["exp"] = json!(daemon.clock.now().unix_seconds() - 1);
    for (token, code) in [
        (jwt(&expired, JWT_SECRET), "token_expired"),
        ("one".to_owned(), "invalid_token"),
        (SERVICE_TOKEN.to_owned(), "invalid_token"),
    ] {
        let (status, body) = post().bearer(&token).await;
        assert_eq!(
            (status.as_u16(), body["detail"]["error_code"].as_str()),
            (401, Some(code))
        );
        let (status, _) = post().bearer(&token).header("X-User-ID", "alice").await;
        assert_eq!(status, 401);
    }
    assert_eq!(tokens(&daemon).await.len(), 1);
    let session = daemon
        .session("alice", std::time::Duration::from_secs(60))
        .await;
    assert_eq!(post().bearer(session).await.0, 200);
    assert_eq!(tokens(&daemon).await.len(), 0);
    let previous = jwt(&claims("alice", daemon.clock.now()), OLD_JWT_SECRET);
    assert_eq!(post().bearer(previous).await.0, 200);
}

/// 7: the document describes the requests and answers of these routes.
#[rstest]
#[tokio::test]
async fn documented(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let (_, document) = daemon.get("/openapi.json").anonymous().await;
    for (path, statuses) in [
        (
            "/api/auth/refresh",
            &["200", "401", "429", "500", "503"][..],
        ),
        (
            "/api/auth/logout",
            &["200", "400", "401", "429", "500", "503"],
        ),
    ] {
        let operation = &document["paths"][path]["post"];
        let cookies: Vec<_> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (&one["name"], &one["in"], &one["required"]))
            .collect();
        let cookie = json!("cookie");
        assert_eq!(
            cookies,
            [
                (&json!("refresh_token"), &cookie, &json!(false)),
                (&json!("refreshToken"), &cookie, &json!(false))
            ]
        );
        let documented: Vec<_> = operation["responses"].as_object().unwrap().keys().collect();
        assert_eq!(documented, statuses);
    }
}

/// 1.3, 1.4: both slash forms, and the one method of each.
#[rstest]
#[tokio::test]
async fn forms(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    for path in [
        "/api/auth/refresh",
        "/api/auth/refresh/",
        "/api/auth/logout",
        "/api/auth/logout/",
    ] {
        assert_eq!(daemon.post(path).anonymous().await.0, 401, "{path}");
        // A body is not read, whatever it is.
        assert_eq!(
            daemon.post(path).anonymous().body("{").await.0,
            401,
            "{path}"
        );
        let other = daemon.get(path).anonymous().send().await.unwrap();
        assert_eq!(
            (other.status().as_u16(), &other.headers()["allow"]),
            (405, &"POST".parse().unwrap())
        );
    }
    assert_eq!(daemon.post("/api/auth/sign-in").anonymous().await.0, 404);
}

/// 2.1, 9.3: another lifetime of access tokens is in what is issued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_lifetime() {
    let daemon = Daemon::start_with(Engine::Sqlite, |config| {
        config.auth.access_token_lifetime = std::time::Duration::from_secs(300);
    })
    .await;
    sql(&daemon, TABLE).await;
    store(&daemon, &hash("good"), "alice", FUTURE).await;
    let (_, body) = refresh(&daemon, "refresh_token=good").await;
    let claims = claims_of(body["access_token"].as_str().unwrap());
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        300
    );
}

/// 6.1: without a `JWT_SECRET` tokens cannot be signed: 503.
async fn without_a_secret(daemon: Daemon) {
    sql(&daemon, TABLE).await;
    store(&daemon, &hash("good"), "alice", FUTURE).await;
    for cookies in ["", "refresh_token=good"] {
        let response = refresh(&daemon, cookies).send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"));
        let (status, body) = read(response).await;
        assert_eq!((status.as_u16(), &body["status"]), (503, &json!(503)));
    }
    // 2.1: HS256 tokens are refused then.
    let call = daemon.get("/tasks/").bearer(access(&daemon));
    let (status, body) = call.await;
    assert_eq!(
        (status.as_u16(), body["detail"]["error_code"].as_str()),
        (401, Some("invalid_token"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_secret_sqlite() {
    without_a_secret(
        Daemon::start_with(Engine::Sqlite, |config| config.auth.jwt_secret = None).await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_secret_postgres() {
    without_a_secret(
        Daemon::start_with(Engine::Postgres, |config| config.auth.jwt_secret = None).await,
    )
    .await;
}
