//! Per-caller rate limits and per-address authentication-failure limits, with and without Redis.

use std::time::{Duration, Instant};

use reqwest::Response;
use rstest::rstest;
use serde_json::json;
use todoctl::config::{Config, Secret};

use crate::api::daemon::{Daemon, JWT_SECRET, ORIGIN, SERVICE_TOKEN, claims, jwt};
use crate::api::headers::secured;
use crate::api::request::{Request, read};
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::RedisServer;

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// The statuses of so many requests, one after the other.
async fn statuses(count: usize, request: impl Fn() -> Request) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(request().send().await.unwrap().status().as_u16());
    }
    statuses
}

fn with_proxies(config: &mut Config) {
    config.auth.trusted_proxies = ["127.0.0.1/32", "10.0.0.0/8"]
        .map(|network| network.parse().unwrap())
        .into();
}

/// 8, 10.30: `RATE_LIMIT_PER_MINUTE` counts a user's requests, however they are authenticated.
#[rstest]
#[tokio::test]
async fn requests_of_a_caller(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| config.auth.requests_per_minute = 3).await;
    let first = daemon.get("/tasks/").send().await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(header(&first, "x-ratelimit-limit"), "3");
    assert_eq!(header(&first, "x-ratelimit-remaining"), "2");
    let reset: todoctl::domain::Timestamp = header(&first, "x-ratelimit-reset").parse().unwrap();
    let ahead = reset.since(daemon.clock.now()).as_secs();
    assert!((50..=60).contains(&ahead), "{ahead}");
    assert_eq!(header(&first, "retry-after"), "");
    // Errors are requests too.
    let second = daemon
        .get("/tasks/x")
        .bearer(daemon.jwt("alice"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            second.status().as_u16(),
            header(&second, "x-ratelimit-remaining")
        ),
        (422, "1")
    );
    let third = daemon
        .get("/api/user-api-keys/current")
        .bearer(daemon.jwt("alice"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            third.status().as_u16(),
            header(&third, "x-ratelimit-remaining")
        ),
        (200, "0")
    );
    for request in [
        daemon.get("/tasks/"),
        daemon
            .post("/tasks/")
            .bearer(daemon.jwt("alice"))
            .json(&json!({ "title": "t" })),
    ] {
        let refused = request.header("Origin", ORIGIN).send().await.unwrap();
        assert_eq!(refused.status(), 429);
        assert_eq!(header(&refused, "x-ratelimit-limit"), "3");
        assert_eq!(header(&refused, "x-ratelimit-remaining"), "0");
        let wait: u64 = header(&refused, "retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait));
        for name in [
            "Retry-After",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
        ] {
            assert!(header(&refused, "access-control-expose-headers").contains(name));
        }
        secured(&refused);
        assert!(read(refused).await.1["detail"].is_string());
    }
    // Other users and routes without credentials are not limited.
    assert_eq!(
        statuses(3, || daemon.get("/tasks/").user("bob")).await,
        [200; 3]
    );
    assert_eq!(
        statuses(5, || daemon.get("/health").anonymous()).await,
        [200; 5]
    );
    let health = daemon.get("/health").anonymous().send().await.unwrap();
    assert_eq!(header(&health, "x-ratelimit-limit"), "");
    assert!(daemon.metric(r#"rate_limited_total{limit="caller"}"#).await >= 2);
    // Nothing was created beyond the limit.
    let user = todoctl::domain::UserId::new("alice").unwrap();
    assert_eq!(
        daemon
            .store
            .tasks(&user, &todoctl::store::TaskFilter::default(), 10, 0)
            .await
            .unwrap()
            .total,
        0
    );
}

/// 8: without a limit there are no such headers.
#[rstest]
#[tokio::test]
async fn no_limit(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |_| ()).await;
    for _ in 0..20 {
        let response = daemon.get("/tasks/").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "x-ratelimit-limit"), "");
    }
}

/// The 429 of a provider key names its own limit (5.2), other answers the caller's.
#[rstest]
#[tokio::test]
async fn the_stricter_limit_speaks(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| config.auth.requests_per_minute = 100).await;
    let save = || {
        daemon
            .post("/api/user-api-keys")
            .bearer(daemon.jwt("alice"))
            .json(&json!({ "api_key": "not-a-key-of-the-provider" }))
    };
    assert_eq!(statuses(5, save).await, [400; 5]);
    let refused = save().send().await.unwrap();
    assert_eq!(
        (
            refused.status().as_u16(),
            header(&refused, "x-ratelimit-limit")
        ),
        (429, "5")
    );
    assert_eq!(header(&refused, "x-ratelimit-remaining"), "0");
}

