//! The mail outbox; contract 9.2, 10.39, 10.40.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use todoctl::domain::Timestamp;
use todoctl::jobs::outbox::Delivered;
use todoctl::jobs::{Jobs, Stop};

use crate::jobs::world::{MAIL_KEY, NOON, World, at};
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::{Answer, MailPeer, Received, eventually};

const STATE: &str = "SELECT state FROM todoctl_outbox";
const REASON: &str = "SELECT last_error FROM todoctl_outbox";

fn soon() -> Timestamp {
    at("2031-05-10T18:30:00Z")
}

/// Creates a task of `alice`, who has an address, and its waiting mail.
async fn one_waits(world: &World) {
    world.accounts(&["alice"]).await;
    world.task("alice", "Pay rent", Some(soon())).await;
    let run = world.remind(true).await;
    assert_eq!((run.due_soon, run.mails), (1, 1));
}

async fn deliver(world: &World, peer: &MailPeer) -> Delivered {
    world.outbox(peer).deliver(&Stop::never()).await.unwrap()
}

async fn sent_email(world: &World) -> bool {
    world.told("alice").await[0].sent_email
}

fn key(mail: &Received) -> &str {
    mail.header("idempotency-key")
}

fn only_sent(sent: usize) -> Delivered {
    Delivered {
        sent,
        ..Delivered::default()
    }
}

/// 9.2, 10.40: the mail follows Resend's API, is sent once, and is recorded once accepted.
#[rstest]
#[tokio::test]
async fn accepted(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    one_waits(&world).await;
    assert!(!sent_email(&world).await);
    let peer = MailPeer::start().await;
    assert_eq!(deliver(&world, &peer).await, only_sent(1));
    assert!(sent_email(&world).await);
    assert_eq!(deliver(&world, &peer).await, Delivered::default());
    let received = peer.received();
    assert_eq!(received.len(), 1);
    let mail = &received[0];
    assert_eq!(
        (mail.method.as_str(), mail.path.as_str()),
        ("POST", "/emails")
    );
    assert_eq!(mail.header("authorization"), format!("Bearer {MAIL_KEY}"));
    assert!((20..=256).contains(&key(mail).len()), "{}", key(mail));
    assert_eq!(
        mail.json(),
        json!({
            "from": "Todo <todo@example.com>",
            "to": ["alice@example.com"],
            "subject": "\"Pay rent\" is due soon",
            "text": "\"Pay rent\" is due soon: 2031-05-10 18:30 UTC.",
        })
    );
    assert_eq!(world.text(STATE).await, "sent");
    assert_eq!(world.metrics.mails.with_label_values(&["sent"]).get(), 1);
}

/// 9.2: mails are sent for tasks that are due soon; the subject has no line breaks.
#[rstest]
#[tokio::test]
async fn what_is_mailed(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    world.accounts(&["alice"]).await;
    world.task("alice", "two\nlines", Some(soon())).await;
    world
        .task("alice", "over", Some(at("2031-05-09T00:00:00Z")))
        .await;
    assert_eq!(world.remind(true).await.mails, 1);
    let peer = MailPeer::start().await;
    assert_eq!(deliver(&world, &peer).await, only_sent(1));
    assert_eq!(
        peer.received()[0].json()["subject"],
        "\"two lines\" is due soon"
    );
}

/// 9.3, 10.39: without a key, without accounts, without an address: reminders and no mail.
#[rstest]
#[tokio::test]
async fn no_recipient(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    world.task("alice", "a", Some(soon())).await;
    let run = world.remind(true).await;
    assert_eq!(
        (run.due_soon, run.mails),
        (1, 0),
        "there is no table of accounts"
    );
    world.accounts(&["bob"]).await;
    world.task("alice", "b", Some(soon())).await;
    let run = world.remind(false).await;
    assert_eq!((run.due_soon, run.mails), (1, 0), "there is no key");
    world.task("alice", "c", Some(soon())).await;
    world.remind(true).await;
    let statement = r#"INSERT INTO "user" (id, email) VALUES ('carol', ' ')"#;
    world.execute(statement, statement).await;
    world.task("carol", "d", Some(soon())).await;
    world.remind(true).await;
    let peer = MailPeer::start().await;
    let done = deliver(&world, &peer).await;
    assert_eq!(
        done,
        Delivered {
            skipped: 2,
            ..Delivered::default()
        }
    );
    let reasons = "SELECT last_error FROM todoctl_outbox ORDER BY id";
    let reasons: Vec<String> = world.database.column(reasons).await;
    assert_eq!(
        reasons,
        ["no account has the user's id", "the user has no address"]
    );
    assert_eq!(world.told("alice").await.len(), 3);
    assert!(peer.received().is_empty());
    assert_eq!(world.outbox(&peer).next().await.unwrap(), None);
}

