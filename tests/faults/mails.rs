//! Reminders by mail that nobody gets: users without addresses, and a provider that does not take
//! them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::running::status;
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};
use crate::support::{Answer, HttpPeer, eventually};

const CHECK: &str = "daemon.mails";
const MAIL: &str = "services.mail";

const UNSENT: Symptom = Symptom::Risk("reminders are not mailed");

faults! {
    NO_ACCOUNTS = Fault {
        title: "Mail is configured, and the database has no accounts",
        symptom: UNSENT,
        check: CHECK,
        outcome: "warn",
        after: After::Person("where the accounts are is for a person to say"),
    };
    NO_RIGHT_TO_ACCOUNTS = Fault {
        title: "Mail is configured, and the role may not read the accounts",
        symptom: UNSENT,
        check: CHECK,
        outcome: "warn",
        // The daemon looks again within 15 minutes.
        after: After::Typed("warn"),
    };
    OTHER_IDS = Fault {
        title: "The ids of the accounts are not those of the tasks' users",
        symptom: UNSENT,
        check: CHECK,
        outcome: "warn",
        after: After::Person("the sign-in service has to write the right ids"),
    };
    NO_ADDRESSES = Fault {
        title: "The accounts have no e-mail addresses",
        symptom: UNSENT,
        check: CHECK,
        outcome: "warn",
        after: After::Person("only the users know their addresses"),
    };
    WAITING_MAILS = Fault {
        title: "The mail provider has failed for hours",
        symptom: UNSENT,
        check: CHECK,
        outcome: "warn",
        after: After::Person("the provider has to recover"),
    };
    REFUSED_RECIPIENT = Fault {
        title: "The mail provider refuses the address of a user",
        symptom: Symptom::Risk("this user gets no mail"),
        check: CHECK,
        outcome: "warn",
        after: After::Person("only the user knows the right address"),
    };
    MISSPELT_SENDER = Fault {
        title: "EMAIL_FROM is neither an address nor a name and an address in angle brackets",
        symptom: UNSENT,
        check: MAIL,
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

/// Tasks of `me` that are due within the hour.
const DUE: &str = "
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20)
    INSERT INTO tasks (user_id, title, title_folded, due_date, created_at, updated_at)
    SELECT 'me', 't', 't', unixepoch() * 1000000 + 3600000000, 1, 1 FROM numbers";

/// A service with a mail provider that answers every mail so.
async fn with_provider(answer: Answer) -> (HttpPeer, Scene) {
    let peer = HttpPeer::start(move |request| match request.path.as_str() {
        "/domains" => {
            let domain = json!({ "name": "example.com", "status": "verified" });
            Answer::Json(200, json!({ "data": [domain] }))
        }
        _ => answer.clone(),
    })
    .await;
    let scene = Scene::sqlite().await;
    configure(&scene, &peer);
    (peer, scene)
}

pub fn configure(scene: &Scene, peer: &HttpPeer) {
    scene.set("RESEND_API_KEY", "re_canary");
    scene.set("RESEND_API_URL", &peer.url);
    scene.set("EMAIL_FROM", "'Todo <todo@example.com>'");
}

fn accepted() -> Answer {
    Answer::Json(200, json!({ "id": "49a3999c" }))
}

/// Starts the daemon and waits until it tells this about its mails.
pub async fn started(scene: &mut Scene, what: &str, is_so: impl Fn(&Value) -> bool) {
    scene.stop();
    let base = scene.start_at_its_port();
    eventually(what, async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        is_so(&status(&base)["mails"])
    })
    .await;
}

