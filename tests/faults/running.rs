//! Daemons in trouble, as their `/status` tells it.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::{
    Answer, HttpPeer, MailPeer, RedisServer, blocking_eventually, blocking_http_client, eventually,
};

faults! {
    FAILING_ROUTE = Fault {
        title: "One route of the daemon fails",
        symptom: Symptom::Risk("`GET /notifications` answers 500"),
        check: "daemon.errors",
        outcome: "warn",
        after: After::Typed("warn"),
    };
    LOST_SERVICES = Fault {
        title: "Redis and the auth server went away while the daemon runs",
        symptom: Symptom::Risk("opaque tokens are answered with 503, and limits are per daemon"),
        check: "daemon.services",
        outcome: "warn",
        after: After::Person("the services have to come back"),
    };
    FEW_FILES = Fault {
        title: "The daemon has reached its limit of open files",
        symptom: Symptom::Risk("connections are refused"),
        check: "daemon.process",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    CHANGED_CONFIGURATION = Fault {
        title: "The configuration was changed, and the daemon not restarted",
        symptom: Symptom::Risk("the daemon does something else than its configuration says"),
        check: "daemon.configuration",
        outcome: "warn",
        after: After::Person("the daemon has to be restarted"),
    };
    PAUSED_MAILS = Fault {
        title: "The mail provider refuses the sender",
        symptom: Symptom::Risk("mails wait, and are given up after a day"),
        check: "daemon.mails",
        outcome: "warn",
        after: After::Person("the domain has to be verified at the provider"),
    };
    DEAD_MAILS = Fault {
        title: "The mail provider refused a mail for good",
        symptom: Symptom::Risk("a reminder did not arrive"),
        check: "daemon.mails",
        outcome: "warn",
        after: After::Person("only the row's age makes it go away"),
    };
    OLD_DAEMON = Fault {
        title: "The daemon was not restarted after an upgrade",
        symptom: Symptom::Risk("what was corrected in the upgrade is not in effect"),
        check: "daemon.version",
        outcome: "warn",
        after: After::Person("the daemon has to be restarted"),
    };
    LATE_REMINDERS = Fault {
        title: "Reminders have failed for an hour",
        symptom: Symptom::Risk("nobody is reminded"),
        check: "daemon.reminders",
        outcome: "warn",
        after: After::Typed("warn"),
    };
}

pub fn status(base: &str) -> Value {
    let url = format!("{base}/status");
    let ask = || blocking_http_client().get(url).send().unwrap().json();
    std::thread::scope(|scope| scope.spawn(ask).join().unwrap().unwrap())
}

/// The status of a request with this bearer token.
fn with_token(base: &str, token: &str) -> u16 {
    let request = blocking_http_client_request(base, token);
    std::thread::scope(|scope| scope.spawn(&request).join().unwrap())
}

fn blocking_http_client_request(base: &str, token: &str) -> impl Fn() -> u16 + Sync {
    let (url, token) = (format!("{base}/tasks/"), token.to_owned());
    move || {
        let request = blocking_http_client().get(&url).bearer_auth(&token);
        request.send().unwrap().status().as_u16()
    }
}

/// The checks of an idle daemon that is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_well() {
    for mut scene in [Scene::postgres().await, Scene::sqlite().await] {
        let base = scene.start_at_its_port();
        assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
        let report = scene.doctor("daemon");
        for check in report.json["checks"].as_array().unwrap() {
            let outcome = check["outcome"].as_str().unwrap();
            // The tests may run in a container, where the address is not a good one.
            let is_fine = ["pass", "skip"].contains(&outcome) || check["id"] == "daemon.listen";
            assert!(is_fine, "{check:#}");
        }
        for id in ["errors", "process", "configuration", "version", "database"] {
            report.says(&format!("daemon.{id}"), "pass", "");
        }
        let status = status(&base);
        assert_eq!(status["requests"]["failures"], json!([]), "{status:#}");
    }
}

