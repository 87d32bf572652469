//! `todoctl migrate`.

use crate::cli::{Cli, assert_said};
use crate::support::TestDatabase;

/// One way through up, status and down; both engines say the same, but for what the migrations
/// consist of.
fn way(cli: &Cli, engine: &str) {
    let (one, to, all) = (
        format!("migrate_down_yes_{engine}"),
        format!("migrate_down_to_{engine}"),
        format!("migrate_down_all_{engine}"),
    );
    for (name, arguments) in [
        ("migrate_status_pending", &["migrate", "status"][..]),
        ("migrate_up", &["migrate", "up"]),
        ("migrate_up_again", &["migrate", "up"]),
        ("migrate_status", &["migrate", "status"]),
        (
            "migrate_status_json",
            &["migrate", "status", "--format", "json"],
        ),
        (&one, &["migrate", "down", "--yes"]),
        (
            &to,
            &["migrate", "down", "--to", "1", "--yes", "--format", "json"],
        ),
        (&all, &["migrate", "down", "--all", "--yes"]),
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
    way(&Cli::new(), "sqlite");
}

#[tokio::test]
async fn on_postgres() {
    let database = TestDatabase::create().await;
    way(&Cli::new().env("DATABASE_URL", &database.url), "postgres");
}

/// Without a terminal the command cannot ask, so it changes nothing.
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
        .execute("CREATE TYPE prioritylevel AS ENUM ('P1', 'P2')")
        .await;
    let cli = Cli::new().env("DATABASE_URL", &database.url);
    assert_said("migrate_up_failed", &cli.run(&["migrate", "up"]));
}

/// Tables that are not to be taken over are named before anything is migrated.
#[tokio::test]
async fn another_service() {
    let database = TestDatabase::create().await;
    database
        .execute("CREATE TABLE tasks (id uuid PRIMARY KEY)")
        .await;
    let cli = Cli::new().env("DATABASE_URL", &database.url);
    assert_said("migrate_up_other_service", &cli.run(&["migrate", "up"]));
}

/// What `up` would run is printed, and nothing is changed.
#[test]
fn dry_run() {
    let cli = Cli::new();
    let said = cli.run(&["migrate", "up", "--dry-run", "--to", "1"]);
    assert_eq!(said.code, 0);
    assert!(said.stdout.starts_with("-- migration 1 (baseline)\n"));
    assert!(said.stdout.contains("\nCREATE TABLE tasks ("));
    assert!(!said.stdout.contains("sessions"));
    let json = cli.run(&["migrate", "up", "--dry-run", "--format", "json"]);
    assert!(json.json()["planned"][0]["statements"].is_array());
    assert_eq!(std::fs::read_dir(cli.path()).unwrap().count(), 0);
    assert_said(
        "migrate_up_no_such_version",
        &cli.run(&["migrate", "up", "--to", "9000"]),
    );
    cli.run(&["migrate", "up"]);
    for (name, arguments) in [
        (
            "migrate_up_dry_nothing",
            &["migrate", "up", "--dry-run"][..],
        ),
        (
            "migrate_down_dry",
            &["migrate", "down", "--to", "1", "--dry-run"],
        ),
        (
            "migrate_down_dry_json",
            &[
                "migrate",
                "down",
                "--to",
                "1",
                "--dry-run",
                "--format",
                "json",
            ],
        ),
    ] {
        assert_said(name, &cli.run(arguments));
    }
    assert_eq!(cli.run(&["migrate", "status"]).code, 0);
}

const FUTURE: &str =
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
     VALUES (9000, 'from the future', TRUE, '', 0)";

/// A rollback: refused by name of both versions, or left alone when told to.
#[tokio::test]
async fn newer() {
    let database = TestDatabase::create().await;
    let cli = Cli::new().env("DATABASE_URL", &database.url);
    cli.run(&["migrate", "up"]);
    database.execute(FUTURE).await;
    for (name, arguments) in [
        ("migrate_up_newer", &["migrate", "up"][..]),
        (
            "migrate_up_newer_allowed",
            &["migrate", "up", "--allow-newer"],
        ),
        ("migrate_down_newer", &["migrate", "down", "--yes"]),
        ("migrate_check_newer", &["migrate", "check"]),
        ("migrate_status_newer", &["migrate", "status"]),
    ] {
        assert_said(name, &cli.run(arguments));
    }
}

/// Who is waited for, and what to type when that takes too long.
#[tokio::test]
async fn locked() {
    use sqlx::migrate::Migrate as _;
    use sqlx::{Connection as _, PgConnection};
    let database = TestDatabase::create().await;
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    other.lock().await.unwrap();
    let cli = Cli::new().env("DATABASE_URL", &database.url);
    let said = cli.run(&["migrate", "up", "--wait", "300ms"]);
    assert_said("migrate_up_locked", &said);
}

