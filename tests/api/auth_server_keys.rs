//! Contract 2.1 and 13: JWTs that a key of the auth server (`AUTH_SERVER_URL`) signed.

use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::auth_server::{at, call, hs256, refused, status, unanswered, with_auth_server};
use crate::api::daemon::{Daemon, JWT_SECRET, claims};
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::auth_peer::{AuthPeer, JWKS, Mood, TestKey};
use crate::support::eventually;

/// The claims of a good token of the auth server for alice.
fn server_claims(daemon: &Daemon, peer: &AuthPeer) -> Value {
    let now = daemon.clock.now().unix_seconds();
    json!({ "sub": "alice", "iat": now, "exp": now + 86_400, "iss": peer.origin(), "aud": peer.origin() })
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// 2.1 and `AUTH_SERVER_URL`: JWTs signed with a key of the server, beside HS256.
#[rstest]
#[tokio::test]
async fn asymmetric_tokens(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    let keys = [TestKey::ed25519(), TestKey::es256(), TestKey::rs256()];
    peer.publish(&[&keys[0], &keys[1], &keys[2]]);
    daemon.create_titled("of alice").await;
    let good = server_claims(&daemon, &peer);
    for key in &keys {
        let (status, body) = call(&daemon, &key.sign(&good)).await;
        assert_eq!(
            (status, &body["total"]),
            (200, &json!(1)),
            "{:?}",
            key.algorithm
        );
    }
    let key = &keys[0];
    let ahead = daemon.clock.now().unix_seconds() + 5;
    for claims in [
        without(&good, "aud"),
        with(&good, "aud", json!(null)),
        with(&good, "aud", json!([peer.origin()])),
        with(
            &good,
            "aud",
            json!(["https://other.example", peer.origin()]),
        ),
        with(&good, "type", json!("access")),
        // 10.32: a clock that is a little ahead.
        with(&with(&good, "iat", json!(ahead)), "nbf", json!(ahead)),
    ] {
        assert_eq!(status(&daemon, &key.sign(&claims)).await, 200, "{claims}");
    }
    // A key id is usual, and not required.
    let unnamed = TestKey::ed25519().named(None);
    assert_eq!(status(&daemon, &unnamed.sign(&good)).await, 200);
    assert_eq!(status(&daemon, &hs256(&daemon)).await, 200);
    assert_eq!(peer.asked(JWKS), 1);
}

/// 2.1, 10.3, 10.32: invalid tokens of the auth server.
#[rstest]
#[tokio::test]
async fn bad_asymmetric_tokens(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    let key = TestKey::ed25519();
    peer.publish(&[&key]);
    let good = server_claims(&daemon, &peer);
    let now = daemon.clock.now().unix_seconds();
    for claims in [
        without(&good, "exp"),
        without(&good, "iss"),
        without(&good, "sub"),
        with(&good, "iss", json!("https://other.example")),
        with(&good, "iss", json!(format!("{}/", peer.origin()))),
        with(&good, "iss", json!([peer.origin()])),
        with(&good, "aud", json!("https://other.example")),
        with(&good, "aud", json!([])),
        with(&good, "aud", json!(["https://other.example"])),
        with(&good, "aud", json!({})),
        with(&good, "type", json!("refresh")),
        with(&good, "type", json!(1)),
        with(&good, "iat", json!(now + 600)),
        with(&good, "nbf", json!(now + 600)),
        with(&good, "exp", json!("soon")),
        with(&good, "sub", json!("  ")),
        with(&good, "sub", json!("x".repeat(256))),
    ] {
        refused(&daemon, &key.sign(&claims)).await;
    }
    let expired = key.sign(&with(&good, "exp", json!(now)));
    let (status, body) = call(&daemon, &expired).await;
    assert_eq!(
        (status, body["detail"]["error_code"].as_str()),
        (401, Some("token_expired"))
    );
    // Another's signature under a known id, and a changed claim.
    let forged = TestKey::next_ed25519().named(key.id);
    refused(&daemon, &forged.sign(&good)).await;
    let (one, two) = (key.sign(&good), key.sign(&with(&good, "sub", json!("bob"))));
    let (one, two): (Vec<&str>, Vec<&str>) = (one.split('.').collect(), two.split('.').collect());
    refused(&daemon, &[one[0], two[1], one[2]].join(".")).await;
    refused(&daemon, &format!("{}.{}.", one[0], one[1])).await;
    // RFC 7515, 4.1.11: an extension that has to be understood.
    let mut critical = Header::new(Algorithm::HS256);
    critical.crit = Some(vec!["b64".to_owned()]);
    let secret = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    let critical =
        jsonwebtoken::encode(&critical, &claims("alice", daemon.clock.now()), &secret).unwrap();
    refused(&daemon, &critical).await;
}

/// 2.1: the algorithm that a token names is never trusted.
#[rstest]
#[tokio::test]
async fn algorithm_confusion(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    let keys = [TestKey::rs256(), TestKey::es256(), TestKey::ed25519()];
    peer.publish(&[&keys[0], &keys[1], &keys[2]]);
    let both = with(&server_claims(&daemon, &peer), "type", json!("access"));
    let shared = claims("alice", daemon.clock.now());
    let mac = |header: &Header, claims: &Value, secret: &[u8]| {
        let signed = jsonwebtoken::encode(
            &Header {
                alg: Algorithm::HS256,
                ..header.clone()
            },
            claims,
            &EncodingKey::from_secret(secret),
        );
        signed.unwrap()
    };
    for key in &keys {
        assert_eq!(status(&daemon, &key.sign(&both)).await, 200);
        let mut header = Header::new(key.algorithm);
        header.kid = key.id.map(str::to_owned);
        let jwk = key.jwk();
        // The public key in every form that could be taken for a secret.
        let mut secrets = vec![jwk.to_string().into_bytes(), Vec::new()];
        for part in ["x", "y", "n"] {
            if let Some(text) = jwk[part].as_str() {
                secrets.push(text.as_bytes().to_vec());
                secrets.push(
                    DecodingKey::from_ed_components(text)
                        .unwrap()
                        .try_get_as_bytes()
                        .unwrap()
                        .to_vec(),
                );
            }
        }
        if key.algorithm == Algorithm::ES256 {
            let point = DecodingKey::from_ec_components(
                jwk["x"].as_str().unwrap(),
                jwk["y"].as_str().unwrap(),
            );
            secrets.push(point.unwrap().try_get_as_bytes().unwrap().to_vec());
        }
        for secret in secrets {
            for claims in [&both, &shared] {
                refused(&daemon, &mac(&header, claims, &secret)).await;
            }
        }
        // An HMAC with the real secret, labelled as a signature.
        let honest = mac(&header, &shared, JWT_SECRET.as_bytes());
        let parts: Vec<&str> = honest.split('.').collect();
        let lying = key.sign(&shared);
        refused(
            &daemon,
            &format!(
                "{}.{}.{}",
                lying.split('.').next().unwrap(),
                parts[1],
                parts[2]
            ),
        )
        .await;
        // Another key's id.
        for other in &keys {
            if other.algorithm != key.algorithm {
                let mut header = Header::new(key.algorithm);
                header.kid = other.id.map(str::to_owned);
                let signed = key.sign_with(&header, &both);
                refused(&daemon, &signed).await;
            }
        }
    }
    for header in [
        "eyJhbGciOiJub25lIn0",
        "eyJhbGciOiJOT05FIiwia2lkIjoiZWQifQ",
        "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIn0",
    ] {
        let payload = keys[2].sign(&both);
        refused(
            &daemon,
            &format!("{header}.{}.", payload.split('.').nth(1).unwrap()),
        )
        .await;
    }
}

/// 13: an unknown key id causes at most one query a minute; a failed query removes no key.
#[rstest]
#[tokio::test]
async fn unknown_keys(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    let (key, next) = (TestKey::ed25519(), TestKey::next_ed25519());
    peer.publish(&[&key]);
    let good = server_claims(&daemon, &peer);
    assert_eq!(status(&daemon, &key.sign(&good)).await, 200);
    for _ in 0..3 {
        // It may have been published since, and nobody asks now: not a 401.
        unanswered(&daemon, &next.sign(&good)).await;
    }
    assert_eq!(peer.asked(JWKS), 1);
    peer.publish(&[&key, &next]);
    at(&daemon, 59);
    unanswered(&daemon, &next.sign(&good)).await;
    assert_eq!(peer.asked(JWKS), 1);
    at(&daemon, 60);
    let token = next.sign(&good);
    let calls = (0..10).map(|_| status(&daemon, &token));
    assert_eq!(futures_util::future::join_all(calls).await, [200; 10]);
    assert_eq!(peer.asked(JWKS), 2);

    // A newer key cannot be checked; the known ones stay valid.
    for (minute, mood) in [
        Mood::Fails(500),
        Mood::Garbage,
        Mood::OtherJson,
        Mood::Huge,
        Mood::HangsUp,
    ]
    .into_iter()
    .enumerate()
    {
        at(&daemon, 120 + 60 * minute as u64);
        peer.be(mood);
        let unknown = TestKey::es256().sign(&good);
        unanswered(&daemon, &unknown).await;
        unanswered(&daemon, &unknown).await;
        assert_eq!(peer.asked(JWKS), 3 + minute);
        assert_eq!(status(&daemon, &key.sign(&good)).await, 200);
        assert_eq!(status(&daemon, &next.sign(&good)).await, 200);
    }
    peer.be(Mood::Fine);
    at(&daemon, 420);
    refused(&daemon, &TestKey::es256().sign(&good)).await;

    // A withdrawn key is noticed without an unknown id, by a query in the background.
    peer.publish(&[&next]);
    at(&daemon, 420 + 600);
    assert_eq!(status(&daemon, &key.sign(&good)).await, 200);
    let withdrawn = key.sign(&good);
    eventually("the withdrawn key is refused", async || {
        status(&daemon, &withdrawn).await == 401
    })
    .await;
    assert_eq!(status(&daemon, &next.sign(&good)).await, 200);
}

/// 13: a key id that the server was asked about, and has no key for, is 401 from then on; one that
/// is new is 503 until it may be asked again.
#[rstest]
#[tokio::test]
async fn keys_of_another_server(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    let (key, foreign) = (TestKey::ed25519(), TestKey::next_ed25519());
    peer.publish(&[&key]);
    let good = server_claims(&daemon, &peer);
    for _ in 0..3 {
        refused(&daemon, &foreign.sign(&good)).await;
    }
    assert_eq!(peer.asked(JWKS), 1);
    let unseen = TestKey::es256().sign(&good);
    unanswered(&daemon, &unseen).await;
    at(&daemon, 60);
    refused(&daemon, &unseen).await;
    refused(&daemon, &unseen).await;
    assert_eq!(peer.asked(JWKS), 2);
    // It is published after all.
    peer.publish(&[&key, &foreign]);
    at(&daemon, 120);
    assert_eq!(status(&daemon, &foreign.sign(&good)).await, 200);
    // The set of another moment says nothing about the next id.
    peer.be(Mood::Fails(500));
    at(&daemon, 180);
    unanswered(&daemon, &TestKey::rs256().sign(&good)).await;
}

/// 13: before the first successful query, only tokens that need a key get 503.
#[rstest]
#[tokio::test]
async fn keys_never_came(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    peer.publish(&[&TestKey::ed25519()]);
    peer.be(Mood::Hangs);
    let token = TestKey::ed25519().sign(&server_claims(&daemon, &peer));
    let bearer = hs256(&daemon);
    let others = async {
        eventually("the keys are asked for", async || peer.asked(JWKS) > 0).await;
        let started = Instant::now();
        assert_eq!(status(&daemon, &bearer).await, 200);
        assert!(started.elapsed() < Duration::from_millis(1900));
    };
    tokio::join!(unanswered(&daemon, &token), others);
    let started = Instant::now();
    unanswered(&daemon, &token).await;
    assert!(started.elapsed() < Duration::from_millis(1900));
    assert_eq!(peer.asked(JWKS), 1);
    peer.be(Mood::Fine);
    at(&daemon, 5);
    assert_eq!(status(&daemon, &token).await, 200);
}

/// `AUTH_SERVER_URL` does not need a `JWT_SECRET`, and a query in it is ignored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_server_alone() {
    let peer = AuthPeer::start().await;
    let key = TestKey::ed25519();
    peer.publish(&[&key]);
    let daemon = Daemon::start_with(Engine::Sqlite, |config| {
        config.auth.jwt_secret = None;
        config.services.auth_server_url = Some(peer.url.join("/?ignored=1#too").unwrap());
    })
    .await;
    assert_eq!(
        status(&daemon, &key.sign(&server_claims(&daemon, &peer))).await,
        200
    );
    refused(&daemon, &hs256(&daemon)).await;
}

