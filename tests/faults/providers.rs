//! Auth server, mail provider and key provider that answer, and not as they should.

use serde_json::json;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::{Answer, HttpPeer, blocking_http_client};

const AUTH: &str = "services.auth_server";
const MAIL: &str = "services.mail";
const KEYS: &str = "services.key_provider";

const UNVERIFIED: Symptom = Symptom::Risk("tokens of the auth server are answered with 401 or 503");
const UNSENT: Symptom = Symptom::Risk("reminders are not mailed, and are given up after 24 hours");

faults! {
    NOT_AN_AUTH_SERVER = Fault {
        title: "What answers at AUTH_SERVER_URL is another service",
        symptom: UNVERIFIED,
        check: AUTH,
        outcome: "fail",
        after: After::Person("nobody else knows where the auth server is"),
    };
    UNUSABLE_KEYS = Fault {
        title: "The auth server publishes only keys that todoctl does not accept",
        symptom: UNVERIFIED,
        check: AUTH,
        outcome: "warn",
        after: After::Person("the auth server has to be configured"),
    };
    NO_KEYS = Fault {
        title: "The auth server publishes an empty set of keys",
        symptom: UNVERIFIED,
        check: AUTH,
        outcome: "warn",
        after: After::Person("the auth server has to make a key"),
    };
    LOGIN_PAGE = Fault {
        title: "A proxy in front of the auth server leads to a login page",
        symptom: UNVERIFIED,
        check: AUTH,
        outcome: "warn",
        after: After::Person("the proxy has to be configured"),
    };
    OTHER_ISSUER = Fault {
        title: "The auth server's tokens have another issuer than AUTH_ISSUER",
        symptom: UNVERIFIED,
        check: AUTH,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OTHER_TIME = Fault {
        title: "The auth server's clock is wrong",
        symptom: UNVERIFIED,
        check: AUTH,
        outcome: "warn",
        after: After::Person("the clock is that of another machine"),
    };
    REFUSED_MAIL_KEY = Fault {
        title: "The mail provider refuses the key",
        symptom: UNSENT,
        check: MAIL,
        outcome: "fail",
        after: After::Person("only the account's owner can create a key"),
    };
    UNVERIFIED_SENDER = Fault {
        title: "The domain of EMAIL_FROM is not verified",
        symptom: UNSENT,
        check: MAIL,
        outcome: "fail",
        after: After::Person("only the domain's owner can verify it"),
    };
    UNKNOWN_SENDER = Fault {
        title: "The account at the mail provider does not have the domain of EMAIL_FROM",
        symptom: UNSENT,
        check: MAIL,
        outcome: "fail",
        after: After::Person("only the domain's owner can verify it"),
    };
    MAIL_PATH = Fault {
        title: "RESEND_API_URL has the path that todoctl adds itself",
        symptom: UNSENT,
        check: MAIL,
        outcome: "warn",
        after: After::Typed("pass"),
    };
    MAIL_QUOTA = Fault {
        title: "The quota at the mail provider is used up",
        symptom: UNSENT,
        check: MAIL,
        outcome: "warn",
        after: After::Person("only the account's owner can raise it"),
    };
    FOREIGN_LOCATION = Fault {
        title: "The key provider does not serve the location of this machine",
        symptom: Symptom::Risk("users cannot save a key, however good it is"),
        check: KEYS,
        outcome: "warn",
        after: After::Person("the service has to run, or to be seen, elsewhere"),
    };
    CREDULOUS_KEY_PROVIDER = Fault {
        title: "What answers at GEMINI_API_URL accepts every key",
        symptom: Symptom::Risk("users save keys that do not work"),
        check: KEYS,
        outcome: "warn",
        after: After::Person("nobody else knows where the provider is"),
    };
}

/// An Ed25519 key (RFC 8037, appendix A.2).
fn key() -> serde_json::Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

async fn peer(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> HttpPeer {
    HttpPeer::start(move |request| answer(&request.path)).await
}

fn not_found() -> Answer {
    Answer::Json(404, json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_servers() {
    let mut scene = Scene::new();
    let good = peer(|path| match path {
        "/api/auth/jwks" => Answer::Json(200, json!({ "keys": [key()] })),
        _ => not_found(),
    })
    .await;
    let another = peer(|_| Answer::Json(200, json!({ "hello": "world" }))).await;
    scene.set("AUTH_SERVER_URL", &another.url);
    scene.proves(&NOT_AN_AUTH_SERVER).await;
    scene.set("AUTH_SERVER_URL", &good.url);
    scene.proves_gone(&NOT_AN_AUTH_SERVER);

    let symmetric =
        peer(|_| Answer::Json(200, json!({ "keys": [{ "kty": "oct", "k": "canary" }] }))).await;
    scene.set("AUTH_SERVER_URL", &symmetric.url);
    scene.proves(&UNUSABLE_KEYS).await;

    let late = peer(|path| match path {
        "/api/auth/jwks" => {
            let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
            Answer::WithHeader(200, date, json!({ "keys": [key()] }))
        }
        _ => not_found(),
    })
    .await;
    scene.set("AUTH_SERVER_URL", &late.url);
    scene.proves(&OTHER_TIME).await;

    let public = peer(|path| match path {
        "/api/auth/jwks" => Answer::Json(200, json!({ "keys": [key()] })),
        "/.well-known/openid-configuration" => {
            Answer::Json(200, json!({ "issuer": "https://auth.example.com" }))
        }
        _ => not_found(),
    })
    .await;
    scene.set("AUTH_SERVER_URL", &public.url);
    scene.proves(&OTHER_ISSUER).await;
    let issuer = scene.get("AUTH_ISSUER");
    assert_eq!(issuer.as_deref(), Some("https://auth.example.com"));
}

fn domains(name: &str, status: &str) -> impl Fn(&str) -> Answer + use<> {
    let list = json!({ "data": [{ "name": name, "status": status, "region": "eu-west-1" }] });
    move |_| Answer::Json(200, list.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_providers() {
    let mut scene = Scene::new();
    scene.set("RESEND_API_KEY", "re_canary");
    scene.set("EMAIL_FROM", "'Todo <todo@example.com>'");
    let good = peer(domains("example.com", "verified")).await;

    let refusing = peer(|_| Answer::Json(400, json!({ "name": "validation_error" }))).await;
    scene.set("RESEND_API_URL", &refusing.url);
    scene.proves(&REFUSED_MAIL_KEY).await;
    scene.set("RESEND_API_URL", &good.url);
    scene.proves_gone(&REFUSED_MAIL_KEY);
    assert!(good.received().iter().all(|one| one.path == "/domains"));

    let pending = peer(domains("example.com", "pending")).await;
    scene.set("RESEND_API_URL", &pending.url);
    scene.proves(&UNVERIFIED_SENDER).await;

    // It sends, and receives nothing.
    let partial = peer(domains("example.com", "partially_verified")).await;
    scene.set("RESEND_API_URL", &partial.url);
    scene.doctor(MAIL).says(MAIL, "pass", "");
    let fading = peer(domains("example.com", "temporary_failure")).await;
    scene.set("RESEND_API_URL", &fading.url);
    scene
        .doctor(MAIL)
        .says(MAIL, "warn", "complete the DNS records");

    let other = peer(domains("example.org", "verified")).await;
    scene.set("RESEND_API_URL", &other.url);
    scene.proves(&UNKNOWN_SENDER).await;

    let exhausted = peer(|_| Answer::Json(429, json!({ "name": "daily_quota_exceeded" }))).await;
    scene.set("RESEND_API_URL", &exhausted.url);
    scene.proves(&MAIL_QUOTA).await;

    let strict = peer(|path| match path {
        "/domains" => domains("example.com", "verified")(path),
        _ => not_found(),
    })
    .await;
    for path in ["emails", "emails/", "domains"] {
        scene.set("RESEND_API_URL", &format!("{}/{path}", strict.url));
        scene.proves(&MAIL_PATH).await;
        assert_eq!(scene.get("RESEND_API_URL").as_ref(), Some(&strict.url));
    }
    let nothing = peer(|_| not_found()).await;
    scene.set("RESEND_API_URL", &nothing.url);
    scene
        .doctor(MAIL)
        .says(MAIL, "warn", "todoctl config unset RESEND_API_URL");

    // A login page, or a proxy that answers 200 to everything.
    let page = peer(|_| Answer::Json(200, json!("<html>"))).await;
    scene.set("RESEND_API_URL", &page.url);
    scene
        .doctor(MAIL)
        .says(MAIL, "fail", "todoctl config unset RESEND_API_URL");

    // A key that may send and do nothing else is as good.
    let restricted = peer(|_| Answer::Json(401, json!({ "name": "restricted_api_key" }))).await;
    scene.set("RESEND_API_URL", &restricted.url);
    scene.doctor(MAIL).says(MAIL, "pass", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_providers() {
    let mut scene = Scene::new();
    let credulous = peer(|_| Answer::Json(200, json!({ "models": [] }))).await;
    scene.set("GEMINI_API_URL", &credulous.url);
    scene.proves(&CREDULOUS_KEY_PROVIDER).await;
    let strict =
        peer(|_| Answer::Json(400, json!({ "error": { "status": "INVALID_ARGUMENT" } }))).await;
    scene.set("GEMINI_API_URL", &strict.url);
    scene.proves_gone(&CREDULOUS_KEY_PROVIDER);
    // A page that is answered to everything accepts no key.
    let page = peer(|_| Answer::Json(200, json!("<html>"))).await;
    scene.set("GEMINI_API_URL", &page.url);
    scene
        .doctor(KEYS)
        .says(KEYS, "warn", "another service answers there");
    scene.set("GEMINI_API_URL", &strict.url);
    let asked = strict.received();
    assert!(asked.iter().all(|one| one.path == "/v1beta/models"));
}

/// It refuses the location before it looks at the key, or only for a key that is valid.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_provider_of_other_countries() {
    let refusal = |status: &str, message: &str| {
        Answer::Json(
            400,
            json!({ "error": { "status": status, "message": message } }),
        )
    };
    let location = move || {
        refusal(
            "FAILED_PRECONDITION",
            "User location is not supported for the API use.",
        )
    };
    let invalid = move || refusal("INVALID_ARGUMENT", "API key not valid.");
    let always = HttpPeer::answering(location()).await;
    let mut scene = Scene::sqlite().await;
    scene.set("GEMINI_API_URL", &always.url);
    scene.proves(&FOREIGN_LOCATION).await;
    let good = "AIza-canary-of-a-user-that-is-good";
    let for_good_keys = HttpPeer::start(move |request| {
        if request.header("x-goog-api-key") == good {
            location()
        } else {
            invalid()
        }
    })
    .await;
    scene.set("GEMINI_API_URL", &for_good_keys.url);
    scene.proves_gone(&FOREIGN_LOCATION);
    let base = scene.start_at_its_port();
    let session = scene.todoctl(&["session", "create", "--user", "me"]);
    let session = String::from_utf8(session.stdout).unwrap();
    let save = |key: &str| {
        let body = json!({ "api_key": key });
        let (url, token) = (format!("{base}/api/user-api-keys"), session.trim());
        let ask = || {
            let request = blocking_http_client().post(&url).bearer_auth(token);
            let answer = request.json(&body).send().unwrap();
            (answer.status().as_u16(), answer.text().unwrap())
        };
        std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
    };
    // Users who save wrong keys are no fault of the service.
    let (status, text) = save("AIza-of-a-user-that-is-wrong");
    assert!(status == 400 && text.contains("rejected"), "{text}");
    scene.proves_gone(&FOREIGN_LOCATION);
    for _ in 0..3 {
        let (status, text) = save(good);
        assert!(status == 400 && text.contains("location"), "{text}");
    }
    scene.proves(&FOREIGN_LOCATION).await;
    assert!(!scene.doctor(KEYS).json.to_string().contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_server_without_keys() {
    let answering = |keys: serde_json::Value| {
        peer(move |path| match path {
            "/api/auth/jwks" => Answer::Json(200, json!({ "keys": keys })),
            _ => Answer::Json(200, json!(null)),
        })
    };
    let empty = answering(json!([])).await;
    let right = answering(json!([key()])).await;
    let mut scene = Scene::sqlite().await;
    scene.set("AUTH_SERVER_URL", &empty.url);
    scene.proves(&NO_KEYS).await;
    scene.set("AUTH_SERVER_URL", &right.url);
    scene.proves_gone(&NO_KEYS);
    for status in [302, 401, 403] {
        let to = ("location", "https://login.example.com/?token=canary");
        let login = peer(move |_| Answer::WithHeader(status, to, json!(null))).await;
        scene.set("AUTH_SERVER_URL", &login.url);
        scene.proves(&LOGIN_PAGE).await;
        let report = scene.doctor(AUTH);
        assert!(!format!("{:#}", report.json).contains("canary"));
    }
    scene.set("AUTH_SERVER_URL", &right.url);
    scene.proves_gone(&LOGIN_PAGE);
}
