//! `todoctl jobs run reminders`; contract 9.2.

use std::process::{Command, Output};

use rstest::rstest;
use serde_json::{Value, json};

use crate::jobs::world::{MAIL_KEY, World};
use crate::support::Engine::{self, Postgres, Sqlite};
use crate::support::{Answer, MailPeer};

/// Runs the command with the machine's own clock, in an environment of its own.
async fn run(world: &World, peer: Option<&MailPeer>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_todoctl"));
    command
        .args(["jobs", "run", "reminders"])
        .args(arguments)
        .current_dir(std::env::temp_dir())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("DATABASE_URL", world.database.url());
    if let Some(peer) = peer {
        command
            .env("RESEND_API_KEY", MAIL_KEY)
            .env("RESEND_API_URL", peer.url().as_str())
            .env("EMAIL_FROM", "Todo <todo@example.com>");
    }
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(
        !text.contains("canary") && !text.contains("alice@"),
        "{text}"
    );
    text
}

/// Tasks of `alice` that are overdue and due soon by the machine's clock.
async fn tasks(world: &World) {
    let now = todoctl::clock::Clock::system().now();
    let hour = std::time::Duration::from_secs(3600);
    world
        .task("alice", "over", Some("2001-01-01".parse().unwrap()))
        .await;
    world
        .task("alice", "soon", Some(now.saturating_add(hour)))
        .await;
}

/// Counts as JSON, with mails; a second run has nothing to do.
#[rstest]
#[tokio::test]
async fn counts(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    tasks(&world).await;
    world.accounts(&["alice"]).await;
    let peer = MailPeer::start().await;
    let output = run(&world, Some(&peer), &["--format", "json"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let counts: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!(
        counts,
        json!({
            "reminders": { "due_soon": 1, "overdue": 1, "mails": 1, "skipped": 0 },
            "mail": { "sent": 1, "postponed": 0, "skipped": 0, "dead": 0 },
        })
    );
    assert_eq!(peer.received().len(), 1);
    let output = run(&world, None, &["--format", "json"]).await;
    let counts: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!(
        counts,
        json!({
            "reminders": { "due_soon": 0, "overdue": 0, "mails": 0, "skipped": 0 },
            "mail": null,
        })
    );
}

/// A table for people, which says that there are no mails.
#[rstest]
#[tokio::test]
async fn table(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    tasks(&world).await;
    let output = run(&world, None, &[]).await;
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output.stdout);
    assert!(
        table.contains("due soon: notifications") && !table.contains("mails sent"),
        "{table}"
    );
    assert!(text(&output.stderr).contains("RESEND_API_KEY is not set"));
}

/// 1: no mail can be sent, and the log says why, but neither the key nor the address.
#[rstest]
#[tokio::test]
async fn a_refusal(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    tasks(&world).await;
    world.accounts(&["alice"]).await;
    let peer = MailPeer::start().await;
    peer.will_answer([Answer::Json(
        403,
        json!({ "name": "invalid_api_key", "message": "canary" }),
    )]);
    let output = run(&world, Some(&peer), &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("403 invalid_api_key"));
    text(&output.stdout);
}

/// 2: without the tables it says what to type.
#[rstest]
#[tokio::test]
async fn not_migrated(#[values(Sqlite, Postgres)] engine: Engine) {
    let world = World::start(engine).await;
    todoctl::store::migrate::down(&world.config.direct, todoctl::store::migrate::Down::To(2))
        .await
        .unwrap();
    let output = run(&world, None, &[]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("todoctl migrate up"));
    assert!(output.stdout.is_empty());
}