/// 13: an auth server that publishes no keys signs no tokens: 401, not 503.
#[rstest]
#[tokio::test]
async fn no_key_set(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    peer.publish_nothing();
    let good = server_claims(&daemon, &peer);
    let keys = [TestKey::ed25519(), TestKey::es256(), TestKey::rs256()];
    for key in &keys {
        refused(&daemon, &key.sign(&good)).await;
    }
    let unnamed = TestKey::ed25519().named(None);
    refused(&daemon, &unnamed.sign(&good)).await;
    assert_eq!(peer.asked(JWKS), 1);
    // Once it has keys they count.
    peer.publish(&[&keys[0]]);
    at(&daemon, 5);
    assert_eq!(status(&daemon, &keys[0].sign(&good)).await, 200);
    // A gateway that answers 404 while the server restarts takes no key away.
    peer.publish_nothing();
    at(&daemon, 65);
    unanswered(&daemon, &keys[1].sign(&good)).await;
    assert_eq!(status(&daemon, &keys[0].sign(&good)).await, 200);
}

/// 13: a 429 for the keys is honoured, and known keys go on.
#[rstest]
#[tokio::test]
async fn limited_keys(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    let key = TestKey::ed25519();
    peer.publish(&[&key]);
    let good = server_claims(&daemon, &peer);
    assert_eq!(status(&daemon, &key.sign(&good)).await, 200);
    at(&daemon, 60);
    peer.be(Mood::Limits("retry-after", 200));
    let unknown = TestKey::es256().sign(&good);
    assert_eq!(unanswered(&daemon, &unknown).await, 200);
    at(&daemon, 180);
    assert_eq!(unanswered(&daemon, &unknown).await, 80);
    assert_eq!(peer.asked(JWKS), 2);
    assert_eq!(status(&daemon, &key.sign(&good)).await, 200);
}

