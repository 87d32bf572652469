//! `todoctl db check`: healthy, and with everyday faults.

use crate::cli::{Cli, assert_said};
use crate::support::TestDatabase;

#[test]
fn sqlite() {
    let cli = Cli::new();
    assert_said("db_check_sqlite_missing", &cli.run(&["db", "check"]));
    assert_eq!(
        std::fs::read_dir(cli.path()).unwrap().count(),
        0,
        "it changed something"
    );
    cli.run(&["migrate", "up"]);
    assert_said("db_check_sqlite", &cli.run(&["db", "check"]));
    assert_said(
        "db_check_sqlite_verbose",
        &cli.run(&["db", "check", "--verbose"]),
    );
    assert_said(
        "db_check_sqlite_json",
        &cli.run(&["db", "check", "--format", "json"]),
    );
    cli.run(&["migrate", "down", "--yes"]);
    assert_said("db_check_sqlite_pending", &cli.run(&["db", "check"]));
    cli.file("todo.txt", &"not a database\n".repeat(100));
    let cli = cli.env("DATABASE_URL", "sqlite://todo.txt");
    assert_said("db_check_sqlite_garbage", &cli.run(&["db", "check"]));
}

#[tokio::test]
async fn postgres() {
    let database = TestDatabase::create().await;
    let url = database
        .url
        .replace("postgresql://", "postgresql+asyncpg://");
    let cli = Cli::new().env("DATABASE_URL", &url);
    assert_said("db_check_postgres_pending", &cli.run(&["db", "check"]));
    cli.run(&["migrate", "up"]);
    assert_said("db_check_postgres", &cli.run(&["db", "check", "--verbose"]));
}

/// A wrong password, a host that is none, a port without a server: the step that fails, and what to do.
#[tokio::test]
async fn postgres_faults() {
    let database = TestDatabase::create().await;
    let url = url::Url::parse(&database.url).unwrap();
    let mut wrong_password = url.clone();
    wrong_password.set_password(Some("canary")).unwrap();
    let mut no_database = url.clone();
    no_database.set_path("/nowhere");
    for (name, url) in [
        ("db_check_wrong_password", wrong_password.as_str()),
        ("db_check_no_database", no_database.as_str()),
        (
            "db_check_no_host",
            "postgresql://u:canary@no-such-host.invalid/db",
        ),
        ("db_check_refused", "postgresql://u:canary@127.0.0.1:1/db"),
        (
            "db_check_bad_url",
            "psql 'postgresql://u:canary@localhost/db'",
        ),
    ] {
        let said = Cli::new().env("DATABASE_URL", url).run(&["db", "check"]);
        assert_eq!(said.code, 1, "{}", said.text());
        assert!(!said.text().contains("canary"));
        assert_said(name, &said);
    }
}

/// With psql, and without it on todoctl's own connection.
#[tokio::test]
async fn psql() {
    let database = TestDatabase::migrated().await;
    let path = std::env::var("PATH").unwrap();
    let cli = Cli::new()
        .env("DATABASE_URL", &database.url)
        .env("PATH", &path);
    let arguments = [
        "db",
        "psql",
        "-c",
        "SELECT 1 AS one, NULL AS none, 'x' AS text",
    ];
    let said = cli.run(&arguments);
    assert_eq!(
        said.text(),
        "exit 0\n--- stdout\n one | none | text \n-----+------+------\n   1 |      | x\n(1 row)\n\n"
    );
    let said = cli.run(&["db", "psql", "-At", "-c", "SELECT current_database()"]);
    assert_eq!(said.stdout.trim(), database.name);
    let said = cli.run(&[
        "db",
        "psql",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        "SELECT nothing",
    ]);
    assert_eq!(said.code, 1, "{}", said.text());

    let cli = Cli::new()
        .env("DATABASE_URL", &database.url)
        .env("PATH", "/nonexistent");
    let said = cli.run(&arguments);
    assert_eq!(said.code, 0, "{}", said.text());
    let words: Vec<Vec<&str>> = said
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words, [vec!["one", "none", "text"], vec!["1", "x"]]);
    let said = cli.run(&["db", "psql", "-c", "INSERT INTO tasks (user_id, title, created_at, updated_at) VALUES ('me', 'one', now(), now())"]);
    assert_eq!(said.stdout.trim(), "1 rows");
    let said = cli.run(&["db", "psql", "-c", "SELECT nothing"]);
    assert_eq!(said.code, 2, "{}", said.text());
    let said = cli.run(&["db", "psql"]);
    assert!(said.stderr.contains("postgresql-client"), "{}", said.stderr);
    let said = Cli::new().run(&["db", "psql"]);
    assert_eq!(said.code, 2);
    assert!(
        said.stderr.contains("psql is for PostgreSQL"),
        "{}",
        said.stderr
    );
}