/// A table that is gone makes one route fail; the others work.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_fail() {
    let mut scene = Scene::postgres().await;
    let base = scene.start_at_its_port();
    scene
        .sql("ALTER TABLE notifications RENAME TO canary")
        .await;
    for _ in 0..4 {
        assert_eq!(Scene::ask(&base, "GET", "/notifications"), 500);
    }
    let report = scene.doctor("daemon.errors");
    let detail = report.detail("daemon.errors");
    for said in [
        "4 of 4 GET /notifications",
        "500 database, code 42P01, request ",
    ] {
        assert!(detail.contains(said), "{said:?} is not in {detail:?}");
    }
    // The texts of errors are in the log alone.
    let said = format!("{detail}{:#}", status(&base));
    assert!(!said.contains("canary"), "{said}");
    scene.proves(&FAILING_ROUTE).await;
}

/// Both were there when the daemon started.
#[tokio::test(flavor = "multi_thread")]
async fn services_that_went_away() {
    let mut scene = Scene::postgres().await;
    let mut redis = RedisServer::start();
    let peer = HttpPeer::answering(Answer::Json(200, json!(null))).await;
    scene.set("REDIS_URL", &redis.url());
    scene.set("RATE_LIMIT_PER_MINUTE", "1000");
    scene.set("AUTH_SERVER_URL", &peer.url);
    let base = scene.start_at_its_port();
    assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 200);
    scene
        .doctor("daemon.services")
        .says("daemon.services", "pass", "");
    redis.kill();
    peer.set(Answer::Json(500, json!(null)));
    assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 200);
    for number in 0..6 {
        let token = format!("opaque-token-of-a-browser-{number}");
        assert_eq!(with_token(&base, &token), 503);
    }
    let report = scene.doctor("daemon.services");
    let detail = report.detail("daemon.services");
    for said in [
        "Redis did not count when the daemon last asked it, at ",
        "(unreachable)",
        "the auth server failed when the daemon last asked it, at ",
    ] {
        assert!(detail.contains(said), "{said:?} is not in {detail:?}");
    }
    scene.proves(&LOST_SERVICES).await;
    redis.run();
    peer.set(Answer::Json(200, json!(null)));
    eventually("both answer again", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        with_token(&base, "another-opaque-token-of-a-browser");
        scene.doctor("daemon.services").check("daemon.services")["outcome"] == "pass"
    })
    .await;
}

/// The daemon's process when its number of open files has not changed for some time: what runs after a
/// start has connections of its own.
fn settled(base: &str) -> Value {
    let mut process = Value::Null;
    let mut same = 0;
    blocking_eventually("the number of open files settles", || {
        let now = status(base)["process"].clone();
        let is_same = now["open_files"] == process["open_files"];
        same = if is_same { same + 1 } else { 0 };
        process = now;
        same >= 20
    });
    process
}

/// A limit for a shell, not for a service.
#[tokio::test(flavor = "multi_thread")]
async fn too_few_files() {
    let mut scene = Scene::postgres().await;
    let base = scene.start_at_its_port();
    let process = settled(&base);
    let limit = process["open_files"].as_u64().unwrap() + 2;
    let lowered = Command::new("prlimit")
        .args(["--pid", &process["pid"].to_string()])
        .arg(format!("--nofile={limit}:"))
        .status()
        .unwrap();
    assert!(lowered.success());
    scene.proves(&FEW_FILES).await;
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_was_changed() {
    let mut scene = Scene::postgres().await;
    scene.start_at_its_port();
    scene
        .doctor("daemon.configuration")
        .says("daemon.configuration", "pass", "");
    scene.set("JWT_SECRET", &"canary".repeat(8));
    scene.set("RATE_LIMIT_PER_MINUTE", "7");
    let report = scene.doctor("daemon.configuration");
    let detail = report.detail("daemon.configuration");
    assert!(
        detail.ends_with("JWT_SECRET, RATE_LIMIT_PER_MINUTE"),
        "{detail}"
    );
    assert!(!format!("{:#}", report.json).contains("canary"));
    scene.proves(&CHANGED_CONFIGURATION).await;
    scene.stop();
    scene.start_at_its_port();
    scene.proves_gone(&CHANGED_CONFIGURATION);
}

/// With a mail that waits, for a user with an address.
async fn with_mail() -> (MailPeer, Scene) {
    let scene = Scene::postgres().await;
    scene
        .sql(
            "CREATE TABLE \"user\" (id text PRIMARY KEY, email text);
             INSERT INTO \"user\" VALUES ('me', 'me@canary.example');
             INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at)
             SELECT 'me', min(id), 'due_soon', 'm', false, false, now() FROM tasks;
             INSERT INTO todoctl_outbox
               (notification_id, user_id, subject, body, idempotency_key, due_at, expires_at, created_at)
             SELECT id, 'me', 's', 'b', 'k', now(), now() + interval '1 day', now() FROM notifications",
        )
        .await;
    let peer = MailPeer::start().await;
    scene.set("RESEND_API_KEY", "re_canary");
    scene.set("RESEND_API_URL", peer.url().as_str());
    scene.set("EMAIL_FROM", "todo@canary.example");
    (peer, scene)
}