/// 13: `AUTH_ISSUER` is the `iss` where `AUTH_SERVER_URL` is an internal address.
#[rstest]
#[tokio::test]
async fn another_issuer(#[values(Sqlite, Postgres)] engine: Engine) {
    const PUBLIC: &str = "https://auth.example.com";
    let peer = AuthPeer::start().await;
    let key = TestKey::ed25519();
    peer.publish(&[&key]);
    let daemon = Daemon::start_with(engine, |config| {
        config.services.auth_server_url = Some(peer.url.clone());
        config.services.auth_issuer = Some(PUBLIC.to_owned());
    })
    .await;
    let good = with(&server_claims(&daemon, &peer), "iss", json!(PUBLIC));
    for claims in [
        good.clone(),
        with(&good, "aud", json!(PUBLIC)),
        without(&good, "aud"),
    ] {
        assert_eq!(status(&daemon, &key.sign(&claims)).await, 200, "{claims}");
    }
    let wrong = [
        server_claims(&daemon, &peer),
        with(&good, "iss", json!("https://auth.example.com/")),
        with(&good, "aud", json!("https://other.example")),
    ];
    for claims in &wrong {
        refused(&daemon, &key.sign(claims)).await;
    }
    let metrics = daemon.metrics().await;
    for line in [
        r#"auth_refusals_total{reason="issuer"} 2"#,
        r#"auth_refusals_total{reason="audience"} 1"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

/// 13: an id is optional on both sides (RFC 7517, section 4.5; RFC 7515, section 4.1.4).
#[rstest]
#[tokio::test]
async fn keys_without_ids(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    let (key, other) = (TestKey::ed25519(), TestKey::next_ed25519());
    peer.publish(&[&TestKey::ed25519().named(None), &TestKey::es256()]);
    let good = server_claims(&daemon, &peer);
    assert_eq!(status(&daemon, &key.sign(&good)).await, 200);
    // Its id may have been published since.
    unanswered(&daemon, &other.sign(&good)).await;
    assert_eq!(peer.asked(JWKS), 1);
    at(&daemon, 60);
    refused(&daemon, &other.sign(&good)).await;
    refused(&daemon, &other.named(None).sign(&good)).await;
    assert_eq!(status(&daemon, &key.sign(&good)).await, 200);
    assert_eq!(peer.asked(JWKS), 2);
}

/// 13: a key that replaces another one is found although the tokens name the same id, or none.
#[rstest]
#[tokio::test]
async fn keys_under_the_same_id(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, peer) = with_auth_server(engine).await;
    for id in [Some("ed"), None] {
        let (key, next) = (
            TestKey::ed25519().named(id),
            TestKey::next_ed25519().named(id),
        );
        let start = 1000 * u64::from(id.is_none());
        at(&daemon, start);
        peer.publish(&[&key]);
        let good = server_claims(&daemon, &peer);
        let token = key.sign(&good);
        eventually("the first key", async || {
            status(&daemon, &token).await == 200
        })
        .await;
        let asked = peer.asked(JWKS);
        peer.publish(&[&next]);
        at(&daemon, start + 59);
        refused(&daemon, &next.sign(&good)).await;
        assert_eq!(peer.asked(JWKS), asked);
        at(&daemon, start + 60);
        assert_eq!(status(&daemon, &next.sign(&good)).await, 200);
        refused(&daemon, &key.sign(&good)).await;
        assert_eq!(peer.asked(JWKS), asked + 1);
    }
}