/// `AUTH_FAILURES_PER_MINUTE`: wrong credentials count, missing and expired ones do not, valid ones pass.
#[rstest]
#[tokio::test]
async fn wrong_credentials(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| config.auth.failures_per_minute = 3).await;
    let missing = || daemon.get("/tasks/").anonymous();
    let old = {
        let mut old = claims("alice", daemon.clock.now());
        old["exp"] = json!(1);
        jwt(&old, JWT_SECRET)
    };
    let expired = || daemon.get("/tasks/").bearer(&old);
    assert_eq!(statuses(10, missing).await, [401; 10]);
    assert_eq!(statuses(10, expired).await, [401; 10]);
    assert_eq!(
        statuses(5, || daemon
            .get("/tasks/")
            .anonymous()
            .header("X-User-ID", "alice"))
        .await,
        [401; 5]
    );
    // All kinds count together.
    let forged = jwt(
        &claims("alice", daemon.clock.now()),
        "another-secret-0123456789-0123456789",
    );
    assert_eq!(
        statuses(1, || daemon.get("/tasks/").bearer(&forged)).await,
        [401]
    );
    assert_eq!(
        statuses(1, || daemon
            .get("/tasks/")
            .bearer("guess")
            .header("X-User-ID", "alice"))
        .await,
        [401]
    );
    let key_reader = || {
        daemon
            .get("/api/user-api-keys/current")
            .anonymous()
            .header("X-User-ID", "alice")
            .header("X-Service-Auth", "guess")
    };
    assert_eq!(statuses(1, key_reader).await, [401]);
    let opaque = daemon.get("/tasks/").bearer("opaque").send().await.unwrap();
    assert_eq!(opaque.status(), 429);
    let wait: u64 = header(&opaque, "retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(header(&opaque, "www-authenticate"), "");
    assert_eq!(header(&opaque, "x-ratelimit-limit"), "3");
    assert!(read(opaque).await.1["detail"].is_string());
    let refused = key_reader().send().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), header(&refused, "pragma")),
        (429, "no-cache")
    );
    // Valid credentials still pass, and missing ones are still 401.
    assert_eq!(statuses(3, || daemon.get("/tasks/")).await, [200; 3]);
    assert_eq!(
        statuses(3, || daemon.get("/tasks/").bearer(daemon.jwt("alice"))).await,
        [200; 3]
    );
    assert_eq!(statuses(3, missing).await, [401; 3]);
    assert_eq!(statuses(3, expired).await, [401; 3]);
    assert!(
        daemon
            .metric(r#"rate_limited_total{limit="address"}"#)
            .await
            >= 2
    );
}

/// `TRUSTED_PROXIES`: the client's address is the right-most one that is not a trusted proxy's.
#[rstest]
#[tokio::test]
async fn behind_proxies(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| {
        config.auth.failures_per_minute = 2;
        with_proxies(config);
    })
    .await;
    let from = |forwarded: &str| {
        daemon
            .get("/tasks/")
            .bearer("guess")
            .header("X-Forwarded-For", forwarded)
    };
    assert_eq!(statuses(3, || from("198.51.100.1")).await, [401, 401, 429]);
    // Addresses further left, which a client can forge, have no effect.
    assert_eq!(
        statuses(1, || from("203.0.113.5, 198.51.100.1")).await,
        [429]
    );
    assert_eq!(
        statuses(1, || from("203.0.113.6, 198.51.100.1, 10.1.1.1")).await,
        [429]
    );
    assert_eq!(statuses(3, || from("198.51.100.2")).await, [401, 401, 429]);
    // A whole /64 counts as one client.
    assert_eq!(statuses(2, || from("2001:db8::1")).await, [401, 401]);
    assert_eq!(statuses(1, || from("2001:db8::2")).await, [429]);
    assert_eq!(statuses(1, || from("2001:db8:0:1::2")).await, [401]);
}

/// Without `TRUSTED_PROXIES` the header means nothing.
#[rstest]
#[tokio::test]
async fn without_proxies(#[values(Sqlite, Postgres)] engine: Engine) {
    let daemon = Daemon::start_with(engine, |config| config.auth.failures_per_minute = 2).await;
    let mut got = Vec::new();
    for number in 1..=4 {
        let request = || {
            daemon
                .get("/tasks/")
                .bearer("guess")
                .header("X-Forwarded-For", format!("198.51.100.{number}"))
        };
        got.extend(statuses(1, request).await);
    }
    assert_eq!(got, [401, 401, 429, 429]);
}

