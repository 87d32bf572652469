//! Clients that the daemon refuses although they are right, and load balancers that avoid it.

use std::time::Duration;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::{blocking_http_client, eventually};

faults! {
    OTHER_SECRET = Fault {
        title: "The sign-in service has another JWT_SECRET",
        symptom: Symptom::Risk("every user token is answered with 401"),
        check: "daemon.errors",
        outcome: "warn",
        after: After::Person("only a person knows the sign-in service's secret"),
    };
    UNTRUSTED_PROXY = Fault {
        title: "TRUSTED_PROXIES does not name the proxy",
        symptom: Symptom::Risk("users with a right token are answered with 429"),
        check: "daemon.errors",
        outcome: "warn",
        // The daemon still has to be restarted.
        after: After::Typed("warn"),
    };
    UNTRUSTED_INNER_PROXY = Fault {
        title: "TRUSTED_PROXIES names the outer one of two proxies only",
        symptom: Symptom::Risk("users with a right token are answered with 429"),
        check: "daemon.errors",
        outcome: "warn",
        // The daemon still has to be restarted.
        after: After::Typed("warn"),
    };
    LOW_LIMIT = Fault::warned_of(
        "RATE_LIMIT_PER_MINUTE is lower than the first clicks of a user",
        Symptom::Risk("most requests of every user are answered with 429"),
        "config.http",
    );
    LIMITED_USERS = Fault {
        title: "RATE_LIMIT_PER_MINUTE refuses many requests",
        symptom: Symptom::Risk("users are answered with 429"),
        check: "daemon.errors",
        outcome: "warn",
        // The daemon still has to be restarted.
        after: After::Typed("warn"),
    };
    DRAINING = Fault {
        title: "The daemon was asked to stop, and waits for SHUTDOWN_DELAY_SECONDS",
        symptom: Symptom::Risk("load balancers send it nothing"),
        check: "daemon.health",
        outcome: "warn",
        after: After::Person("only a person knows whether it was to stop"),
    };
}

/// The status of a request with a token that is signed with another secret.
fn with_other_signature(base: &str, forwarded_for: Option<&str>) -> u16 {
    let url = format!("{base}/tasks/");
    let ask = || {
        let request = blocking_http_client().get(&url);
        // {"alg":"HS256"}, {}
        let mut request = request.bearer_auth("eyJhbGciOiJIUzI1NiJ9.e30.AAAA");
        if let Some(address) = forwarded_for {
            request = request.header("X-Forwarded-For", address);
        }
        request.send().unwrap().status().as_u16()
    };
    std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_refused() {
    let mut scene = Scene::sqlite().await;
    scene.set("AUTH_FAILURES_PER_MINUTE", "5");
    scene.set("SHUTDOWN_DELAY_SECONDS", "600");
    let base = scene.start_at_its_port();
    for number in 0..10 {
        let expected = if number < 5 { 401 } else { 429 };
        assert_eq!(with_other_signature(&base, None), expected);
    }
    let report = scene.doctor("daemon.errors");
    let detail = report.detail("daemon.errors");
    assert!(
        detail.contains("10 of 10 user tokens had a wrong signature"),
        "{detail}"
    );
    assert!(!detail.contains("X-Forwarded-For"), "{detail}");
    scene.proves(&OTHER_SECRET).await;
    assert_eq!(with_other_signature(&base, Some("198.51.100.7")), 429);
    scene.proves(&UNTRUSTED_PROXY).await;
    assert_eq!(scene.get("TRUSTED_PROXIES").as_deref(), Some("127.0.0.1"));
    scene.stop();

    // One client has wrong tokens, and the others pay for it.
    scene.set("AUTH_FAILURES_PER_MINUTE", "10");
    let base = scene.start_at_its_port();
    let inner = |client| with_other_signature(&base, Some(client));
    for number in 0..15 {
        let expected = if number < 10 { 401 } else { 429 };
        assert_eq!(inner("203.0.113.1, 10.0.0.5"), expected);
    }
    let report = scene.doctor("daemon.errors");
    let remedy = report.check("daemon.errors")["remedy"].as_str().unwrap();
    assert!(!remedy.contains("JWT_SECRET"), "{remedy}");
    assert_eq!(inner("203.0.113.2, 10.0.0.5"), 429);
    scene.proves(&UNTRUSTED_INNER_PROXY).await;
    let trusted = scene.get("TRUSTED_PROXIES").unwrap();
    assert_eq!(trusted.trim_matches('\''), "127.0.0.1,10.0.0.5");
    scene.stop();
    let base = scene.start_at_its_port();
    let inner = |client| with_other_signature(&base, Some(client));
    for number in 0..11 {
        let expected = if number < 10 { 401 } else { 429 };
        assert_eq!(inner("203.0.113.1, 10.0.0.5"), expected);
    }
    assert_eq!(inner("203.0.113.2, 10.0.0.5"), 401);

    scene.signal("-TERM");
    eventually("it drains", async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        scene.doctor("daemon.health").check("daemon.health")["outcome"] == "warn"
    })
    .await;
    scene.proves(&DRAINING).await;
    scene.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_too_low() {
    let mut scene = Scene::sqlite().await;
    scene.set("RATE_LIMIT_PER_MINUTE", "1");
    let base = scene.start_at_its_port();
    let answers: Vec<u16> = (0..12)
        .map(|_| Scene::ask(&base, "GET", "/tasks/"))
        .collect();
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 11);
    scene.proves(&LOW_LIMIT).await;
    assert_eq!(scene.get("RATE_LIMIT_PER_MINUTE").as_deref(), Some("600"));
    scene.proves(&LIMITED_USERS).await;
    scene.stop();
    let base = scene.start_at_its_port();
    for _ in 0..12 {
        assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 200);
    }
    let report = scene.doctor("daemon.errors");
    report.says("daemon.errors", "pass", "");
}