/// A transaction pooler is found out although its address does not tell.
#[tokio::test]
async fn through_a_pooler() {
    let database = TestDatabase::create().await;
    let pooler = crate::support::PgBouncer::start(&database.url);
    let cli = Cli::new().env("DATABASE_URL", &pooler.url);
    assert_said("migrate_up_pooler", &cli.run(&["migrate", "up"]));
    let cli = cli.env("DATABASE_URL_UNPOOLED", &database.url);
    assert_eq!(cli.run(&["migrate", "up"]).code, 0);
}

#[tokio::test]
async fn check() {
    let database = TestDatabase::create().await;
    let postgres = Cli::new().env("DATABASE_URL", &database.url);
    let sqlite = Cli::new();
    for cli in [&postgres, &sqlite] {
        let said = cli.run(&["migrate", "check", "--allow-pending"]);
        assert_eq!(said.code, 0, "{}", said.text());
    }
    assert_said("migrate_check_pending", &sqlite.run(&["migrate", "check"]));
    assert_eq!(std::fs::read_dir(sqlite.path()).unwrap().count(), 0);
    for cli in [&postgres, &sqlite] {
        cli.run(&["migrate", "up"]);
        assert_said("migrate_check_fine", &cli.run(&["migrate", "check"]));
    }
    database
        .execute(
            "ALTER TABLE tasks ADD COLUMN colour text; ALTER TABLE tasks ALTER COLUMN title TYPE text; \
             DROP TABLE user_api_keys",
        )
        .await;
    assert_said("migrate_check_drift", &postgres.run(&["migrate", "check"]));
    assert_said(
        "migrate_check_drift_json",
        &postgres.run(&["migrate", "check", "--format", "json"]),
    );
}

/// The role may log in and read, and make no schema.
#[tokio::test]
async fn check_without_rights() {
    let database = TestDatabase::create().await;
    Cli::new()
        .env("DATABASE_URL", &database.url)
        .run(&["migrate", "up"]);
    database
        .execute(
            "CREATE ROLE todoctl_checker LOGIN PASSWORD 'checker'; \
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO todoctl_checker",
        )
        .await;
    let mut url = url::Url::parse(&database.url).unwrap();
    url.set_username("todoctl_checker").unwrap();
    url.set_password(Some("checker")).unwrap();
    let said = Cli::new()
        .env("DATABASE_URL", url.as_str())
        .run(&["migrate", "check"]);
    database
        .execute("DROP OWNED BY todoctl_checker; DROP ROLE todoctl_checker")
        .await;
    assert_said("migrate_check_no_rights", &said);
}

#[test]
fn new() {
    let cli = Cli::new();
    assert_said(
        "migrate_new_no_checkout",
        &cli.run(&["migrate", "new", "task_colour"]),
    );
    for folder in ["migrations/postgres", "migrations/sqlite"] {
        std::fs::create_dir_all(cli.path().join(folder)).unwrap();
    }
    cli.file("migrations/sqlite/0041_something.up.sql", "SELECT 1;\n");
    assert_said("migrate_new", &cli.run(&["migrate", "new", "Task colour"]));
    let up = cli
        .path()
        .join("migrations/postgres/0042_task_colour.up.sql");
    assert!(
        std::fs::read_to_string(up)
            .unwrap()
            .ends_with("SELECT 1;\n")
    );
    assert_said("migrate_new_bad_name", &cli.run(&["migrate", "new", "1;2"]));
}

/// A migration with another checksum, and one that did not finish.
#[tokio::test]
async fn changed_and_unfinished() {
    let database = TestDatabase::create().await;
    let cli = Cli::new().env("DATABASE_URL", &database.url);
    cli.run(&["migrate", "up"]);
    database
        .execute("UPDATE _sqlx_migrations SET checksum = '' WHERE version = 1")
        .await;
    assert_said("migrate_up_changed", &cli.run(&["migrate", "up"]));
    assert_said("migrate_status_changed", &cli.run(&["migrate", "status"]));
    database
        .execute("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 1")
        .await;
    assert_said("migrate_up_dirty", &cli.run(&["migrate", "up"]));
    assert_said("migrate_status_dirty", &cli.run(&["migrate", "status"]));
}

/// What the schema has and the database does not record is recorded, not run again.
#[tokio::test]
async fn stamp() {
    let database = TestDatabase::create().await;
    let cli = Cli::new().env("DATABASE_URL", &database.url);
    cli.run(&["migrate", "up"]);
    database
        .execute("DELETE FROM _sqlx_migrations WHERE version IN (2, 6)")
        .await;
    assert_said("migrate_up_unrecorded", &cli.run(&["migrate", "up"]));
    assert_said(
        "migrate_status_unrecorded",
        &cli.run(&["migrate", "status"]),
    );
    assert_said("migrate_stamp", &cli.run(&["migrate", "stamp"]));
    assert_said("migrate_stamp_again", &cli.run(&["migrate", "stamp"]));
}