/// `REDIS_URL`: replicas count together; when Redis is killed each counts separately.
#[rstest]
#[tokio::test]
async fn with_redis(#[values(Sqlite, Postgres)] engine: Engine) {
    let mut redis = RedisServer::start();
    let url = redis.url();
    let one = Daemon::start_with(engine, |config| {
        config.auth.requests_per_minute = 6;
        config.auth.failures_per_minute = 4;
        config.services.redis_url = Some(Secret::new(&url));
    })
    .await;
    let two = one.replica().await;
    let tasks = |daemon: &Daemon, user: &str| daemon.get("/tasks/").user(user);
    assert_eq!(statuses(3, || tasks(&one, "alice")).await, [200; 3]);
    let fourth = tasks(&two, "alice").send().await.unwrap();
    assert_eq!(header(&fourth, "x-ratelimit-remaining"), "2");
    assert_eq!(statuses(3, || tasks(&two, "alice")).await, [200, 200, 429]);
    let refused = tasks(&one, "alice").send().await.unwrap();
    assert_eq!(refused.status(), 429);
    let wait: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait));
    let guess = |daemon: &Daemon| daemon.get("/tasks/").bearer("guess");
    assert_eq!(statuses(2, || guess(&one)).await, [401; 2]);
    assert_eq!(statuses(3, || guess(&two)).await, [401, 401, 429]);
    assert_eq!(statuses(1, || guess(&one)).await, [429]);
    for daemon in [&one, &two] {
        assert!(daemon.metric("rate_limit_backend_errors_total").await == 0);
    }

    // Another service, such as that of staging, counts for itself.
    let other = Daemon::start_with(engine, |config| {
        config.auth.requests_per_minute = 6;
        config.auth.failures_per_minute = 4;
        config.services.redis_url = Some(Secret::new(&url));
    })
    .await;
    assert_eq!(statuses(6, || tasks(&other, "alice")).await, [200; 6]);
    assert_eq!(statuses(4, || guess(&other)).await, [401; 4]);

    redis.kill();
    let started = Instant::now();
    // Requests continue without waiting; each replica has its own limit.
    assert_eq!(
        statuses(7, || tasks(&one, "alice")).await,
        [200, 200, 200, 200, 200, 200, 429]
    );
    assert_eq!(statuses(6, || tasks(&two, "alice")).await, [200; 6]);
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    for daemon in [&one, &two] {
        assert!(daemon.metric("rate_limit_backend_errors_total").await > 0);
    }

    redis.run();
    // It reconnects without a request: carol's requests are counted together again.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut user = 0;
    loop {
        user += 1;
        let name = format!("carol-{user}");
        statuses(1, || tasks(&one, &name)).await;
        let seen = tasks(&two, &name).send().await.unwrap();
        if header(&seen, "x-ratelimit-remaining") == "4" {
            break;
        }
        assert!(Instant::now() < deadline, "Redis is not found again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What another program has written in place of a counter ends the counting of nobody.
#[rstest]
#[tokio::test]
async fn with_foreign_values_in_redis(#[values(Sqlite, Postgres)] engine: Engine) {
    let redis = RedisServer::start();
    let url = redis.url();
    let daemon = Daemon::start_with(engine, |config| {
        config.auth.requests_per_minute = 2;
        config.services.redis_url = Some(Secret::new(&url));
    })
    .await;
    let tasks = |user: &'static str| daemon.get("/tasks/").user(user);
    assert_eq!(statuses(1, || tasks("zoe")).await, [200]);
    let keys = redis.keys("todoctl:limit:*:caller:zoe");
    let [key] = &keys[..] else {
        panic!("{keys:?}");
    };
    for (user, [command, foreign]) in [
        ("alice", ["SET", "hello"]),
        ("bob", ["LPUSH", "1"]),
        ("carol", ["SET", "9223372036854775807"]),
    ] {
        redis.command(&[command, &key.replace("zoe", user), foreign]);
        let answers = statuses(3, || tasks(user)).await;
        assert_eq!(answers, [200, 200, 429], "{user}");
    }
    // As Redis closes connections that were idle for its `timeout`.
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    assert_eq!(statuses(3, || tasks("dora")).await, [200, 200, 429]);
    assert!(daemon.metric("rate_limit_backend_errors_total").await == 0);
}

/// A Redis that hangs delays one request briefly, and no other.
#[rstest]
#[tokio::test]
async fn with_a_frozen_redis(#[values(Sqlite, Postgres)] engine: Engine) {
    let redis = RedisServer::start();
    let url = redis.url();
    let daemon = Daemon::start_with(engine, |config| {
        config.auth.requests_per_minute = 1000;
        config.services.redis_url = Some(Secret::new(&url));
    })
    .await;
    assert_eq!(daemon.get("/tasks/").await.0, 200);
    redis.freeze(true);
    let started = Instant::now();
    assert_eq!(statuses(20, || daemon.get("/tasks/")).await, [200; 20]);
    assert!(
        started.elapsed() < Duration::from_millis(1500),
        "{:?}",
        started.elapsed()
    );
    assert!(daemon.metric("rate_limit_backend_errors_total").await > 0);
    redis.freeze(false);
}

/// A daemon starts without its Redis and still limits.
#[rstest]
#[tokio::test]
async fn without_its_redis(#[values(Sqlite, Postgres)] engine: Engine) {
    let url = {
        let redis = RedisServer::start();
        redis.url()
    };
    let daemon = Daemon::start_with(engine, |config| {
        config.auth.requests_per_minute = 2;
        config.services.redis_url = Some(Secret::new(&url));
    })
    .await;
    assert_eq!(statuses(3, || daemon.get("/tasks/")).await, [200, 200, 429]);
    assert_eq!(
        statuses(1, || daemon.get("/tasks/").bearer(SERVICE_TOKEN)).await,
        [401]
    );
}
