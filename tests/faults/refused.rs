//! What the daemon refuses although clients are right to ask: pages, bodies, sessions, keys.

use reqwest::blocking::{Client, RequestBuilder};
use serde_json::json;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults, said};
use crate::support::auth_peer::{AuthPeer, TestKey};
use crate::support::blocking_http_client;

const ERRORS: &str = "daemon.errors";

/// The daemon still has to be restarted.
const RESTART: After = After::Typed("warn");

faults! {
    OTHER_PAGE = Fault {
        title: "CORS_ORIGINS does not have the page that calls the API",
        symptom: Symptom::Risk("browsers show users of that page nothing"),
        check: ERRORS,
        outcome: "warn",
        after: RESTART,
    };
    SMALL_BODIES = Fault {
        title: "MAX_BODY_BYTES is smaller than ordinary requests",
        symptom: Symptom::Risk("long tasks are answered with 413"),
        check: ERRORS,
        outcome: "warn",
        after: RESTART,
    };
    OTHER_SESSION_SECRET = Fault {
        title: "SESSION_HASH_SECRET was replaced, and its old value is not kept",
        symptom: Symptom::Risk("every session token is answered with 401"),
        check: "daemon.sessions",
        outcome: "warn",
        after: After::Person("nobody else has the old value"),
    };
    FOREIGN_KEYS = Fault {
        title: "Clients send tokens of another auth server",
        symptom: Symptom::Risk("their tokens are answered with 401"),
        check: ERRORS,
        outcome: "warn",
        after: After::Person("only a person knows which auth server is the right one"),
    };
    PREFIX = Fault {
        title: "A proxy does not take its prefix off the path",
        symptom: Symptom::Risk("every request is answered with 404"),
        check: ERRORS,
        outcome: "warn",
        after: PROXY,
    };
    NO_AUTHORIZATION = Fault {
        title: "A proxy does not pass Authorization on",
        symptom: Symptom::Risk("every request is answered with 401"),
        check: ERRORS,
        outcome: "warn",
        after: PROXY,
    };
    ADDED_USER_ID = Fault {
        title: "A proxy adds X-User-ID to the requests of users",
        symptom: Symptom::Risk("users are answered with 401"),
        check: ERRORS,
        outcome: "warn",
        after: PROXY,
    };
    EXPIRED_TOKENS = Fault {
        title: "Clients send expired tokens and get no new ones",
        symptom: Symptom::Risk("users are answered with 401"),
        check: ERRORS,
        outcome: "warn",
        after: After::Person("the clients have to be corrected, or a clock"),
    };
}

/// The daemon is well, and something in front of it is not.
const PROXY: After = After::Person("the proxy or the client has to be corrected");

/// The statuses of `count` equal requests.
pub fn asked(count: usize, request: impl Fn(&Client) -> RequestBuilder + Sync) -> Vec<u16> {
    let ask = || {
        let client = blocking_http_client();
        let ask = |_| request(&client).send().unwrap().status().as_u16();
        (0..count).map(ask).collect()
    };
    std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
}

fn with_token(base: &str, token: &str, count: usize) -> Vec<u16> {
    let url = format!("{base}/tasks/");
    asked(count, |client| client.get(&url).bearer_auth(token))
}

