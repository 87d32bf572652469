//! Contract 2 and 13: tokens that the auth server (`AUTH_SERVER_URL`) validates, and requests while
//! it does not answer.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use todoctl::clock::Clock;
use todoctl::domain::Timestamp;

use crate::api::daemon::{
    Daemon, ENCRYPTION_KEY, JWT_SECRET, SERVICE_TOKEN, SESSION_SECRET, claims, jwt,
};
use crate::api::request::read;
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::auth_peer::{AuthPeer, GET_SESSION, JWKS, Mood, TestKey};
use crate::support::eventually;

pub const START: &str = "2031-01-01T00:00:00Z";
const LATER: &str = "2031-02-01T00:00:00.000Z";

/// A daemon with a stopped clock, and its auth server.
pub async fn with_auth_server(engine: Engine) -> (Daemon, AuthPeer) {
    with_auth_server_behind(engine, &[]).await
}

/// The same behind proxies of these networks.
async fn with_auth_server_behind(engine: Engine, proxies: &[&str]) -> (Daemon, AuthPeer) {
    let peer = AuthPeer::start().await;
    let url = Some(peer.url.clone());
    let clock = Clock::fixed(START.parse().unwrap());
    let daemon = Daemon::start_at(engine, clock, |config| {
        config.services.auth_server_url = url;
        let proxies = proxies.iter().map(|network| network.parse().unwrap());
        config.auth.trusted_proxies = proxies.collect();
    })
    .await;
    (daemon, peer)
}

/// Status and body of a list with this bearer value.
pub async fn call(daemon: &Daemon, token: &str) -> (u16, Value) {
    let request = daemon.get("/tasks/").anonymous();
    let (status, body) = request
        .header("Authorization", format!("Bearer {token}"))
        .await;
    (status.as_u16(), body)
}

pub async fn status(daemon: &Daemon, token: &str) -> u16 {
    call(daemon, token).await.0
}

/// Checks that a token is refused as invalid, with a challenge.
pub async fn refused(daemon: &Daemon, token: &str) {
    let request = daemon.get("/tasks/").bearer(token);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["www-authenticate"], "Bearer", "{token}");
    let (status, body) = read(response).await;
    assert_eq!(
        (status.as_u16(), body["detail"]["error_code"].as_str()),
        (401, Some("invalid_token")),
        "{token}"
    );
}

/// Checks that the answer is 503: the token could not be validated. Returns its `Retry-After`.
pub async fn unanswered(daemon: &Daemon, token: &str) -> u32 {
    let request = daemon.get("/tasks/").bearer(token);
    let response = request.send().await.unwrap();
    assert!(!response.headers().contains_key("www-authenticate"));
    let wait: u32 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(wait > 0);
    let (status, body) = read(response).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["type"], "service_unavailable");
    assert!(!body.to_string().contains(token), "{body}");
    assert_eq!(body["retry_after"], wait);
    wait
}

/// Moves the daemon's clock to this many seconds after the start.
pub fn at(daemon: &Daemon, seconds: u64) {
    let start: Timestamp = START.parse().unwrap();
    daemon
        .clock
        .set(start.saturating_add(Duration::from_secs(seconds)));
}

/// A token that `JWT_SECRET` signed.
pub fn hs256(daemon: &Daemon) -> String {
    jwt(&claims("alice", daemon.clock.now()), JWT_SECRET)
}

/// 13, 11.3: the auth server names the user of an opaque token that is not todoctl's.
#[rstest]
#[tokio::test]
async fn opaque_tokens(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    daemon.create_titled("of alice").await;
    let token = "Hk3Lq9.p+Q/w0==";
    peer.vouch(token, "alice", LATER);
    let (status, body) = call(&daemon, token).await;
    assert_eq!((status, &body["total"]), (200, &json!(1)));
    assert_eq!(peer.last_forwarded(), "127.0.0.1");
    assert_eq!(
        peer.last_cookies(),
        format!("better-auth.session_token={token}; __Secure-better-auth.session_token={token}")
    );
    refused(&daemon, "nobody-knows-it").await;
    assert_eq!(peer.asked(GET_SESSION), 2);
    // Valid wherever a JWT is (6.2).
    let logout = daemon.post("/api/auth/logout").bearer(token);
    assert_eq!(logout.await.0, 200);
    // The auth server is not asked about todoctl's own sessions.
    let own = daemon.session("alice", Duration::from_secs(60)).await;
    assert_eq!(call(&daemon, &own).await.0, 200);
    assert_eq!(peer.asked(GET_SESSION), 2);
}

