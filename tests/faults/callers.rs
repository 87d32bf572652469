//! Some of the callers are refused, and others are served: tokens, paths, headers, bodies.

use reqwest::blocking::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::refused::asked;
use crate::support::auth_peer::{AuthPeer, TestKey};

const ERRORS: &str = "daemon.errors";

const PERSON: After = After::Person("the client has to be corrected, or what is in front");

faults! {
    HALF_OF_CALLERS = Fault {
        title: "One of two services, sign-in instances or clients has another configuration",
        symptom: Symptom::Risk("half of the requests are answered with 401 or 404"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    HALF_OF_SESSIONS = Fault {
        title: "SESSION_HASH_SECRET_PREVIOUS was removed while its sessions are used",
        symptom: Symptom::Risk("the older session tokens are answered with 401"),
        check: "daemon.sessions",
        outcome: "warn",
        after: After::Person("nobody else has the old value"),
    };
    REFUSED_WRITES = Fault {
        title: "A gateway or a client sends writes that cannot be read",
        symptom: Symptom::Risk("they are answered with 4xx"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    REFUSED_HEADERS = Fault {
        title: "A proxy or a client sends headers and cookies that are refused",
        symptom: Symptom::Risk("requests are answered with 400, 401 or 431"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    OTHER_DATABASE_BEHIND = Fault {
        title: "A load balancer leads to two daemons with a database each",
        symptom: Symptom::Risk("tasks that one of them has are 404 at the other"),
        check: "daemon.database",
        outcome: "warn",
        after: After::Person("one of the daemons has to be stopped, and its tasks brought over"),
    };
    OTHER_KEY_UNDER_THE_ID = Fault {
        title: "The auth server signs with another key than it publishes under that id",
        symptom: Symptom::Risk("its tokens are answered with 401"),
        check: ERRORS,
        outcome: "warn",
        after: After::Person("the auth server has to be restarted, or a cache emptied"),
    };
}

/// A JWT that is valid for this user, signed with `secret`.
fn jwt(secret: &str, lifetime: i64) -> String {
    let now = todoctl::clock::Clock::system().now().unix_seconds();
    let claims = json!({ "sub": "me", "iat": now - 3600, "exp": now + lifetime, "type": "access" });
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// A service's request.
fn service(client: &Client, url: &str, token: &str) -> RequestBuilder {
    client.get(url).bearer_auth(token).header("X-User-ID", "me")
}

/// What `/status` says, which has nothing of what clients sent.
fn status(base: &str) -> Value {
    let url = format!("{base}/status");
    let ask = || {
        let client = crate::support::blocking_http_client();
        client.get(url).send().unwrap().text().unwrap()
    };
    let text = std::thread::scope(|scope| scope.spawn(ask).join().unwrap());
    assert!(!text.contains("canary"), "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A task that was deleted is no sign of another database.
#[tokio::test(flavor = "multi_thread")]
async fn ids_that_another_database_has_given() {
    const CHECK: &str = "daemon.database";
    for mut scene in [Scene::sqlite().await, Scene::postgres().await] {
        if scene.database.is_some() {
            scene.sql("SELECT setval('tasks_id_seq', 13)").await;
        } else {
            let given = "UPDATE sqlite_sequence SET seq = 13 WHERE name = 'tasks'";
            sqlite(&scene.file(), given).await;
        }
        let base = scene.start_at_its_port();
        let missing = |id: i64| assert_eq!(Scene::ask(&base, "GET", &format!("/tasks/{id}")), 404);
        (2..=13).for_each(missing);
        scene.doctor(CHECK).says(CHECK, "pass", "");
        (14..=25).for_each(missing);
        scene.proves(&OTHER_DATABASE_BEHIND).await;
        says(&scene, CHECK, &["12 of the newest 24", "from 14 to 25"]);
    }
}

fn says(scene: &Scene, check: &str, said: &[&str]) {
    let report = scene.doctor(check);
    let detail = report.detail(check);
    for said in said {
        assert!(detail.contains(said), "{said:?} is not in {detail:?}");
    }
    assert!(!detail.contains("canary"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_callers() {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let secret = scene.get("JWT_SECRET").unwrap();
    let (good, bad) = (jwt(&secret, 600), jwt(&format!("x{secret}"), 600));
    let user = |client: &Client, token: &str| client.get(&url).bearer_auth(token);
    // Scanners, a bot with wrong tokens, one client with a few old ones, and tokens that are
    // refreshed when they have expired.
    let scan = |client: &Client| client.get(format!("{base}/wp-login.php?canary"));
    assert_eq!(asked(40, scan), [404; 40]);
    assert_eq!(asked(40, |client| user(client, "canary")), [401; 40]);
    assert_eq!(asked(9, |client| user(client, &bad)), [401; 9]);
    let old = jwt(&secret, -60);
    assert_eq!(asked(11, |client| user(client, &old)), [401; 11]);
    assert_eq!(asked(12, |client| user(client, &good)), [200; 12]);
    assert_eq!(asked(12, |client| service(client, &url, &token)), [200; 12]);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");

    let quoted = format!("\"{token}\"");
    assert_eq!(asked(12, |client| user(client, &quoted)), [401; 12]);
    let other = "canary0123456789".repeat(4);
    assert_eq!(asked(12, |client| service(client, &url, &other)), [401; 12]);
    assert_eq!(asked(3, |client| user(client, &bad)), [401; 3]);
    let below = format!("{base}/api/v1/tasks/?search=canary");
    assert_eq!(
        asked(12, |client| service(client, &below, &token)),
        [404; 12]
    );
    scene.proves(&HALF_OF_CALLERS).await;
    says(
        &scene,
        ERRORS,
        &[
            "12 of 24 requests of services had another service token",
            "12 of 24 user tokens had a wrong signature",
            "12 of 24 bearer tokens held a part of a secret or of a token of this service: quotes",
            "requests with credentials were for the right path below a prefix (404) (/api/v1;",
        ],
    );
    status(&base);
}

/// An ended session is none that another secret has made.
#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_sessions() {
    let mut scene = Scene::sqlite().await;
    let create = |scene: &Scene| {
        let created = scene.todoctl(&["session", "create", "--user", "me"]);
        String::from_utf8(created.stdout).unwrap().trim().to_owned()
    };
    let (ended, old) = (create(&scene), create(&scene));
    let revoked = scene.todoctl(&["session", "revoke", "1"]);
    assert!(revoked.status.success(), "{revoked:?}");
    let secret = scene.get("SESSION_HASH_SECRET").unwrap();
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let with = |token: &str, count| asked(count, |client| client.get(&url).bearer_auth(token));
    assert_eq!(with(&ended, 12), [401; 12]);
    assert_eq!(with(&old, 12), [200; 12]);
    // A stranger tries, or a client of another environment.
    let foreign = format!("todo_{}", "a7".repeat(32));
    assert_eq!(with(&foreign, 12), [401; 12]);
    let sessions = "daemon.sessions";
    scene.doctor(sessions).says(sessions, "pass", "");
    scene.stop();

    scene.set("SESSION_HASH_SECRET", &"a1b2c3d4e5f60718".repeat(4));
    let new = create(&scene);
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let with = |token: &str, count| asked(count, |client| client.get(&url).bearer_auth(token));
    assert_eq!(with(&old, 12), [401; 12]);
    assert_eq!(with(&new, 12), [200; 12]);
    scene.proves(&HALF_OF_SESSIONS).await;
    says(&scene, sessions, &["12 of 24 session tokens were unknown"]);
    scene.stop();
    scene.set("SESSION_HASH_SECRET_PREVIOUS", &secret);
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let with = |token: &str, count| asked(count, |client| client.get(&url).bearer_auth(token));
    assert_eq!(with(&old, 1), [200]);
    scene.proves_gone(&HALF_OF_SESSIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_are_refused() {
    let mut scene = Scene::sqlite().await;
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let base = scene.start_at_its_port();
    let create = |client: &Client| {
        let request = client.post(format!("{base}/tasks/")).bearer_auth(&token);
        request.header("X-User-ID", "me")
    };
    // A form that is sent with mistakes now and then is none.
    let task = json!({ "title": "one" });
    assert_eq!(asked(12, |client| create(client).json(&task)), [201; 12]);
    let blank = json!({ "title": "" });
    assert_eq!(asked(12, |client| create(client).json(&blank)), [422; 12]);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");

    let form = |client: &Client| {
        let form = "application/x-www-form-urlencoded";
        create(client)
            .header("Content-Type", form)
            .body("title=canary")
    };
    assert_eq!(asked(12, form), [415; 12]);
    let keyed = |client: &Client| {
        let number = std::time::Instant::now();
        let task = json!({ "title": format!("{number:?}") });
        create(client)
            .header("Idempotency-Key", "canary")
            .json(&task)
    };
    let answers = asked(13, keyed);
    assert_eq!((answers[0], &answers[1..]), (201, &[422; 12][..]));
    let compressed = |client: &Client| {
        let request = create(client).header("Content-Encoding", "gzip");
        let request = request.header("Content-Type", "application/json");
        request.body(&b"\x1f\x8b\x08\0canary\xff"[..])
    };
    assert_eq!(asked(12, compressed), [400; 12]);
    let put = |client: &Client| {
        let request = client.put(format!("{base}/tasks/")).bearer_auth(&token);
        request.header("X-User-ID", "me").json(&task)
    };
    assert_eq!(asked(12, put), [405; 12]);
    let weak = |client: &Client| {
        let request = client.put(format!("{base}/tasks/1")).bearer_auth(&token);
        let request = request.header("X-User-ID", "me");
        request.header("If-Match", "W/\"canary\"").json(&task)
    };
    assert_eq!(asked(12, weak), [412; 12]);
    scene.proves(&REFUSED_WRITES).await;
    says(
        &scene,
        ERRORS,
        &[
            "12 of 25 POST /tasks/ had another Content-Type than application/json (415) (application/x-www-form-urlencoded;",
            "12 of 25 POST /tasks/ had the same Idempotency-Key",
            "12 of 25 POST /tasks/ had a compressed body",
            "12 of 12 PUT /tasks/{task_id} had a weak ETag in If-Match",
            "12 of 12 PUT /tasks/ were for a path that does not have that method (405)",
        ],
    );
    status(&base);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_refused() {
    let mut scene = Scene::sqlite().await;
    scene.set("CORS_ORIGINS", "https://app.example.com");
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let of_service = |client: &Client| service(client, &url, &token);
    assert_eq!(asked(12, of_service), [200; 12]);
    let preflight = |origin: &'static str, headers: &'static str| {
        let url = url.clone();
        move |client: &Client| {
            let request = client.request(reqwest::Method::OPTIONS, &url);
            let request = request.header("Origin", origin);
            let request = request.header("Access-Control-Request-Method", "GET");
            request.header("Access-Control-Request-Headers", headers)
        }
    };
    let app = "https://app.example.com";
    let foreign = preflight("https://evil.example.org", "x-canary-0");
    assert_eq!(asked(9, foreign), [400; 9]);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");

    let twice = |client: &Client| of_service(client).header("X-User-ID", "canary");
    assert_eq!(asked(12, twice), [400; 12]);
    let wrong_place = |client: &Client| {
        let request = client.get(&url).header("X-Service-Auth", &token);
        request.header("X-User-ID", "me")
    };
    assert_eq!(asked(12, wrong_place), [401; 12]);
    let key = |client: &Client| {
        let request = client.get(format!("{base}/api/user-api-keys/current"));
        request.bearer_auth(&token).header("X-User-ID", "me")
    };
    assert_eq!(asked(12, key), [401; 12]);
    let page = preflight(app, "authorization,x-requested-with,x-canary-0");
    assert_eq!(asked(12, page), [400; 12]);
    assert_eq!(asked(1, preflight(app, "x-canary-0")), [400]);
    assert_eq!(asked(12, preflight("null", "authorization")), [400; 12]);
    let refresh = |client: &Client| client.post(format!("{base}/api/auth/refresh"));
    assert_eq!(asked(12, refresh), [401; 12]);
    let large = |client: &Client| {
        let add = |request: RequestBuilder, number| request.header(format!("X-Canary-{number}"), 1);
        (0..120).fold(of_service(client), add)
    };
    assert_eq!(asked(12, large), [431; 12]);
    let has_all = || {
        let refusals = status(&base)["requests"]["refusals"].clone();
        let of = |one: &&Value| one["reason"] == "head_too_large" && one["count"] == 12;
        refusals.as_array().unwrap().iter().any(|one| of(&one))
    };
    crate::support::eventually("all heads are counted", async || has_all()).await;
    scene.proves(&REFUSED_HEADERS).await;
    says(
        &scene,
        ERRORS,
        &[
            "12 of 24 requests had an X-User-ID that is blank, too long or there twice (must be sent once;",
            "12 of 24 requests of services had X-Service-Auth in place of Authorization: Bearer",
            "12 of 24 requests with the service token were for endpoints that do not accept it",
            "because of a header that pages may not send (400) (another, x-requested-with;",
            "12 preflights had the origin null",
            "12 of 12 refreshes of access tokens had no cookie",
            "12 requests had a head that is too large",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_of_another_key() {
    let mut scene = Scene::sqlite().await;
    let peer = AuthPeer::start().await;
    let (key, other) = (TestKey::ed25519(), TestKey::next_ed25519());
    peer.publish(&[&key.named(Some("one"))]);
    scene.set("AUTH_SERVER_URL", &peer.origin());
    let base = scene.start_at_its_port();
    let now = todoctl::clock::Clock::system().now().unix_seconds();
    let claims = json!({ "sub": "me", "iat": now, "exp": now + 600, "iss": peer.origin() });
    let token = other.named(Some("one")).sign(&claims);
    let url = format!("{base}/tasks/");
    let with = |client: &Client| client.get(&url).bearer_auth(&token);
    assert_eq!(asked(12, with), [401; 12]);
    scene.proves(&OTHER_KEY_UNDER_THE_ID).await;
    let report = scene.doctor(ERRORS);
    let remedy = report.check(ERRORS)["remedy"].as_str().unwrap();
    assert!(!remedy.contains("JWT_SECRET"), "{remedy}");
    assert!(remedy.contains("/api/auth/jwks"), "{remedy}");
}
