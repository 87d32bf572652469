//! Keys and sessions of an auth server that answers, and whose tokens are refused all the same.

use jsonwebtoken::Header;
use serde_json::{Value, json};

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::auth_peer::{AuthPeer, TestKey};
use crate::support::{Answer, HttpPeer, blocking_http_client};

const CHECK: &str = "services.auth_server";
const ERRORS: &str = "daemon.errors";

const REFUSED: Symptom = Symptom::Risk("its users are answered with 401 or 503");

const OTHER_MACHINE: After = After::Person("the auth server is another machine's");

faults! {
    MISDECLARED = Fault {
        title: "The auth server's key is declared for something else than signatures",
        symptom: REFUSED,
        check: CHECK,
        outcome: "warn",
        after: OTHER_MACHINE,
    };
    COMPRESSED = Fault {
        title: "The auth server's answers are compressed unasked",
        symptom: REFUSED,
        check: CHECK,
        outcome: "fail",
        after: OTHER_MACHINE,
    };
    TOO_LONG = Fault {
        title: "The auth server publishes more keys than the daemon reads",
        symptom: REFUSED,
        check: CHECK,
        outcome: "fail",
        after: OTHER_MACHINE,
    };
    UNUSABLE_SESSION = Fault {
        title: "The auth server answers a session token in a way that the daemon cannot use",
        symptom: REFUSED,
        check: CHECK,
        outcome: "warn",
        after: OTHER_MACHINE,
    };
    UNKNOWN_SESSIONS = Fault {
        title: "The auth server knows no session for the tokens that clients send",
        symptom: REFUSED,
        check: ERRORS,
        outcome: "warn",
        after: After::Person("the clients have to be corrected"),
    };
}

/// The statuses of requests with this token.
fn with_token(base: &str, token: &str, count: usize) -> Vec<u16> {
    let url = format!("{base}/tasks/");
    let ask = || {
        let client = blocking_http_client();
        let ask = |_| client.get(&url).bearer_auth(token).send().unwrap().status();
        (0..count).map(|number| ask(number).as_u16()).collect()
    };
    std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
}