/// 13: cookies authenticate no task route; 2.2: the auth server never gets the service token.
#[rstest]
#[tokio::test]
async fn not_sent_on(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    peer.vouch("good", "alice", LATER);
    let cookies = "better-auth.session_token=good; __Secure-better-auth.session_token=good";
    let request = daemon.get("/tasks/").anonymous().header("Cookie", cookies);
    assert_eq!(request.await.0, 401);
    refused(&daemon, SERVICE_TOKEN).await;
    // Values that a cookie cannot have, and one that would start another cookie.
    for token in [
        "a;b",
        "x; better-auth.session_token=good",
        "a,b",
        "a\"b",
        "a\\b",
        "good good",
        &"x".repeat(5000),
    ] {
        refused(&daemon, token).await;
    }
    let not_ascii = daemon
        .get("/tasks/")
        .anonymous()
        .header("Authorization", b"Bearer g\xc3\xb6\xff".as_slice());
    assert_eq!(not_ascii.await.0, 401);
    // Session tokens of todoctl that are unknown, and its secrets, damaged and in part.
    let changed = SERVICE_TOKEN.replacen('0', "1", 1);
    for token in [
        "todo_0123456789abcdef",
        "TODO_0123456789abcdef",
        "'todo_0123456789abcdef'",
        &SERVICE_TOKEN[1..],
        &SERVICE_TOKEN[..20],
        &changed,
        &SERVICE_TOKEN.to_uppercase(),
        &format!("SERVICE_AUTH_TOKEN={SERVICE_TOKEN}"),
        &format!("{JWT_SECRET}x"),
        SESSION_SECRET,
        &ENCRYPTION_KEY[..30],
        &format!("{}=", hs256(&daemon)),
    ] {
        refused(&daemon, token).await;
    }
    // A token in the form of a JWT is not a session token.
    refused(&daemon, "aaa.bbb.ccc").await;
    assert_eq!(peer.asked(GET_SESSION), 0);
}

/// 13: a valid session is cached for 60 s but not beyond its end, an invalid one for 5 s.
#[rstest]
#[tokio::test]
async fn remembered_answers(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    peer.vouch("good", "alice", LATER);
    for _ in 0..3 {
        assert_eq!(status(&daemon, "good").await, 200);
    }
    peer.forget("good");
    at(&daemon, 59);
    assert_eq!(status(&daemon, "good").await, 200);
    assert_eq!(peer.asked(GET_SESSION), 1);
    at(&daemon, 60);
    refused(&daemon, "good").await;
    peer.vouch("good", "alice", LATER);
    at(&daemon, 64);
    refused(&daemon, "good").await;
    assert_eq!(peer.asked(GET_SESSION), 2);
    at(&daemon, 65);
    assert_eq!(status(&daemon, "good").await, 200);
    assert_eq!(peer.asked(GET_SESSION), 3);

    peer.vouch("short", "alice", "2031-01-01T00:01:15.000Z");
    assert_eq!(status(&daemon, "short").await, 200);
    at(&daemon, 74);
    assert_eq!(status(&daemon, "short").await, 200);
    at(&daemon, 75);
    refused(&daemon, "short").await;
    assert_eq!(peer.asked(GET_SESSION), 5);
    // Setting the clock back does not extend the caching.
    at(&daemon, 0);
    assert_eq!(status(&daemon, "good").await, 200);
    assert_eq!(peer.asked(GET_SESSION), 6);
}

/// 13: concurrent requests with one token share one query and its failure.
#[rstest]
#[tokio::test]
async fn shared_questions(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    peer.vouch("good", "alice", LATER);
    for (mood, expected) in [
        (Mood::Slow(Duration::from_millis(700)), 200),
        (Mood::Hangs, 503),
    ] {
        peer.be(mood);
        let asked = peer.asked(GET_SESSION);
        let token = if expected == 200 { "good" } else { "another" };
        let calls = (0..20).map(|_| status(&daemon, token));
        let started = Instant::now();
        let answers = futures_util::future::join_all(calls).await;
        assert_eq!(answers, [expected; 20]);
        assert_eq!(peer.asked(GET_SESSION), asked + 1);
        assert!(started.elapsed() < Duration::from_secs(6));
    }
    // A failure is not cached.
    peer.be(Mood::Fine);
    refused(&daemon, "another").await;
}

