//! `todoctl session`.

use crate::cli::{Cli, assert_said};
use crate::support::TestDatabase;

const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn way(cli: &Cli) {
    assert_said("session_list_empty", &cli.run(&["session", "list"]));
    let created = cli.run(&["session", "create", "--user", "usr_1", "--label", "laptop"]);
    assert_said("session_create", &created);
    let json = cli.run(&[
        "session", "create", "--user", "usr_2", "--ttl", "1h", "--format", "json",
    ]);
    assert_said("session_create_json", &json);
    let token = json.json()["token"].as_str().unwrap().to_owned();
    assert!(created.stdout.trim() != token, "tokens differ");
    for (name, arguments) in [
        ("session_revoke", &["session", "revoke", "1"][..]),
        ("session_revoke_again", &["session", "revoke", "1", "99"]),
        ("session_list", &["session", "list"]),
        (
            "session_list_json",
            &["session", "list", "--user", "usr_2", "--format", "json"],
        ),
    ] {
        let said = cli.run(arguments);
        assert!(!said.text().contains(&token));
        assert_said(name, &said);
    }
}

#[test]
fn on_sqlite() {
    let cli = Cli::new();
    assert_said("session_no_database", &cli.run(&["session", "list"]));
    cli.run(&["migrate", "up"]);
    way(&cli);
}

#[tokio::test]
async fn on_postgres() {
    let database = TestDatabase::create().await;
    let cli = Cli::new()
        .env("DATABASE_URL", &database.url)
        .env("SESSION_HASH_SECRET", SECRET);
    assert_said("session_not_migrated", &cli.run(&["session", "list"]));
    cli.run(&["migrate", "up"]);
    way(&cli);
}