/// An auth server with this set of keys.
async fn publishing(keys: Value, header: Option<(&'static str, &'static str)>) -> HttpPeer {
    HttpPeer::start(move |request| {
        let body = match request.path.as_str() {
            "/api/auth/jwks" => json!({ "keys": keys }),
            "/api/auth/get-session" => Value::Null,
            _ => return Answer::Json(404, Value::Null),
        };
        match header {
            Some(header) => Answer::WithHeader(200, header, body),
            None => Answer::Json(200, body),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_of_keys() {
    let mut scene = Scene::sqlite().await;
    let key = TestKey::ed25519().jwk();
    let with = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    for wrong in [
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("ES256")),
    ] {
        let peer = publishing(json!([wrong]), None).await;
        scene.set("AUTH_SERVER_URL", &peer.url);
        scene.proves(&MISDECLARED).await;
        scene.doctor(CHECK).says(CHECK, "warn", "with use sig");
    }
    // Beside a key that signs, one for something else is usual.
    let both = publishing(json!([with("use", json!("enc")), key]), None).await;
    scene.set("AUTH_SERVER_URL", &both.url);
    scene.proves_gone(&MISDECLARED);

    let encoded = publishing(json!([key]), Some(("content-encoding", "br"))).await;
    scene.set("AUTH_SERVER_URL", &encoded.url);
    scene.proves(&COMPRESSED).await;
    let detail = scene.doctor(CHECK).detail(CHECK).to_owned();
    assert!(detail.contains("Content-Encoding br"), "{detail}");
    let plain = publishing(json!([key]), Some(("content-encoding", "identity"))).await;
    scene.set("AUTH_SERVER_URL", &plain.url);
    scene.proves_gone(&COMPRESSED);

    let old = with("x5c", json!(["A".repeat(3000)]));
    let many = publishing(json!(vec![old; 100]), None).await;
    scene.set("AUTH_SERVER_URL", &many.url);
    scene.proves(&TOO_LONG).await;
    let some = publishing(json!(vec![key; 100]), None).await;
    scene.set("AUTH_SERVER_URL", &some.url);
    scene.proves_gone(&TOO_LONG);
}

/// To a token that nobody has, as `doctor` asks, it answers null.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_session_tokens() {
    let mut scene = Scene::sqlite().await;
    let session = |id: Value| {
        let session = json!({ "expiresAt": "2099-01-01T00:00:00.000Z" });
        json!({ "session": session, "user": { "id": id } })
    };
    for (answer, said) in [
        (
            Answer::Json(200, session(json!(7))),
            "(user.id is not text)",
        ),
        (Answer::Json(500, Value::Null), "(500)"),
    ] {
        let peer = HttpPeer::start(move |request| match request.path.as_str() {
            "/api/auth/jwks" => Answer::Json(200, json!({ "keys": [TestKey::ed25519().jwk()] })),
            "/api/auth/get-session" if request.header("cookie").contains("abcdefghijklmnop") => {
                answer.clone()
            }
            "/api/auth/get-session" => Answer::Json(200, Value::Null),
            _ => Answer::Json(404, Value::Null),
        })
        .await;
        scene.set("AUTH_SERVER_URL", &peer.url);
        let base = scene.start_at_its_port();
        scene.doctor(CHECK).says(CHECK, "pass", "");
        assert_eq!(with_token(&base, "abcdefghijklmnop", 3), [503; 3]);
        scene.proves(&UNUSABLE_SESSION).await;
        let detail = scene.doctor(CHECK).detail(CHECK).to_owned();
        assert!(detail.contains(said), "{detail}");
        scene.stop();
    }
    let right = publishing(json!([TestKey::ed25519().jwk()]), None).await;
    scene.set("AUTH_SERVER_URL", &right.url);
    scene.proves_gone(&UNUSABLE_SESSION);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_the_auth_server_does_not_know() {
    let mut scene = Scene::sqlite().await;
    let peer = AuthPeer::start().await;
    let (key, other) = (TestKey::ed25519(), TestKey::next_ed25519());
    peer.publish(&[&key]);
    let token = "a-session-of-the-auth-server";
    let whole = format!("{token}.signature");
    peer.vouch(&whole, "me", "2099-01-01T00:00:00.000Z");
    scene.set("AUTH_SERVER_URL", &peer.origin());
    let base = scene.start_at_its_port();
    assert_eq!(with_token(&base, token, 12), [401; 12]);
    scene.proves(&UNKNOWN_SESSIONS).await;
    let report = scene.doctor(ERRORS);
    let detail = report.detail(ERRORS);
    assert!(
        detail.contains(&format!("{}, which was asked", peer.origin())),
        "{detail}"
    );
    assert_eq!(with_token(&base, &whole, 2), [200; 2]);
    scene.proves_gone(&UNKNOWN_SESSIONS);
    // One of two instances knows no session.
    assert_eq!(with_token(&base, &whole, 38), [200; 38]);
    assert_eq!(with_token(&base, token, 18), [401; 18]);
    scene.doctor(ERRORS).says(ERRORS, "warn", "sign in at");
    scene.stop();

    let base = scene.start_at_its_port();
    let now = todoctl::clock::Clock::system().now().unix_seconds();
    let claims = json!({ "sub": "me", "iat": now, "exp": now + 600, "iss": peer.origin() });
    let token = other.sign_with(
        &Header {
            kid: key.id.map(str::to_owned),
            ..Header::new(key.algorithm)
        },
        &claims,
    );
    assert_eq!(with_token(&base, &token, 12), [401; 12]);
    scene
        .doctor(ERRORS)
        .says(ERRORS, "warn", "restart the auth server");
}