/// How many mails have this state.
fn count(mails: &Value, state: &str) -> i64 {
    let outcomes = mails["outcomes"].as_array().into_iter().flatten();
    outcomes
        .filter(|one| one["state"] == state)
        .map(|one| one["mails"].as_i64().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_without_addresses() {
    let (peer, mut scene) = with_provider(accepted()).await;
    let file = scene.file();
    sqlite(&file, DUE).await;
    started(&mut scene, "no accounts", |mails| {
        mails["accounts"] == "missing"
    })
    .await;
    scene.proves(&NO_ACCOUNTS).await;
    scene.stop();
    sqlite(&file, r#"CREATE TABLE "user" (name text)"#).await;
    started(&mut scene, "other columns", |mails| {
        mails["accounts"] == "other_columns"
    })
    .await;
    scene.proves(&NO_ACCOUNTS).await;
    scene.stop();

    sqlite(
        &file,
        r#"DROP TABLE "user"; CREATE TABLE "user" (id integer, email text);
                     INSERT INTO "user" VALUES (7, 'me@canary.example')"#,
    )
    .await;
    sqlite(&file, DUE).await;
    started(&mut scene, "no account", |mails| {
        count(mails, "skipped") == 20
    })
    .await;
    scene.proves(&OTHER_IDS).await;
    let said = scene.doctor(CHECK).detail(CHECK).to_owned();
    assert!(said.ends_with("no account with the user's id"), "{said}");
    scene.stop();

    sqlite(
        &file,
        r#"DELETE FROM todoctl_outbox; DROP TABLE "user";
                     CREATE TABLE "user" (id text, email text);
                     INSERT INTO "user" VALUES ('me', NULL)"#,
    )
    .await;
    sqlite(&file, DUE).await;
    started(&mut scene, "no address", |mails| {
        count(mails, "skipped") == 20
    })
    .await;
    scene.proves(&NO_ADDRESSES).await;
    scene.stop();

    sqlite(&file, r#"UPDATE "user" SET email = 'me@canary.example'"#).await;
    sqlite(&file, DUE).await;
    started(&mut scene, "all are sent", |mails| {
        count(mails, "sent") == 20
    })
    .await;
    for fault in [&NO_ACCOUNTS, &OTHER_IDS, &NO_ADDRESSES] {
        scene.proves_gone(fault);
    }
    assert!(!format!("{:#}", scene.doctor(CHECK).json).contains("canary"));
    drop(peer);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_may_not_be_read() {
    let (peer, _) = with_provider(accepted()).await;
    let mut scene = Scene::postgres().await;
    configure(&scene, &peer);
    let name = with_role(&mut scene, "", &[SCHEMA, TABLES, SEQUENCES].join("; ")).await;
    scene
        .sql(r#"CREATE TABLE "user" (id text, email text, password text)"#)
        .await;
    started(&mut scene, "no right", |mails| {
        mails["accounts"] == "no_right"
    })
    .await;
    scene.proves(&NO_RIGHT_TO_ACCOUNTS).await;
    started(&mut scene, "the right", |mails| {
        mails["accounts"] == "ready"
    })
    .await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
    scene.stop();
    drop_role_of(&mut scene, &name).await;
}

/// A mail that was written hours ago and was tried often.
pub const OLD_MAIL: &str = r#"
    CREATE TABLE "user" (id text, email text);
    INSERT INTO "user" VALUES ('me', 'me@canary.example');
    INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at)
    SELECT 'me', min(id), 'due_soon', 'm', 0, 0, 1 FROM tasks;
    INSERT INTO todoctl_outbox (notification_id, user_id, subject, body, idempotency_key, attempts,
        due_at, expires_at, created_at)
    SELECT id, 'me', 's', 'b', 'k', 9, 1, unixepoch() * 1000000 + 3600000000,
        unixepoch() * 1000000 - 6 * 3600000000 FROM notifications"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_for_hours() {
    let failed = Answer::Json(
        500,
        json!({ "name": "application_error", "message": "canary" }),
    );
    let (peer, mut scene) = with_provider(failed).await;
    let file = scene.file();
    sqlite(&file, OLD_MAIL).await;
    let has_failed = |mails: &Value| mails["outcomes"][0]["reason"] == "500 application_error";
    started(&mut scene, "it failed", has_failed).await;
    scene.proves(&WAITING_MAILS).await;
    let report = scene.doctor(CHECK);
    let detail = report.detail(CHECK);
    assert!(
        detail.starts_with("1 mails wait, the oldest for 6h"),
        "{detail}"
    );
    assert!(
        detail.ends_with("failed: 500 application_error"),
        "{detail}"
    );
    scene.stop();

    // The same where it does not answer at all, without the names of its machines.
    let answers = peer.url.clone();
    drop(peer);
    sqlite(&file, "UPDATE todoctl_outbox SET due_at = 1").await;
    started(&mut scene, "no answer", |mails| {
        mails["outcomes"][0]["reason"] == "unreachable"
    })
    .await;
    scene.proves(&WAITING_MAILS).await;
    // A mail that waits for some minutes is none of anybody's business.
    scene.stop();
    sqlite(
        &file,
        "UPDATE todoctl_outbox SET due_at = 1, created_at = unixepoch() * 1000000",
    )
    .await;
    started(&mut scene, "no answer", |mails| {
        mails["outcomes"][0]["reason"] == "unreachable"
    })
    .await;
    scene.proves_gone(&WAITING_MAILS);
    assert!(!scene.doctor(CHECK).json.to_string().contains(&answers));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_and_a_sender_that_are_refused() {
    let refusal = |field: &str| {
        let message = format!("Invalid `{field}` field. canary@example.com is none");
        Answer::Json(
            422,
            json!({ "name": "validation_error", "message": message }),
        )
    };
    let (_peer, mut scene) = with_provider(refusal("to")).await;
    let file = scene.file();
    sqlite(&file, OLD_MAIL).await;
    started(&mut scene, "it is given up", |mails| mails["dead"] == 1).await;
    scene.proves(&REFUSED_RECIPIENT).await;
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", "correct the e-mail of these users");
    let text = report.json.to_string();
    assert!(
        !text.contains("RESEND_API_KEY") && !text.contains("canary"),
        "{text}"
    );
    scene.stop();
    // It is told for a day.
    sqlite(
        &file,
        "UPDATE todoctl_outbox SET finished_at = finished_at - 25 * 3600000000",
    )
    .await;
    started(&mut scene, "it is read", |mails| {
        mails["outcomes"] == json!([])
    })
    .await;
    scene.proves_gone(&REFUSED_RECIPIENT);
    scene.stop();

    // A sender that is refused kills no mail.
    let (peer, mut scene) = with_provider(refusal("from")).await;
    for (wrong, right) in [
        ("'Todo <todo@example.com'", "Todo <todo@example.com>"),
        ("'Todo todo@example.com'", "Todo <todo@example.com>"),
        ("todo@example.com>", "todo@example.com"),
    ] {
        scene.set("EMAIL_FROM", wrong);
        scene.proves(&MISSPELT_SENDER).await;
        let written = scene.get("EMAIL_FROM").unwrap();
        assert_eq!(written.trim_matches(['\'', '"']), right);
    }
    sqlite(&scene.file(), OLD_MAIL).await;
    started(&mut scene, "it waits", |mails| mails["paused"] == true).await;
    scene
        .doctor(CHECK)
        .says(CHECK, "warn", "config set 'EMAIL_FROM=");
    scene
        .doctor(CHECK)
        .says(CHECK, "warn", " UTC; as soon as the fault is corrected");
    // As by todoctl jobs run reminders; the daemon has not looked since.
    let sent = "UPDATE todoctl_outbox SET state = 'sent', finished_at = unixepoch() * 1000000";
    sqlite(&scene.file(), sent).await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(
        peer.received()
            .iter()
            .filter(|one| one.path == "/emails")
            .count(),
        1
    );
}
