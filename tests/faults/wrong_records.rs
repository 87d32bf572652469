//! Records of migrations that are there and wrong.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

const CHECK: &str = "database.migrations";

const fn wrong(title: &'static str, said: &'static str) -> Fault {
    Fault::failing(title, Symptom::Start(said), CHECK)
}

faults! {
    OTHER_CHECKSUM = wrong("A migration has another checksum", "was changed after it was applied");
    UNFINISHED = wrong("A migration is recorded as unfinished", "was started and not finished");
    UNFINISHED_AND_ABSENT = wrong("A migration is recorded as unfinished, and nothing of it is there", "was started and not finished");
    WITHOUT_COLUMN = wrong("The record of the migrations lacks a column", "_sqlx_migrations lacks a column");
    ALLOWED = Fault {
        outcome: "warn",
        after: After::Person("the newer one has to be deployed"),
        ..Fault::failing(
            "A newer todoctl has migrated the database, and the daemon serves it on purpose (--allow-newer)",
            Symptom::Risk("migrations of this one are not applied"),
            CHECK,
        )
    };
}

/// A migrated database of each engine, after these statements.
async fn both_after(statements: &[&str]) -> [Scene; 2] {
    let on_server = Scene::postgres().await;
    let in_file = Scene::sqlite().await;
    for statement in statements {
        on_server.sql(statement).await;
        sqlite(&in_file.file(), statement).await;
    }
    [on_server, in_file]
}

#[tokio::test]
async fn another_checksum() {
    for versions in ["3", "1, 7"] {
        let change =
            format!("UPDATE _sqlx_migrations SET checksum = '' WHERE version IN ({versions})");
        for mut scene in both_after(&[&change]).await {
            scene.proves(&OTHER_CHECKSUM).await;
        }
    }
}

#[tokio::test]
async fn unfinished() {
    let change = "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 5";
    for mut scene in both_after(&[change]).await {
        scene.proves(&UNFINISHED).await;
    }
}

#[tokio::test]
async fn unfinished_and_absent() {
    let statements = [
        "DROP TABLE todoctl_idempotency_keys",
        "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 5",
    ];
    for mut scene in both_after(&statements).await {
        scene.proves(&UNFINISHED_AND_ABSENT).await;
    }
}

#[tokio::test]
async fn without_a_column() {
    // Of an earlier repair.
    const OLD: &str = "CREATE TABLE _sqlx_migrations_old (version bigint)";
    for (before, column) in [
        ("SELECT 1", "execution_time"),
        (OLD, "checksum"),
        ("SELECT 1", "success"),
    ] {
        let drop = format!("ALTER TABLE _sqlx_migrations DROP COLUMN {column}");
        for mut scene in both_after(&[before, &drop]).await {
            scene.proves(&WITHOUT_COLUMN).await;
        }
    }
}

/// The record of a newer program stays.
#[tokio::test]
async fn a_gap_and_a_newer_migration() {
    let statements = [
        "DELETE FROM _sqlx_migrations WHERE version = 4",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'future', TRUE, '', 0)",
    ];
    for scene in both_after(&statements).await {
        let report = scene.doctor(CHECK);
        report.says(CHECK, "fail", "");
        let remedy = report.check(CHECK)["remedy"].as_str().unwrap().to_owned();
        assert!(remedy.starts_with("todoctl migrate stamp"), "{remedy}");
        assert!(scene.type_in(&remedy).status.success());
        let report = scene.doctor(CHECK);
        report.says(CHECK, "fail", "--allow-newer");
        let detail = report.detail(CHECK);
        assert_eq!(
            detail,
            "7 applied, 0 pending, 1 newer than this program (99)"
        );
    }
}

/// After a rollback of the program.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_migration_on_purpose() {
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (99, 'future', TRUE, '', 0)";
    for mut scene in both_after(&[newer]).await {
        scene.doctor(CHECK).says(CHECK, "fail", "--allow-newer");
        scene.start_by("exec todoctl serve --allow-newer");
        scene.proves(&ALLOWED).await;
        let gone = "DELETE FROM _sqlx_migrations WHERE version = 99";
        match &scene.database {
            Some(_) => scene.sql(gone).await,
            None => sqlite(&scene.file(), gone).await,
        }
        scene.proves_gone(&ALLOWED);
    }
}

/// A part of a migration that did not finish is named, and nothing is recorded.
#[tokio::test]
async fn unfinished_in_part() {
    let statements = [
        "DROP TABLE todoctl_outbox",
        "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 4",
    ];
    for scene in both_after(&statements).await {
        let detail = scene.doctor(CHECK).detail(CHECK).to_owned();
        assert!(detail.contains("table todoctl_outbox"), "{detail}");
        let output = scene.todoctl(&["migrate", "stamp"]);
        assert_eq!(output.status.code(), Some(2));
    }
}
