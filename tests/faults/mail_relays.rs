//! A relay of mails in place of the provider, and what the provider says beside its list of domains.

use serde_json::{Value, json};

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::mails::{OLD_MAIL, configure, started};
use crate::support::{Answer, HttpPeer};

const MAIL: &str = "services.mail";

const UNSENT: Symptom = Symptom::Risk("reminders are not mailed, and are given up after 24 hours");

faults! {
    OTHER_RELAY = Fault {
        title: "What answers at RESEND_API_URL takes no mails, and RESEND_API_KEY is not of the provider",
        symptom: UNSENT,
        check: MAIL,
        outcome: "warn",
        after: After::Person("nobody else knows where the relay is"),
    };
    MOVED_RELAY = Fault {
        title: "The address of the mail provider redirects",
        symptom: UNSENT,
        check: MAIL,
        outcome: "warn",
        after: After::Typed("pass"),
    };
    FOREIGN_REDIRECTION = Fault {
        title: "The address of the mail provider redirects to another host, or to a login page",
        symptom: UNSENT,
        check: MAIL,
        outcome: "warn",
        after: After::Person("whether that host may have the key is for a person to say"),
    };
    SENDING_DISABLED = Fault {
        title: "Sending is disabled for the domain of EMAIL_FROM",
        symptom: UNSENT,
        check: MAIL,
        outcome: "fail",
        after: After::Person("only the account's owner can enable it"),
    };
}

/// A relay that has only `POST /emails`, and takes every mail that has a recipient.
fn relay(path: &str, body: &[u8]) -> Answer {
    match path {
        "/emails" if has_recipient(body) => Answer::Json(200, json!({ "id": "49a3999c" })),
        "/emails" => Answer::Json(422, json!({ "name": "missing_required_field" })),
        _ => Answer::Json(404, json!({ "message": "no such page" })),
    }
}

fn has_recipient(body: &[u8]) -> bool {
    let mail: Value = serde_json::from_slice(body).unwrap_or_default();
    mail.get("to").is_some()
}

fn no_unset(scene: &Scene) {
    let text = scene.doctor(MAIL).json.to_string();
    assert!(!text.contains("config unset RESEND_API_URL"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn relays() {
    let mut scene = Scene::sqlite().await;
    let only_mails = HttpPeer::start(|request| relay(&request.path, &request.body)).await;
    configure(&scene, &only_mails);
    scene.doctor(MAIL).says(MAIL, "pass", "");
    // Neither the page nor the language of the provider, in three ways.
    scene.set("RESEND_API_KEY", "relay-canary");
    for status in [404, 401, 200] {
        let nothing = HttpPeer::answering(Answer::Json(status, json!({}))).await;
        scene.set("RESEND_API_URL", &nothing.url);
        if status == 200 {
            scene
                .doctor(MAIL)
                .says(MAIL, "fail", "correct RESEND_API_URL");
        } else {
            scene.proves(&OTHER_RELAY).await;
        }
        no_unset(&scene);
    }
    scene.set("RESEND_API_URL", &only_mails.url);
    scene.proves_gone(&OTHER_RELAY);

    // Mails that it has accepted are the proof, whatever it answers otherwise.
    let accepting = |status, name: &'static str| {
        HttpPeer::start(move |request| match request.path.as_str() {
            "/emails" if has_recipient(&request.body) => relay("/emails", &request.body),
            _ => Answer::Json(status, json!({ "name": name })),
        })
    };
    scene.set("RESEND_API_KEY", "re_canary");
    sqlite(&scene.file(), OLD_MAIL).await;
    for (status, name, until_then) in [
        (429, "rate_limit_exceeded", "the other programs that use it"),
        (500, "application_error", "recovers"),
    ] {
        let peer = accepting(status, name).await;
        scene.set("RESEND_API_URL", &peer.url);
        scene.doctor(MAIL).says(MAIL, "warn", until_then);
        sqlite(
            &scene.file(),
            "UPDATE todoctl_outbox SET state = 'pending', attempts = 0, due_at = 1",
        )
        .await;
        started(&mut scene, "a mail is sent", |mails| {
            mails["last_sent"].is_i64()
        })
        .await;
        scene.doctor(MAIL).says(MAIL, "pass", "");
        // The daemon proves nothing for another address.
        let nothing = HttpPeer::answering(Answer::Json(404, json!({}))).await;
        scene.set("RESEND_API_URL", &nothing.url);
        scene
            .doctor(MAIL)
            .says(MAIL, "warn", "give RESEND_API_URL back");
        no_unset(&scene);
        scene.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirections() {
    let mut scene = Scene::sqlite().await;
    let right = HttpPeer::start(|request| relay(&request.path, &request.body)).await;
    configure(&scene, &right);
    let to = format!("{}/emails?token=canary", right.url).leak();
    let redirecting = |status, to: &'static str, is_all: bool| {
        HttpPeer::start(move |request| match request.path.as_str() {
            "/domains" if !is_all => {
                let domain = json!({ "name": "example.com", "status": "verified" });
                Answer::Json(200, json!({ "data": [domain] }))
            }
            _ => Answer::WithHeader(status, ("location", to), Value::Null),
        })
    };
    for status in [301, 302, 307, 308] {
        let moved = redirecting(status, to, true).await;
        scene.set("RESEND_API_URL", &moved.url);
        scene.proves(&MOVED_RELAY).await;
        assert_eq!(scene.get("RESEND_API_URL").as_ref(), Some(&right.url));
    }
    for to in [
        "https://mail.example.com/emails",
        "https://login.example.com/?token=canary",
    ] {
        let elsewhere = redirecting(308, to, true).await;
        scene.set("RESEND_API_URL", &elsewhere.url);
        scene.proves(&FOREIGN_REDIRECTION).await;
        let text = scene.doctor(MAIL).json.to_string();
        assert!(!text.contains("canary"), "{text}");
        no_unset(&scene);
    }
    scene.set("RESEND_API_URL", &right.url);
    scene.proves_gone(&FOREIGN_REDIRECTION);

    // Only mails are redirected: the daemon's tell it.
    let moved = redirecting(308, to, false).await;
    scene.set("RESEND_API_URL", &moved.url);
    scene.doctor(MAIL).says(MAIL, "pass", "");
    sqlite(&scene.file(), OLD_MAIL).await;
    started(&mut scene, "mails wait", |mails| {
        mails["paused_reason"] == "308"
    })
    .await;
    scene.doctor("daemon.mails").says(
        "daemon.mails",
        "warn",
        "correct RESEND_API_URL as services.mail says",
    );
    scene.proves(&MOVED_RELAY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_that_may_not_send() {
    let domain = |sending: &str| {
        let capabilities = json!({ "sending": sending, "receiving": "enabled" });
        let domain =
            json!({ "name": "example.com", "status": "verified", "capabilities": capabilities });
        HttpPeer::answering(Answer::Json(200, json!({ "data": [domain] })))
    };
    let mut scene = Scene::new();
    let disabled = domain("disabled").await;
    configure(&scene, &disabled);
    scene.proves(&SENDING_DISABLED).await;
    let enabled = domain("enabled").await;
    scene.set("RESEND_API_URL", &enabled.url);
    scene.proves_gone(&SENDING_DISABLED);
}