/// Waits until the daemon tells this about its mails.
async fn mails(base: &str, what: &str, expected: Value) {
    eventually(what, async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        status(base)["mails"][what] == expected
    })
    .await;
}

/// Once its operator has verified the domain, mails go out.
#[tokio::test(flavor = "multi_thread")]
async fn mails_that_wait() {
    let (peer, mut scene) = with_mail().await;
    peer.will_answer([Answer::Json(403, json!({ "name": "validation_error" }))]);
    let base = scene.start_at_its_port();
    mails(&base, "paused", json!(true)).await;
    let report = scene.doctor("daemon.mails");
    let detail = report.detail("daemon.mails");
    assert!(detail.contains("(403 validation_error, for "), "{detail}");
    assert!(!format!("{:#}", report.json).contains("canary"));
    scene.proves(&PAUSED_MAILS).await;
    // As the remedy says: after a correction, the daemon is restarted.
    scene.stop();
    let base = scene.start_at_its_port();
    mails(&base, "pending", json!(0)).await;
    scene.proves_gone(&PAUSED_MAILS);
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_that_were_given_up() {
    let (peer, mut scene) = with_mail().await;
    peer.will_answer([Answer::Json(422, json!({ "name": "invalid_to_address" }))]);
    let base = scene.start_at_its_port();
    mails(&base, "dead", json!(1)).await;
    scene.proves(&DEAD_MAILS).await;
}

/// A daemon whose status is told by somebody else: neither an old build nor an hour can be had of
/// this binary.
async fn told(scene: &Scene, status: Value) -> HttpPeer {
    let peer = HttpPeer::start(move |request| match request.path.as_str() {
        "/status" => Answer::Json(200, status.clone()),
        _ => Answer::Json(200, json!({ "status": "healthy", "database": "connected" })),
    })
    .await;
    let url = url::Url::parse(&peer.url).unwrap();
    scene.set("PORT", &url.port().unwrap().to_string());
    peer
}

fn now() -> i64 {
    todoctl::clock::Clock::system().now().unix_seconds()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_daemon_whose_reminders_are_late() {
    let mut scene = Scene::postgres().await;
    let _peer = told(
        &scene,
        json!({ "version": "0.0.1", "pools": [], "mails": null, "last_reminder_run": now() - 3600 }),
    )
    .await;
    scene.proves(&OLD_DAEMON).await;
    scene.proves(&LATE_REMINDERS).await;
    for id in ["daemon.errors", "daemon.process", "daemon.configuration"] {
        scene.doctor(id).says(id, "skip", "");
    }
    // Another build of this version, whose reminders have never run.
    let process = json!({
        "pid": 1, "started": now() - 7200, "open_files": 1, "max_files": 2, "threads": 1,
        "resident_bytes": 1, "dropped_log_lines": 0,
    });
    let _peer = told(
        &scene,
        json!({
            "version": env!("CARGO_PKG_VERSION"), "commit": "0000000", "pools": [], "mails": null,
            "last_reminder_run": null, "process": process,
        }),
    )
    .await;
    // A build outside of a repository has no commit to compare.
    if !todoctl::COMMIT.is_empty() {
        scene
            .doctor("daemon.version")
            .says("daemon.version", "warn", "");
    }
    scene
        .doctor("daemon.reminders")
        .says("daemon.reminders", "warn", "");
}