/// 10.39: an unrelated table with that name breaks neither reminders nor the start.
#[rstest]
#[tokio::test]
async fn another_table_of_that_name(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    let statement = r#"CREATE TABLE "user" (name text)"#;
    world.execute(statement, statement).await;
    world.task("alice", "a", Some(soon())).await;
    let run = world.remind(true).await;
    assert_eq!((run.due_soon, run.mails), (1, 0));
}

/// Permanent rejections are final at once; `sent_email` stays false.
#[rstest]
#[tokio::test]
async fn refused(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    one_waits(&world).await;
    let peer = MailPeer::start().await;
    peer.will_answer([Answer::Json(
        422,
        json!({
            "name": "validation_error", "message": "alice@example.com is bad", "statusCode": 422,
        }),
    )]);
    let done = deliver(&world, &peer).await;
    assert_eq!(
        done,
        Delivered {
            dead: 1,
            ..Delivered::default()
        }
    );
    assert_eq!(world.text(STATE).await, "dead");
    assert_eq!(world.text(REASON).await, "422 validation_error");
    assert!(!sent_email(&world).await);
    let outbox = world.outbox(&peer);
    assert_eq!(outbox.next().await.unwrap(), None);
    let gauge = |state| world.metrics.outbox.with_label_values(&[state]).get();
    assert_eq!((gauge("pending"), gauge("dead")), (0, 1));
    assert_eq!(world.metrics.mails.with_label_values(&["dead"]).get(), 1);
}

/// A wrong key, sender or address kills no mail: the outbox pauses, and all is sent once that is
/// corrected.
#[rstest]
#[tokio::test]
async fn a_wrong_configuration(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    world.accounts(&["alice"]).await;
    for number in 0..12 {
        let title = format!("t{number}");
        world.task("alice", &title, Some(soon())).await;
    }
    assert_eq!(world.remind(true).await.mails, 12);
    let peer = MailPeer::start().await;
    let outbox = world.outbox(&peer);
    let status = |status: u16, name: &str| Answer::Json(status, json!({ "name": name }));
    // More often than a mail is tried.
    for (round, answer) in [
        status(401, "missing_api_key"),
        status(403, "validation_error"),
        status(404, "not_found"),
        status(422, "invalid_from_address"),
        status(401, "restricted_api_key"),
        status(403, "invalid_api_key"),
        // 2xx without the id of a mail: a proxy or a login page answers so to everything.
        status(200, "x"),
        Answer::Json(200, json!("<html>")),
        status(202, "x"),
    ]
    .into_iter()
    .enumerate()
    {
        peer.will_answer([answer]);
        let done = outbox.deliver(&Stop::never()).await.unwrap();
        assert_eq!((done.postponed, done.dead, done.sent), (1, 0, 0));
        assert_eq!(peer.received().len(), round + 1, "one try, then a pause");
        let again = outbox.deliver(&Stop::never()).await.unwrap();
        assert_eq!(again, Delivered::default());
        assert_eq!(world.metrics.outbox_paused.get(), 1);
        let next = outbox.next().await.unwrap().unwrap();
        let pause = next.micros() - world.clock.now().micros();
        assert_eq!(pause, 15 * 60 * 1_000_000);
        world.clock.set(next);
    }
    let waiting = "SELECT count(*) FROM todoctl_outbox WHERE state = 'pending' AND attempts = 0";
    assert_eq!(world.number(waiting).await, 12);
    // Another fault in between counts as before, and the mails are sent in the end.
    peer.will_answer([MailPeer::status(500)]);
    let done = outbox.deliver(&Stop::never()).await.unwrap();
    assert_eq!((done.sent, done.postponed, done.dead), (11, 1, 0));
    assert_eq!(world.metrics.outbox_paused.get(), 0);
    let next = outbox.next().await.unwrap().unwrap();
    world.clock.set(next);
    assert_eq!(deliver(&world, &peer).await, only_sent(1));
    assert!(world.told("alice").await.iter().all(|one| one.sent_email));
}

