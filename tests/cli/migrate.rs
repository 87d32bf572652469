//! `todoctl migrate`.

use crate::support::TestDatabase;
use crate::{Cli, assert_said};

/// One way through up, status and down; both engines say the same.
fn way(cli: &Cli) {
    for (name, arguments) in [
        ("migrate_status_pending", &["migrate", "status"][..]),
        ("migrate_up", &["migrate", "up"]),
        ("migrate_up_again", &["migrate", "up"]),
        ("migrate_status", &["migrate", "status"]),
        (
            "migrate_status_json",
            &["migrate", "status", "--format", "json"],
        ),
        ("migrate_down_yes", &["migrate", "down", "--yes"]),
        (
            "migrate_down_to",
            &["migrate", "down", "--to", "1", "--yes", "--format", "json"],
        ),
        ("migrate_down_all", &["migrate", "down", "--all", "--yes"]),
        ("migrate_down_nothing", &["migrate", "down", "--yes"]),
        ("migrate_up_json", &["migrate", "up", "--format", "json"]),
        (
            "migrate_up_again_json",
            &["migrate", "up", "--format", "json"],
        ),
    ] {
        assert_said(name, &cli.run(arguments));
    }
}

#[test]
fn on_sqlite() {
    way(&Cli::new());
}

#[tokio::test]
async fn on_postgres() {
    let database = TestDatabase::create().await;
    way(&Cli::new().env("DATABASE_URL", &database.url));
}

/// Without a terminal nobody can be asked, so nothing is destroyed.
#[test]
fn asks_first() {
    let cli = Cli::new();
    cli.run(&["migrate", "up"]);
    assert_said("migrate_down_unasked", &cli.run(&["migrate", "down"]));
    assert_eq!(cli.run(&["migrate", "status"]).code, 0);
}

/// A failed migration: its statement, the reason, what to do.
#[tokio::test]
async fn failure() {
    let database = TestDatabase::create().await;
    database
        .execute("CREATE TABLE tasks (id uuid PRIMARY KEY)")
        .await;
    let cli = Cli::new().env("DATABASE_URL", &database.url);
    assert_said("migrate_up_failed", &cli.run(&["migrate", "up"]));
}