/// 13: without a proper answer of the auth server: 503 with Retry-After, not 401.
#[rstest]
#[tokio::test]
async fn no_proper_answer(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    for (round, mood) in [
        Mood::Garbage,
        Mood::OtherJson,
        Mood::Huge,
        Mood::HangsUp,
        Mood::Fails(500),
        Mood::Fails(502),
        Mood::Fails(404),
        Mood::Fails(302),
        Mood::Fails(429),
        Mood::Fails(401),
    ]
    .into_iter()
    .enumerate()
    {
        // Far enough apart that the circuit breaker allows each query.
        at(&daemon, 10 * round as u64);
        peer.be(mood);
        let asked = peer.asked(GET_SESSION);
        unanswered(&daemon, "good").await;
        assert_eq!(peer.asked(GET_SESSION), asked + 1, "{mood:?}");
    }
    assert_eq!(status(&daemon, &hs256(&daemon)).await, 200);
    let metrics = daemon.metrics().await;
    assert!(
        metrics.contains(r#"auth_server_requests_total{outcome="failed",question="session"} 10"#),
        "{metrics}"
    );
    assert!(
        metrics.contains(r#"auth_attempts_total{method="session",outcome="failed"} 10"#),
        "{metrics}"
    );
}

/// 13: after five failures in a row no query is sent for 5 s; then one probe.
#[rstest]
#[tokio::test]
async fn breaker(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    peer.vouch("good", "alice", LATER);
    // A client error does not count as a failure of the server.
    peer.be(Mood::Fails(400));
    for number in 0..10 {
        unanswered(&daemon, &format!("odd-{number}")).await;
    }
    peer.be(Mood::Fails(500));
    for number in 0..5 {
        unanswered(&daemon, &format!("token-{number}")).await;
    }
    assert_eq!(peer.asked(GET_SESSION), 15);
    peer.be(Mood::Fine);
    unanswered(&daemon, "good").await;
    at(&daemon, 4);
    unanswered(&daemon, "good").await;
    assert_eq!(peer.asked(GET_SESSION), 15);
    // The probe fails, so the pause starts again.
    at(&daemon, 5);
    peer.be(Mood::Fails(500));
    unanswered(&daemon, "good").await;
    peer.be(Mood::Fine);
    at(&daemon, 9);
    unanswered(&daemon, "good").await;
    assert_eq!(peer.asked(GET_SESSION), 16);
    at(&daemon, 10);
    assert_eq!(status(&daemon, "good").await, 200);
    refused(&daemon, "other").await;
    assert_eq!(peer.asked(GET_SESSION), 18);
}

/// 13: a 429 is honoured for the address that it is about, and does not open the breaker.
#[rstest]
#[tokio::test]
async fn a_limit_of_the_server(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server_behind(engine, &["127.0.0.0/8"]).await;
    peer.vouch("good", "alice", LATER);
    let from = async |address: &str, token: &str| {
        let request = daemon.get("/tasks/").bearer(token);
        request.header("X-Forwarded-For", address).await.0.as_u16()
    };
    for (second, header) in [(0, "retry-after"), (100, "x-retry-after")] {
        at(&daemon, second);
        peer.be(Mood::Limits(header, 30));
        let asked = peer.asked(GET_SESSION);
        assert_eq!(unanswered(&daemon, "one").await, 30);
        peer.be(Mood::Fine);
        for number in 0..6 {
            assert_eq!(unanswered(&daemon, &format!("more-{number}")).await, 30);
        }
        at(&daemon, second + 29);
        assert_eq!(unanswered(&daemon, "good").await, 1);
        assert_eq!(peer.asked(GET_SESSION), asked + 1);
        // Somebody else's questions are not affected.
        let address = format!("198.51.100.{}", second + 1);
        assert_eq!(from(&address, "good").await, 200);
        assert_eq!(peer.last_forwarded(), address);
        at(&daemon, second + 30);
        peer.forget("good");
        refused(&daemon, "other").await;
        assert_eq!(peer.asked(GET_SESSION), asked + 3);
        at(&daemon, second + 99);
        refused(&daemon, "good").await;
        peer.vouch("good", "alice", LATER);
    }
}

/// Beyond `AUTH_FAILURES_PER_MINUTE` nobody is asked about a token that was not good before.
#[rstest]
#[tokio::test]
async fn exhausted_addresses(#[values(Sqlite, Postgres)] engine: Engine) {
    let peer = AuthPeer::start().await;
    let url = Some(peer.url.clone());
    let daemon = Daemon::start_with(engine, |config| {
        config.services.auth_server_url = url;
        config.auth.failures_per_minute = 3;
    })
    .await;
    let own = daemon.session("alice", Duration::from_secs(600)).await;
    let unseen = daemon.session("bob", Duration::from_secs(600)).await;
    let later = daemon.clock.now().saturating_add(Duration::from_secs(600));
    peer.vouch("good", "alice", &later.to_string());
    for token in ["good", &own] {
        assert_eq!(status(&daemon, token).await, 200);
    }
    for number in 0..3 {
        refused(&daemon, &format!("wrong-{number}")).await;
    }
    let asked = (peer.asked(GET_SESSION), peer.asked(JWKS));
    let key = TestKey::ed25519();
    let signed = key.sign(&json!({ "sub": "alice", "exp": 4_000_000_000_i64 }));
    for token in ["wrong-4", "todo_0123", &unseen, &signed] {
        let (status, body) = call(&daemon, token).await;
        assert_eq!(status, 429, "{token}: {body}");
    }
    let refresh = daemon.post("/api/auth/refresh").anonymous();
    assert_eq!(refresh.header("Cookie", "refresh_token=x").await.0, 429);
    assert_eq!((peer.asked(GET_SESSION), peer.asked(JWKS)), asked);
    // What was good before, and what needs no question, is let in.
    for token in ["good", &own, &hs256(&daemon)] {
        assert_eq!(status(&daemon, token).await, 200, "{token}");
    }
    assert_eq!(daemon.get("/tasks/").await.0, 200);
    // A session that was good and is not any more is looked up, and refused.
    daemon.store.revoke_session(1).await.unwrap();
    let (status, _) = call(&daemon, &own).await;
    assert_eq!(status, 429);
}

/// 2.2: the right service token without `X-User-ID` is told what is missing.
#[rstest]
#[tokio::test]
async fn a_lonely_service_token(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| config.auth.failures_per_minute = 1).await;
    for (method, path, word) in [
        ("GET", "/tasks/", "X-User-ID"),
        ("GET", "/notifications/", "X-User-ID"),
        ("DELETE", "/api/user-api-keys/current", "not accepted"),
    ] {
        let request = match method {
            "GET" => daemon.get(path),
            _ => daemon.delete(path),
        };
        let (status, body) = request.bearer(SERVICE_TOKEN).await;
        assert_eq!(status, 401);
        assert_eq!(body["detail"]["error_code"], "invalid_token");
        let message = body["detail"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{message}");
    }
    let (_, body) = call(&daemon, "another").await;
    assert_eq!(body["detail"]["message"], "Invalid token");
}

/// 13: while the auth server hangs, other callers are answered at once, and those who need it
/// within seconds.
#[rstest]
#[tokio::test]
async fn a_hanging_server_does_not_delay_others(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    peer.be(Mood::Hangs);
    let session = daemon.session("alice", Duration::from_secs(60)).await;
    let bearer = hs256(&daemon);
    let waiting = async {
        let started = Instant::now();
        let calls: Vec<String> = (0..100).map(|number| format!("token-{number}")).collect();
        let calls = calls.iter().map(|token| status(&daemon, token));
        assert_eq!(futures_util::future::join_all(calls).await, [503; 100]);
        (started.elapsed(), peer.asked(GET_SESSION))
    };
    let others = async {
        eventually("twenty callers wait", async || {
            peer.asked(GET_SESSION) >= 20
        })
        .await;
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            for token in [&bearer, &session] {
                let started = Instant::now();
                assert_eq!(status(&daemon, token).await, 200);
                slowest = slowest.max(started.elapsed());
            }
        }
        slowest
    };
    let ((all, asked), slowest) = tokio::join!(waiting, others);
    assert!(slowest < Duration::from_millis(1900), "{slowest:?}");
    assert!(all < Duration::from_secs(6), "{all:?}");
    // 32 at once, and up to four more that get a permit before the fifth failure.
    assert!(asked <= 36, "{asked}");
    // The circuit breaker is open now: requests do not wait.
    let started = Instant::now();
    unanswered(&daemon, "one-more").await;
    assert!(started.elapsed() < Duration::from_millis(1900));
}

/// 11.3, 2.1: without `AUTH_SERVER_URL` an opaque token is invalid: 401, as JSON.
#[rstest]
#[tokio::test]
async fn without_auth_server(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start(engine).await;
    let now = daemon.clock.now().unix_seconds();
    let claims = json!({ "sub": "alice", "iat": now, "exp": now + 600, "iss": daemon.base, "type": "access" });
    refused(&daemon, "Hk3Lq9.p+Q/w0==").await;
    for key in [TestKey::ed25519(), TestKey::es256(), TestKey::rs256()] {
        refused(&daemon, &key.sign(&claims)).await;
    }
}

/// 13: nothing listens at the auth server's address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_server_is_gone() {
    let url = AuthPeer::start().await.url.clone();
    let daemon = Daemon::start_with(Engine::Sqlite, |config| {
        config.services.auth_server_url = Some(url);
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    unanswered(&daemon, "opaque").await;
    let now = daemon.clock.now().unix_seconds();
    let claims = json!({ "sub": "alice", "exp": now + 600 });
    unanswered(&daemon, &TestKey::ed25519().sign(&claims)).await;
    assert_eq!(status(&daemon, &hs256(&daemon)).await, 200);
}