/// A restart with another configuration does not wait for the pause; nor do mails outlive a day.
#[rstest]
#[tokio::test]
async fn a_configuration_that_is_corrected(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    one_waits(&world).await;
    let peer = MailPeer::start().await;
    peer.will_answer([MailPeer::status(401)]);
    assert_eq!(deliver(&world, &peer).await.postponed, 1);
    assert_eq!(deliver(&world, &peer).await, only_sent(1));
    let received = peer.received();
    assert_eq!(key(&received[0]), key(&received[1]));

    let world = World::start(engine).await;
    one_waits(&world).await;
    peer.will_answer([MailPeer::status(403)]);
    assert_eq!(deliver(&world, &peer).await.postponed, 1);
    world.clock.set(at("2031-05-11T12:00:00Z"));
    assert_eq!(deliver(&world, &peer).await, Delivered::default());
    world.remind(false).await;
    assert_eq!(world.text(REASON).await, "expired: 403");
}

/// Temporary failures are retried with growing pauses and the same idempotency key, until the mail
/// is a day old.
#[rstest]
#[tokio::test]
async fn tried_again(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    one_waits(&world).await;
    let peer = MailPeer::start().await;
    let statuses = [408, 409, 429, 500, 502, 503, 504].into_iter().cycle();
    peer.will_answer(statuses.take(100).map(MailPeer::status));
    let outbox = world.outbox(&peer);
    let end = at("2031-05-11T12:00:00Z");
    let mut attempts = 0;
    while let Some(next) = outbox.next().await.unwrap() {
        if next >= end {
            break;
        }
        world.clock.set(next.max(world.clock.now()));
        assert_eq!(deliver(&world, &peer).await.postponed, 1, "{attempts}");
        attempts += 1;
        assert_eq!(
            deliver(&world, &peer).await,
            Delivered::default(),
            "not before its time"
        );
    }
    assert!((12..40).contains(&attempts), "{attempts}");
    world.clock.set(end);
    world.remind(false).await;
    assert_eq!(world.text(STATE).await, "dead");
    assert!(world.text(REASON).await.starts_with("expired: "));
    let received = peer.received();
    assert_eq!(received.len(), attempts);
    assert!(received.iter().all(|one| key(one) == key(&received[0])));
    assert!(!sent_email(&world).await);
}

/// `Retry-After` of the provider is respected.
#[rstest]
#[tokio::test]
async fn retry_after(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    one_waits(&world).await;
    let peer = MailPeer::start().await;
    peer.will_answer([Answer::WithHeader(429, ("retry-after", "600"), json!({}))]);
    assert_eq!(deliver(&world, &peer).await.postponed, 1);
    let next = world.outbox(&peer).next().await.unwrap().unwrap();
    assert!(next >= at("2031-05-10T12:10:00Z"));
    world.clock.set(next);
    assert_eq!(deliver(&world, &peer).await, only_sent(1));
    assert!(sent_email(&world).await);
}

/// Nothing listens: a retry; the recorded reason contains neither key nor address.
#[rstest]
#[tokio::test]
async fn out_of_reach(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    one_waits(&world).await;
    let closed = "http://127.0.0.1:9".parse().unwrap();
    let done = world
        .outbox_to(closed)
        .deliver(&Stop::never())
        .await
        .unwrap();
    assert_eq!(done.postponed, 1);
    assert_eq!(world.text(STATE).await, "pending");
    let reason = world.text(REASON).await;
    assert!(reason.contains("refused"), "{reason}");
}

/// Two processes send a mail once: the first one's claim is valid while it sends.
#[rstest]
#[tokio::test]
async fn two_at_once(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    world.accounts(&["alice"]).await;
    for number in 0..25 {
        world
            .task("alice", &format!("t{number}"), Some(soon()))
            .await;
    }
    assert_eq!(world.remind(true).await.mails, 25);
    let peer = MailPeer::start().await;
    peer.will_answer(
        (0..25).map(|_| Answer::Late(Duration::from_millis(20), 200, json!({ "id": "1" }))),
    );
    let (one, two) = tokio::join!(deliver(&world, &peer), deliver(&world, &peer));
    assert_eq!(one.sent + two.sent, 25);
    let received = peer.received();
    let keys: std::collections::BTreeSet<_> = received.iter().map(key).collect();
    assert_eq!((received.len(), keys.len()), (25, 25));
    assert!(world.told("alice").await.iter().all(|one| one.sent_email));
}