fn preflights(base: &str, origin: &str, count: usize) -> Vec<u16> {
    let url = format!("{base}/tasks/");
    asked(count, |client| {
        let request = client.request(reqwest::Method::OPTIONS, &url);
        request
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_bodies() {
    let mut scene = Scene::sqlite().await;
    scene.set("CORS_ORIGINS", "https://app.example.com");
    let base = scene.start_at_its_port();
    assert_eq!(preflights(&base, "https://www.example.com", 3), [400; 3]);
    // Foreign pages try now and then, and these are no origins.
    assert_eq!(preflights(&base, "https://evil.example.org", 9), [400; 9]);
    for origin in ["null", "https://$(canary)", "https://a.example/x"] {
        preflights(&base, origin, 10);
    }
    assert_eq!(preflights(&base, "https://app.example.com", 3), [200; 3]);
    scene.proves(&OTHER_PAGE).await;
    let origins = scene.get("CORS_ORIGINS").unwrap();
    let both = "https://app.example.com,https://www.example.com";
    assert_eq!(origins.trim_matches('\''), both);
    let detail = scene.doctor(ERRORS).detail(ERRORS).to_owned();
    assert!(!detail.contains("canary"), "{detail}");

    // One that nobody here knows is not allowed by pasting.
    preflights(&base, "https://evil.example.org", 1);
    let report = scene.doctor(ERRORS);
    report.says(ERRORS, "warn", "only if that page is yours");
    let remedy = report.check(ERRORS)["remedy"].as_str().unwrap().to_owned();
    let typed = remedy.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(typed.count(), 0, "{remedy}");

    scene.stop();
    scene.set("MAX_BODY_BYTES", "1024");
    let base = scene.start_at_its_port();
    assert_eq!(preflights(&base, "https://www.example.com", 1), [200]);
    let url = format!("{base}/tasks/");
    let service_token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let create = |client: &Client| {
        let request = client.post(&url).bearer_auth(&service_token);
        let body =
            json!({ "title": "x", "description": "x".repeat(1000), "more": "x".repeat(100) });
        request.header("X-User-ID", "you").json(&body)
    };
    assert_eq!(asked(10, create), [413; 10]);
    scene.proves(&SMALL_BODIES).await;
    assert_eq!(scene.get("MAX_BODY_BYTES").as_deref(), Some("1048576"));
    scene.stop();
    scene.start_at_its_port();
    scene.doctor(ERRORS).says(ERRORS, "pass", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_secret_that_was_replaced() {
    let mut scene = Scene::sqlite().await;
    let created = scene.todoctl(&["session", "create", "--user", "me"]);
    let token = String::from_utf8(created.stdout).unwrap();
    let token = token.trim();
    let old = scene.get("SESSION_HASH_SECRET").unwrap();
    scene.set("SESSION_HASH_SECRET", &"a1b2c3d4e5f60718".repeat(4));
    let base = scene.start_at_its_port();
    assert_eq!(with_token(&base, token, 3), [401; 3]);
    scene.proves(&OTHER_SESSION_SECRET).await;
    scene.stop();
    scene.set("SESSION_HASH_SECRET_PREVIOUS", &old);
    let base = scene.start_at_its_port();
    assert_eq!(with_token(&base, token, 1), [200]);
    scene.proves_gone(&OTHER_SESSION_SECRET);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_does_to_requests() {
    let mut scene = Scene::sqlite().await;
    // {"alg":"HS256"}, {}
    let token = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA";
    let base = scene.start_at_its_port();
    let url = format!("{base}/api/tasks/");
    let below = asked(10, |client| client.get(&url).bearer_auth(token));
    assert_eq!(below, [404; 10]);
    scene.proves(&PREFIX).await;
    let url = format!("{base}/tasks/");
    let without = asked(10, |client| {
        client.get(&url).basic_auth("user", Some("canary"))
    });
    assert_eq!(without, [401; 10]);
    scene.proves(&NO_AUTHORIZATION).await;
    let added = |client: &Client| {
        client
            .get(&url)
            .bearer_auth(token)
            .header("X-User-ID", "me")
    };
    assert_eq!(asked(10, added), [401; 10]);
    scene.proves(&ADDED_USER_ID).await;
    for (fault, said) in [
        (&PREFIX, "the right path below a prefix (404) (/api;"),
        (&NO_AUTHORIZATION, "no Authorization: Bearer"),
        (&ADDED_USER_ID, "had a user's token"),
    ] {
        let detail = scene.doctor(fault.check).detail(fault.check).to_owned();
        assert!(detail.contains(said), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_another_auth_server() {
    let mut scene = Scene::sqlite().await;
    let (peer, other) = (AuthPeer::start().await, AuthPeer::start().await);
    let (key, foreign) = (TestKey::ed25519(), TestKey::next_ed25519());
    peer.publish(&[&key]);
    scene.set("AUTH_SERVER_URL", &peer.origin());
    let base = scene.start_at_its_port();
    let now = todoctl::clock::Clock::system().now().unix_seconds();
    let claims = |expires: i64, issuer: &str| json!({ "sub": "me", "iat": now - 3600, "exp": now + expires, "iss": issuer });
    let staging = foreign.sign(&claims(600, &other.origin()));
    assert_eq!(with_token(&base, &staging, 12), [401; 12]);
    scene.proves(&FOREIGN_KEYS).await;
    let said = scene.doctor(ERRORS).detail(ERRORS).to_owned();
    assert!(
        said.contains(&format!("{} does not publish", peer.origin())),
        "{said}"
    );
    scene.stop();

    let base = scene.start_at_its_port();
    let old = key.sign(&claims(-60, &peer.origin()));
    assert_eq!(with_token(&base, &old, 12), [401; 12]);
    scene.proves(&EXPIRED_TOKENS).await;
    // Most clients get new ones.
    let new = key.sign(&claims(600, &peer.origin()));
    assert_eq!(with_token(&base, &new, 2), [200; 2]);
    scene.proves_gone(&EXPIRED_TOKENS);
}

/// As behind a proxy with TLS, or with a slash at its end.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_auth_server_calls_itself() {
    let mut scene = Scene::sqlite().await;
    let peer = AuthPeer::start().await;
    let key = TestKey::ed25519();
    peer.publish(&[&key]);
    scene.set("AUTH_SERVER_URL", &peer.origin());
    let now = todoctl::clock::Clock::system().now().unix_seconds();
    let token = |issuer: Option<&str>| {
        key.sign(&json!({ "sub": "me", "iat": now, "exp": now + 600, "iss": issuer }))
    };
    let slash = format!("{}/", peer.origin());
    for issuer in ["https://auth.example.com", &slash, &peer.origin()] {
        let base = scene.start_at_its_port();
        let token = token(Some(issuer));
        assert_eq!(with_token(&base, &token, 12), [401; 12]);
        let report = scene.doctor(ERRORS);
        report.says(ERRORS, "warn", "todoctl config ");
        let remedy = report.check(ERRORS)["remedy"].as_str().unwrap();
        assert!(scene.type_in(remedy).status.success(), "{remedy}");
        scene.stop();
        let base = scene.start_at_its_port();
        assert_eq!(with_token(&base, &token, 2), [200; 2]);
        scene.doctor(ERRORS).says(ERRORS, "pass", "");
        scene.stop();
    }
    assert_eq!(scene.get("AUTH_ISSUER"), None);
    let base = scene.start_at_its_port();
    assert_eq!(with_token(&base, &token(None), 12), [401; 12]);
    let report = scene.doctor(ERRORS);
    report.says(ERRORS, "warn", "write its address into iss");
    assert!(report.detail(ERRORS).contains("no address as their issuer"));
}

/// The daemon is started in a shell that has the secret from before it was changed in `.env`.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_shell() {
    let mut scene = Scene::sqlite().await;
    let right = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let export = "export SERVICE_AUTH_TOKEN=0f1e2d3c4b5a69780f1e2d3c4b5a6978";
    let base = scene.start_by(&format!("{export}; exec todoctl serve"));
    let url = format!("{base}/tasks/");
    let service = |client: &Client| {
        client
            .get(&url)
            .bearer_auth(&right)
            .header("X-User-ID", "me")
    };
    assert_eq!(asked(12, service), [401; 12]);
    let doctor = format!("{export}; todoctl doctor --only daemon.errors || true");
    let printed = said(&scene.type_in(&doctor));
    for text in [
        "the environment has another SERVICE_AUTH_TOKEN than the .env file",
        "fix: unset SERVICE_AUTH_TOKEN",
    ] {
        assert!(printed.contains(text), "{printed}");
    }
}
