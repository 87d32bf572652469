//! One kind of caller is refused, and the others are served.

use reqwest::blocking::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::refused::asked;

const ERRORS: &str = "daemon.errors";
const USERS: &str = "database.users";

const PERSON: After = After::Person("the client has to be corrected, or what is in front");

faults! {
    NO_USER_HAS_A_TOKEN = Fault {
        title: "The browsers' proxy does not pass Authorization on, and a service is served",
        symptom: Symptom::Risk("all users are answered with 401"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    TOKENS_OF_ANOTHER_FORM = Fault {
        title: "The sign-in service, or a client, makes something else of the users' tokens",
        symptom: Symptom::Risk("users are answered with 401"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    REFRESHES = Fault {
        title: "The sign-in service has renamed the cookie with the refresh token",
        symptom: Symptom::Risk("users are signed out after half an hour"),
        check: ERRORS,
        outcome: "warn",
        after: PERSON,
    };
    NO_USER = Fault {
        title: "A service sends undefined as the user's id",
        symptom: Symptom::Risk("users share the tasks of one account"),
        check: USERS,
        outcome: "warn",
        after: After::Person("only a person knows whose the tasks are"),
    };
}

fn says(scene: &Scene, said: &[&str]) {
    let detail = scene.doctor(ERRORS).detail(ERRORS).to_owned();
    for said in said {
        assert!(detail.contains(said), "{said:?} is not in {detail:?}");
    }
    assert!(!detail.contains("canary"), "{detail}");
}

fn service(request: RequestBuilder, token: &str) -> RequestBuilder {
    request.bearer_auth(token).header("X-User-ID", "me")
}

/// Beside a service whose requests are accepted.
#[tokio::test(flavor = "multi_thread")]
async fn users_without_their_token() {
    let mut scene = Scene::sqlite().await;
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    scene.set("TRUSTED_PROXIES", "127.0.0.1");
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let of_service = |client: &Client| service(client.get(&url), &token);
    assert_eq!(asked(12, of_service), [200; 12]);
    // A scanner, and a probe that is content with 401.
    let stranger = |client: &Client| client.get(&url).header("X-Forwarded-For", "198.51.100.7");
    assert_eq!(asked(40, stranger), [401; 40]);
    assert_eq!(asked(9, |client| client.get(&url)), [401; 9]);
    scene.stop();
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let of_service = |client: &Client| service(client.get(&url), &token);
    assert_eq!(asked(12, of_service), [200; 12]);
    assert_eq!(asked(29, |client| client.get(&url)), [401; 29]);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");
    assert_eq!(asked(1, |client| client.get(&url)), [401]);
    scene.proves(&NO_USER_HAS_A_TOKEN).await;
    says(
        &scene,
        &["30 of 30 requests that are not a service's had no Authorization: Bearer header"],
    );

    let other = |client: &Client| client.get(&url).header("Authorization", "Token canary");
    assert_eq!(asked(12, other), [401; 12]);
    let cookie = |client: &Client| client.post(&url).header("Cookie", "access_token=canary");
    assert_eq!(asked(12, cookie), [401; 12]);
    says(
        &scene,
        &[
            "12 of 12 requests that are not a service's had an Authorization header without Bearer and a token (401) (Token;",
            "12 of 12 requests that are not a service's had a token, but not in Authorization: Bearer (401) (a cookie;",
        ],
    );
}

/// As soon as the proxy is changed: the tokens that came through before are remembered.
#[tokio::test(flavor = "multi_thread")]
async fn users_whose_token_came_through_before() {
    let mut scene = Scene::sqlite().await;
    let created = scene.todoctl(&["session", "create", "--user", "me"]);
    let session = String::from_utf8(created.stdout).unwrap();
    let url = format!("{}/tasks/", scene.start_at_its_port());
    let accepted = |client: &Client| client.get(&url).bearer_auth(session.trim());
    assert_eq!(asked(5, accepted), [200; 5]);
    assert_eq!(asked(99, |client| client.get(&url)), [401; 99]);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");
    assert_eq!(asked(1, |client| client.get(&url)), [401]);
    says(
        &scene,
        &["100 of 105 requests that are not a service's had no Authorization: Bearer header"],
    );
}

fn jwt(secret: &str, algorithm: &str, claims: &Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let signed = jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap();
    if algorithm == "HS256" {
        return signed;
    }
    let header = hex::encode(json!({ "alg": algorithm }).to_string());
    let header = base64_of(&hex::decode(header).unwrap());
    let rest = signed.split_once('.').unwrap().1;
    format!("{header}.{rest}")
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_another_form() {
    let mut scene = Scene::sqlite().await;
    let secret = scene.get("JWT_SECRET").unwrap();
    let created = scene.todoctl(&["session", "create", "--user", "me"]);
    let session = String::from_utf8(created.stdout).unwrap();
    let base = scene.start_at_its_port();
    let url = format!("{base}/tasks/");
    let with = |token: &str, count| asked(count, |client| client.get(&url).bearer_auth(token));
    let expires = todoctl::clock::Clock::system().now().unix_seconds() + 600;
    let claims = |expires: Value| json!({ "sub": "me", "exp": expires, "type": "access" });
    let good = jwt(&secret, "HS256", &claims(expires.into()));
    assert_eq!(with(&good, 40), [200; 40]);
    assert_eq!(with(session.trim(), 12), [200; 12]);
    let cut_jwt = &good[..good.len() - 8].replace("eyJ0", "eyK0");
    assert_eq!(with(cut_jwt, 29), [401; 29]);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");

    let text = jwt(&secret, "HS256", &claims(expires.to_string().into()));
    assert_eq!(with(&text, 12), [401; 12]);
    let milliseconds = jwt(&secret, "HS256", &claims((expires * 1000).into()));
    assert_eq!(with(&milliseconds, 12), [200; 12]);
    let other = jwt(&secret, "Ed25519", &claims(expires.into()));
    assert_eq!(with(&other, 12), [401; 12]);
    assert_eq!(
        with("eyJhbGciOiJkaXIifQ..canary.canary.canary", 12),
        [401; 12]
    );
    assert_eq!(with(&session[..32], 12), [401; 12]);
    assert_eq!(with(cut_jwt, 1), [401]);
    scene.proves(&TOKENS_OF_ANOTHER_FORM).await;
    says(
        &scene,
        &[
            "user tokens had a time (exp, nbf, iat) that is a text",
            "12 user tokens were accepted that have a time of expiry (exp) in milliseconds",
            "EdDSA, ES256 and RS256 (Ed25519;",
            "user tokens were encrypted (JWE",
            "session tokens were cut off",
            "30 of 82 user tokens could not be decoded",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshes_that_fail() {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    let url = format!("{base}/api/auth/refresh");
    assert_eq!(asked(9, |client| client.get(&url)), [405; 9]);
    let with = |cookie: &'static str, count| {
        asked(count, |client| client.post(&url).header("Cookie", cookie))
    };
    assert_eq!(with("__Secure-refresh_token=canary", 9), [401; 9]);
    scene.doctor(ERRORS).says(ERRORS, "pass", "");
    let path = format!("{base}/tasks/undefined");
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    let no_id = |client: &Client| service(client.put(&path), &token).json(&json!({}));
    assert_eq!(asked(12, no_id), [422; 12]);
    says(
        &scene,
        &["12 of 12 PUT /tasks/{task_id} had no id in the path (422) (undefined;"],
    );
    assert_eq!(asked(1, |client| client.get(&url)), [405]);
    assert_eq!(with("__Secure-refresh_token=canary", 1), [401]);
    scene.proves(&REFRESHES).await;
    says(
        &scene,
        &[
            "10 of 10 refreshes of access tokens had their refresh token elsewhere than in the cookie refresh_token (401) (another cookie;",
            "10 of 10 refreshes of access tokens had another method than POST",
        ],
    );
}

/// What is stored for users that are none, on both engines.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_no_user() {
    const REAL: [&str; 6] = [
        "cn=a,ou=a",
        "müller@example.com",
        "{6F9619FF-8B86-D011-B42D-00CF4FC964FF}",
        "auth0|5f7c",
        "0",
        "u1, u2",
    ];
    let insert = |users: &[&str], count: usize| {
        let rows: Vec<String> = users
            .iter()
            .flat_map(|user| std::iter::repeat_n(user, count))
            .map(|user| format!("('{user}', 'one')"))
            .collect();
        format!(
            "INSERT INTO tasks (user_id, title) VALUES {}",
            rows.join(", ")
        )
    };
    let mut server = Scene::postgres().await;
    server.sql(&insert(&REAL, 20)).await;
    server.sql(&insert(&["undefined", "null"], 9)).await;
    server.doctor(USERS).says(USERS, "pass", "");
    let none = ["[object Object]", "{{user_id}}", "u1, u1", "undefined"];
    server.sql(&insert(&none, 10)).await;
    server.proves(&NO_USER).await;
    let detail = server.doctor(USERS).detail(USERS).to_owned();
    for said in [
        "39 tasks belong to",
        "undefined",
        "{{user_id}}",
        "10 tasks belong to 1 users",
    ] {
        assert!(detail.contains(said), "{detail}");
    }

    let mut file = Scene::sqlite().await;
    let token = file.get("SERVICE_AUTH_TOKEN").unwrap();
    let base = file.start_at_its_port();
    let create = |user: &'static str| {
        let (url, token) = (format!("{base}/tasks/"), token.clone());
        move |client: &Client| {
            let request = client.post(&url).bearer_auth(&token);
            request
                .header("X-User-ID", user)
                .json(&json!({ "title": "one" }))
        }
    };
    for user in REAL {
        if user.is_ascii() {
            assert_eq!(asked(10, create(user)), [201; 10]);
        }
    }
    file.doctor(USERS).says(USERS, "pass", "");
    assert_eq!(asked(10, create("undefined")), [201; 10]);
    file.proves(&NO_USER).await;
}