/// If a process dies between commit and send, or before it records the answer, the next one sends
/// the mail with the same idempotency key.
#[rstest]
#[tokio::test]
async fn after_a_death(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    one_waits(&world).await;
    let claimed = world
        .store
        .claim_mails(at("2031-05-10T12:03:00Z"), 10)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    let peer = MailPeer::start().await;
    assert_eq!(
        deliver(&world, &peer).await,
        Delivered::default(),
        "the claim holds"
    );
    let next = world.outbox(&peer).next().await.unwrap();
    assert_eq!(next, Some(at("2031-05-10T12:03:00Z")));
    world.clock.set(next.unwrap());
    assert_eq!(deliver(&world, &peer).await, only_sent(1));
    assert_eq!(key(&peer.received()[0]), claimed[0].idempotency_key);
    // The expired claim of the first process changes nothing.
    let late = todoctl::store::OutboxEnd::Dead("too late".to_owned());
    assert!(!world.store.end_mail(&claimed[0], &late).await.unwrap());
    assert_eq!(world.text(STATE).await, "sent");
}

/// Deleting a task deletes its notification and the waiting mail.
#[rstest]
#[tokio::test]
async fn a_deleted_task(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    one_waits(&world).await;
    world
        .execute(
            "DELETE FROM tasks",
            "PRAGMA foreign_keys = ON; DELETE FROM tasks",
        )
        .await;
    let peer = MailPeer::start().await;
    assert_eq!(deliver(&world, &peer).await, Delivered::default());
    assert!(peer.received().is_empty());
}

/// Mails that are not sent within a day are given up; old rows are deleted.
#[rstest]
#[tokio::test]
async fn pruning(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    one_waits(&world).await;
    let count = "SELECT count(*) FROM todoctl_outbox";
    world.clock.set(at("2031-05-11T12:00:00Z"));
    let peer = MailPeer::start().await;
    assert_eq!(
        deliver(&world, &peer).await,
        Delivered::default(),
        "too late"
    );
    assert_eq!(
        world.outbox(&peer).next().await.unwrap(),
        None,
        "nothing to wake for"
    );
    world.remind(false).await;
    assert_eq!(
        (world.text(STATE).await, world.text(REASON).await),
        ("dead".to_owned(), "expired".to_owned())
    );
    world.clock.set(at("2031-06-10T11:59:59Z"));
    world.remind(false).await;
    assert_eq!(world.number(count).await, 1);
    world.clock.set(at("2031-06-10T12:00:00Z"));
    world.remind(false).await;
    assert_eq!(world.number(count).await, 0);
}

/// The daemon sends mails after the reminders, and again when a retry is due.
#[rstest]
#[tokio::test]
async fn by_themselves(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    world.accounts(&["alice"]).await;
    world.task("alice", "Pay rent", Some(soon())).await;
    let peer = MailPeer::start().await;
    peer.will_answer([MailPeer::status(500)]);
    let services = todoctl::config::ServicesConfig {
        resend_api_key: Some(todoctl::config::Secret::new(MAIL_KEY)),
        resend_api_url: Some(peer.url()),
        ..todoctl::config::ServicesConfig::default()
    };
    let mailer = todoctl::services::mail::Mailer::new(&services).unwrap();
    let jobs = Jobs::start(
        world.store.clone(),
        world.clock.clone(),
        mailer,
        world.metrics.clone(),
    );
    eventually("a mail is put off", async || {
        world.metrics.outbox.with_label_values(&["pending"]).get() > 0
    })
    .await;
    assert_eq!(peer.received().len(), 1);
    jobs.stop(Duration::from_secs(20)).await;
    assert_eq!(world.clock.now(), at(NOON));
    // The next start finds it due.
    world.clock.set(at("2031-05-10T12:01:00Z"));
    let mailer = todoctl::services::mail::Mailer::new(&services).unwrap();
    let jobs = Jobs::start(
        world.store.clone(),
        world.clock.clone(),
        mailer,
        world.metrics.clone(),
    );
    eventually("the mail is sent", async || sent_email(&world).await).await;
    jobs.stop(Duration::from_secs(20)).await;
    assert_eq!(peer.received().len(), 2);
    assert_eq!(
        peer.received()[1].json()["from"],
        "Todo <onboarding@resend.dev>"
    );
}
