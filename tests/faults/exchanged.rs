//! Secrets that are exchanged, or spelt otherwise, on one of two sides.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::blocking::Client;
use serde_json::json;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::refused::asked;

const ERRORS: &str = "daemon.errors";
const SETTINGS: &str = "daemon.configuration";

const PERSON: After = After::Person("the other service, or the daemon's platform, has the values");

faults! {
    OTHER_SPELLING = Fault {
        title: "The sign-in service, or a client, reads the same secret differently",
        symptom: Symptom::Risk("its requests are answered with 401"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    EXCHANGED = Fault {
        title: "SERVICE_AUTH_TOKEN and JWT_SECRET are exchanged",
        symptom: Symptom::Risk("users and services are answered with 401"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    OTHER_IN_ENVIRONMENT = Fault {
        title: "The daemon's environment has a part of the value, or its base64",
        symptom: Symptom::Risk("users and services are answered with 401"),
        check: SETTINGS,
        outcome: "warn",
        after: PERSON,
    };
}

fn jwt(secret: &[u8]) -> String {
    let now = todoctl::clock::Clock::system().now().unix_seconds();
    let claims = json!({ "sub": "me", "iat": now, "exp": now + 600, "type": "access" });
    let key = jsonwebtoken::EncodingKey::from_secret(secret);
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn users(base: &str, token: &str) -> Vec<u16> {
    let url = format!("{base}/tasks/");
    asked(12, |client: &Client| client.get(&url).bearer_auth(token))
}

fn services(base: &str, token: &str) -> Vec<u16> {
    let url = format!("{base}/tasks/");
    asked(12, |client: &Client| {
        let request = client.get(&url).bearer_auth(token);
        request.header("X-User-ID", "me")
    })
}

fn says(scene: &Scene, check: &str, said: &[&str]) {
    let report = scene.doctor(check);
    let detail = report.detail(check);
    for said in said {
        assert!(detail.contains(said), "{said:?} is not in {detail:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_spellings_of_a_secret() {
    let mut scene = Scene::sqlite().await;
    let secret = scene.get("JWT_SECRET").unwrap();
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let base = scene.start_at_its_port();
    let decoded = jwt(&hex::decode(&secret).unwrap());
    assert_eq!(users(&base, &decoded), [401; 12]);
    assert_eq!(services(&base, &token[..40]), [401; 12]);
    scene.proves(&OTHER_SPELLING).await;
    says(
        &scene,
        ERRORS,
        &[
            "12 of 12 user tokens were signed with the value of JWT_SECRET in another spelling (decoded from hex;",
            "12 of 12 requests of services had the value of SERVICE_AUTH_TOKEN in another spelling (cut off, or with more around it;",
        ],
    );
    assert_eq!(services(&base, &STANDARD.encode(&token)), [401; 12]);
    says(&scene, ERRORS, &["(as base64, cut off,"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_are_exchanged() {
    let mut scene = Scene::sqlite().await;
    let secret = scene.get("JWT_SECRET").unwrap();
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    scene.set("JWT_SECRET", &token);
    scene.set("SERVICE_AUTH_TOKEN", &secret);
    let base = scene.start_at_its_port();
    let of_user = jwt(secret.as_bytes());
    assert_eq!(users(&base, &of_user), [401; 12]);
    assert_eq!(services(&base, &token), [401; 12]);
    scene.proves(&EXCHANGED).await;
    says(
        &scene,
        ERRORS,
        &[
            "in place of JWT_SECRET: their values are exchanged, here or in the sign-in service (SERVICE_AUTH_TOKEN;",
            "in place of SERVICE_AUTH_TOKEN: their values are exchanged, here or in the service (JWT_SECRET;",
        ],
    );
    scene.stop();
    scene.set("JWT_SECRET", &secret);
    scene.set("SERVICE_AUTH_TOKEN", &token);
    let base = scene.start_at_its_port();
    assert_eq!(users(&base, &of_user), [200; 12]);
    scene.proves_gone(&EXCHANGED);
}

/// As Compose, systemd and Kubernetes pass values on. What the daemon refuses then is right.
#[tokio::test(flavor = "multi_thread")]
async fn what_platforms_make_of_a_value() {
    let mut scene = Scene::sqlite().await;
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let secret = "fedc$ba98765432fedcba98765432fedcba98765432#fedcba98765432";
    scene.set("JWT_SECRET", &format!("'{secret}'"));
    for (environment, said) in [
        (
            "JWT_SECRET=\"fedc$ba98765432fedcba98765432fedcba98765432#fedcba98765432\"".to_owned(),
            "its environment has JWT_SECRET without what begins with $",
        ),
        (
            "JWT_SECRET='fedc$ba98765432fedcba98765432fedcba98765432'".to_owned(),
            "its environment has JWT_SECRET cut off at #",
        ),
        (
            format!("SERVICE_AUTH_TOKEN={}", STANDARD.encode(&token)),
            "its environment has SERVICE_AUTH_TOKEN as base64",
        ),
    ] {
        let is_of_user = environment.starts_with("JWT_SECRET");
        let base = scene.start_by(&format!("export {environment}\nexec todoctl serve"));
        if is_of_user {
            assert_eq!(users(&base, &jwt(secret.as_bytes())), [401; 12]);
        } else {
            assert_eq!(services(&base, &token), [401; 12]);
        }
        scene.proves(&OTHER_IN_ENVIRONMENT).await;
        says(&scene, SETTINGS, &[said]);
        let remedy = scene.doctor(ERRORS).check(ERRORS)["remedy"].to_string();
        assert!(remedy.contains("as daemon.configuration says"), "{remedy}");
        assert!(!remedy.contains("config set"), "{remedy}");
        scene.stop();
    }
    let base = scene.start_at_its_port();
    assert_eq!(users(&base, &jwt(secret.as_bytes())), [200; 12]);
    scene.proves_gone(&OTHER_IN_ENVIRONMENT);
}
