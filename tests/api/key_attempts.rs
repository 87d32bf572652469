//! Contract 5.2, steps 2 and 4: attempts to save a key, and what the provider says of it.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use todoctl::clock::Clock;

use crate::api::api_keys::{
    KEY, OTHER_KEY, ROUTE, as_service, at, header, nothing, save, start, start_at, status,
};
use crate::api::daemon::ORIGIN;
use crate::api::request::read;
use crate::support::Answer;
use crate::support::Engine::{self, Postgres, Sqlite};

/// 5.2 step 4: what the provider refuses is not stored, an older key stays, each text says why.
#[rstest]
#[tokio::test]
async fn the_provider_refuses(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, provider) = start(engine).await;
    assert_eq!(save(&daemon, "alice", KEY).await.0, 201);
    let before = as_service(&daemon, "alice").await;
    let refusal = |status: &str, reason: &str, message: &str| {
        let message = format!("{message}: {OTHER_KEY}");
        let details = json!([{ "reason": reason }]);
        json!({ "error": { "status": status, "message": message, "details": details } })
    };
    let invalid = refusal("INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid");
    let location = "User location is not supported for the API use";
    let mut texts = Vec::new();
    for (number, (answer, word)) in [
        (Answer::Json(400, invalid.clone()), "rejected"),
        (
            Answer::Json(401, refusal("UNAUTHENTICATED", "", "")),
            "rejected",
        ),
        (
            Answer::Json(403, refusal("PERMISSION_DENIED", "", "leaked")),
            "rejected",
        ),
        // Nothing of that is the key's fault, or only that of its project.
        (
            Answer::Json(400, refusal("FAILED_PRECONDITION", "", location)),
            "location",
        ),
        (
            Answer::Json(403, refusal("PERMISSION_DENIED", "SERVICE_DISABLED", "")),
            "not enabled",
        ),
        (
            Answer::Json(403, refusal("PERMISSION_DENIED", "BILLING_DISABLED", "")),
            "billing",
        ),
        (
            Answer::Json(
                403,
                refusal("PERMISSION_DENIED", "API_KEY_SERVICE_BLOCKED", ""),
            ),
            "restrictions",
        ),
        (Answer::Json(403, json!("<html>")), "403"),
        (Answer::Json(429, invalid.clone()), "quota"),
        (Answer::Json(500, invalid.clone()), "500"),
        (Answer::Json(302, invalid), "302"),
        (Answer::HangUp, "reached"),
    ]
    .into_iter()
    .enumerate()
    {
        provider.set(answer);
        // Different users, so that no one runs out of attempts; alice comes last.
        let user = if number == 11 {
            "alice".to_owned()
        } else {
            format!("user-{number}")
        };
        let (code, body) = save(&daemon, &user, OTHER_KEY).await;
        assert_eq!(code, 400, "{word}");
        let text = body["detail"].as_str().unwrap().to_owned();
        assert!(text.contains(word), "{text}");
        assert!(!text.contains(OTHER_KEY));
        texts.push(text);
        assert_eq!(status(&daemon, &user).await["configured"], user == "alice");
    }
    texts.dedup();
    assert_eq!(texts.len(), 10);
    assert_eq!(as_service(&daemon, "alice").await, before);
}

/// 5.2 step 4: a silent provider is given up after 10 s, a dead one at once.
#[rstest]
#[tokio::test]
async fn the_provider_is_silent(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, provider) = start(engine).await;
    provider.set(Answer::Silence);
    let started = std::time::Instant::now();
    let (code, body) = save(&daemon, "alice", KEY).await;
    assert_eq!(code, 400);
    assert!(
        body["detail"].as_str().unwrap().contains("in time"),
        "{body}"
    );
    assert!(
        (9..25).contains(&started.elapsed().as_secs()),
        "{:?}",
        started.elapsed()
    );
    drop(provider);
    let (code, body) = save(&daemon, "alice", KEY).await;
    assert_eq!(code, 400);
    assert!(
        body["detail"].as_str().unwrap().contains("reached"),
        "{body}"
    );
    assert_eq!(status(&daemon, "alice").await, nothing());
}

/// 5.2 step 2, 10.30: five attempts an hour, whatever their outcome; then 429 with its headers.
#[rstest]
#[tokio::test]
async fn five_attempts_an_hour(#[values(Sqlite, Postgres)] engine: Engine) {
    let clock = Clock::fixed(at("2031-01-02T03:00:00Z"));
    let (daemon, provider) = start_at(engine, clock).await;
    for number in 0..5 {
        provider.set(Answer::Json(
            if number % 2 == 0 { 200 } else { 400 },
            json!({ "models": [] }),
        ));
        daemon
            .clock
            .set(at(&format!("2031-01-02T03:{:02}:00Z", number * 10)));
        let expected = if number % 2 == 0 { 201 } else { 400 };
        assert_eq!(save(&daemon, "alice", KEY).await.0, expected);
    }
    // The window began with the first attempt: ten minutes of it are left, then half a second.
    for (now, wait, text) in [
        ("2031-01-02T03:50:00Z", "600", "in 10 minutes"),
        ("2031-01-02T03:50:01Z", "599", "in 10 minutes"),
        ("2031-01-02T03:58:59Z", "61", "in 2 minutes"),
        ("2031-01-02T03:59:00Z", "60", "in a minute"),
        ("2031-01-02T03:59:59.5Z", "1", "in a minute"),
    ] {
        daemon.clock.set(at(now));
        let response = save(&daemon, "alice", KEY)
            .header("Origin", ORIGIN)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(header(&response, "retry-after"), wait);
        assert_eq!(header(&response, "x-ratelimit-limit"), "5");
        assert_eq!(header(&response, "x-ratelimit-remaining"), "0");
        assert_eq!(
            header(&response, "x-ratelimit-reset"),
            "2031-01-02T04:00:00Z"
        );
        assert_eq!(header(&response, "access-control-allow-origin"), ORIGIN);
        assert_eq!(
            read(response).await.1["detail"],
            format!("Too many attempts to save an API key. Try again {text}")
        );
    }
    assert_eq!(provider.count(), 5);
    // Another user has separate attempts, and validation still comes first.
    assert_eq!(save(&daemon, "bob", KEY).await.0, 201);
    assert_eq!(save(&daemon, "alice", "short").await.0, 422);
    daemon.clock.set(at("2031-01-02T04:00:00Z"));
    assert_eq!(save(&daemon, "alice", KEY).await.0, 201);
    // Bob's window is over at 04:59:59.5, alice's at 05:00.
    daemon.clock.set(at("2031-01-02T04:59:59.5Z"));
    assert_eq!(daemon.store.prune_attempts().await.unwrap(), 1);
    daemon.clock.set(at("2031-01-02T05:00:00Z"));
    assert_eq!(daemon.store.prune_attempts().await.unwrap(), 1);
    assert_eq!(daemon.store.prune_attempts().await.unwrap(), 0);
}

/// 10.42: attempts are counted together by all replicas, and outlive a restart.
#[rstest]
#[tokio::test]
async fn attempts_are_shared_and_kept(#[values(Sqlite, Postgres)] engine: Engine) {
    let (mut daemon, _provider) = start(engine).await;
    let replica = daemon.replica().await;
    for one in [&daemon, &replica, &daemon, &replica] {
        assert_eq!(save(one, "alice", KEY).await.0, 201);
    }
    assert!(daemon.stop().await);
    let restarted = daemon.replica().await;
    assert_eq!(save(&restarted, "alice", KEY).await.0, 201);
    for one in [&restarted, &replica] {
        assert_eq!(save(one, "alice", KEY).await.0, 429);
    }
}

/// 10.42: of 20 saves at once exactly 5 pass, over two replicas.
#[rstest]
#[tokio::test]
async fn attempts_at_once(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, provider) = start(engine).await;
    provider.set(Answer::Late(
        Duration::from_millis(50),
        200,
        json!({ "models": [] }),
    ));
    let replica = daemon.replica().await;
    let saves = (0..20).map(|number| {
        let one = if number % 2 == 0 { &daemon } else { &replica };
        tokio::spawn(save(one, "alice", KEY).into_future())
    });
    let mut counts = [0, 0];
    for save in saves.collect::<Vec<_>>() {
        match save.await.unwrap().0.as_u16() {
            201 => counts[0] += 1,
            429 => counts[1] += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(counts, [5, 15]);
    assert_eq!(provider.count(), 5);
}

/// 1.2: credentials come before the body, and both before an attempt is counted.
#[rstest]
#[tokio::test]
async fn order_of_checks(#[values(Sqlite, Postgres)] engine: Engine) {
    let (daemon, provider) = start(engine).await;
    for _ in 0..6 {
        let request = daemon
            .post(ROUTE)
            .anonymous()
            .json(&json!({ "api_key": KEY }));
        assert_eq!(request.await.0, 401);
    }
    assert_eq!(provider.count(), 0);
    assert_eq!(save(&daemon, "alice", KEY).await.0, 201);
}

/// 5.2 step 2: a window that another program, or a clock that was wrong, began in the far future
/// does not lock the user out.
#[rstest]
#[tokio::test]
async fn a_window_in_the_future(#[values(Sqlite, Postgres)] engine: Engine) {
    let clock = Clock::fixed(at("2031-01-02T03:00:00Z"));
    let (daemon, _provider) = start_at(engine, clock).await;
    let (hour_ahead, year_ahead) = match engine {
        Sqlite => ("1925092740000000", "1956628800000000"),
        Postgres => ("'2031-01-02T03:59:00Z'", "'infinity'"),
    };
    for (start, expected) in [(year_ahead, 201), (hour_ahead, 429)] {
        daemon
            .database
            .execute(&format!(
                "DELETE FROM todoctl_attempts;
                 INSERT INTO todoctl_attempts (user_id, started_at, attempts)
                 VALUES ('alice', {start}, 5)"
            ))
            .await;
        assert_eq!(save(&daemon, "alice", KEY).await.0, expected, "{start}");
    }
}
