//! SQLite: what other programs stored in the file, and what they dropped.

use std::process::Command;

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    VIOLATION = Fault {
        title: "Rows of a SQLite file violate a CHECK constraint",
        symptom: Symptom::Risk("each change of such a task is answered with 500"),
        check: "database.integrity",
        outcome: "fail",
        after: After::Person("only a person knows which value is right"),
    };
    NO_IDS_LEFT = Fault {
        title: "The ids of a SQLite table are used up",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 503 },
        check: "database.sequences",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_COUNTS = Fault {
        title: "The table of unread counts was dropped from a SQLite file",
        symptom: Symptom::Answer {
            method: "GET",
            path: "/notifications/",
            status: 500,
        },
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_COUNTING = Fault {
        title: "The triggers that count were dropped from a SQLite file, with their table",
        symptom: Symptom::Risk("unread notifications are counted wrongly"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_SEARCH = Fault {
        title: "The index of searches was dropped from a SQLite file",
        symptom: Symptom::Risk("`POST /tasks/` answers 500"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_KEYS = Fault {
        title: "The table of idempotency keys was dropped from a SQLite file",
        symptom: Symptom::Risk("each POST with an Idempotency-Key is answered with 500"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OTHER_COLLATION = Fault {
        title: "An index with a collation of another program was added to a SQLite file",
        symptom: Symptom::Risk("`POST /tasks/` answers 500"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FAILING_INDEX = Fault {
        title: "An index on an expression that fails was added to a SQLite file",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 500 },
        check: "database.trial",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

/// A collation that is made by the program that makes the index.
const COLLATION: &str = "import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.create_collation('german', lambda a, b: (a > b) - (a < b))
connection.execute('CREATE INDEX by_title ON tasks (title COLLATE german)')
connection.commit()";

async fn broken_by(statements: &str) -> Scene {
    let scene = Scene::sqlite().await;
    sqlite(&scene.file(), statements).await;
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_violate_constraints() {
    const IGNORED: &str = "PRAGMA ignore_check_constraints = ON; ";
    let notification = "INSERT INTO notifications (user_id, type, message, is_read, created_at)
                        VALUES ('me', 'overdue', 'late', 3, 1)";
    for (wrong, right) in [
        (
            "UPDATE tasks SET completed = 7",
            "UPDATE tasks SET completed = 1",
        ),
        (
            "UPDATE tasks SET priority = 'Top'",
            "UPDATE tasks SET priority = 'High'",
        ),
        (notification, "UPDATE notifications SET is_read = 1"),
    ] {
        let mut scene = broken_by(&format!("{IGNORED}{wrong}")).await;
        scene.proves(&VIOLATION).await;
        sqlite(&scene.file(), right).await;
        scene.proves_gone(&VIOLATION);
    }
}

/// `database.trial` leads to the same remedy, not to a full disk.
#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_used_up() {
    let highest = i64::MAX;
    let mut scene = broken_by(&format!("UPDATE sqlite_sequence SET seq = {highest}")).await;
    let report = scene.doctor("database.trial");
    report.says("database.trial", "fail", "UPDATE sqlite_sequence");
    scene.proves(&NO_IDS_LEFT).await;
    sqlite(
        &scene.file(),
        &format!("UPDATE tasks SET id = {highest} WHERE title = 'one'"),
    )
    .await;
    let report = scene.doctor("database.sequences");
    report.says("database.sequences", "fail", "lower ones");
    scene.stop();
    let near = highest / 10 * 8;
    let scene = broken_by(&format!("UPDATE sqlite_sequence SET seq = {near}")).await;
    let report = scene.doctor("database.sequences");
    report.says("database.sequences", "warn", "UPDATE sqlite_sequence");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_can_be_made_again() {
    const NOTIFICATION: &str = "INSERT INTO notifications (user_id, type, message, created_at)
                                VALUES ('me', 'overdue', 'late', 1); ";
    let mut scene = broken_by(&format!("{NOTIFICATION}DROP TABLE todoctl_unread")).await;
    scene
        .doctor("database.unread")
        .says("database.unread", "skip", "");
    scene.proves(&NO_COUNTS).await;
    scene
        .doctor("database.unread")
        .says("database.unread", "pass", "");
    let triggers =
        ["added", "changed", "removed"].map(|what| format!("DROP TRIGGER todoctl_unread_{what}; "));
    let mut scene = broken_by(&format!(
        "{NOTIFICATION}{}DROP TABLE todoctl_unread",
        triggers.concat()
    ))
    .await;
    scene.proves(&NO_COUNTING).await;
    let mut scene = broken_by("DROP TABLE todoctl_search").await;
    assert_eq!(scene.status("POST", "/tasks/"), 500);
    scene.proves(&NO_SEARCH).await;
    scene.stop();
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    let mut scene = broken_by("DROP TABLE todoctl_idempotency_keys").await;
    scene.proves(&NO_KEYS).await;
    for check in ["database.trial", "database.unread"] {
        scene.doctor(check).says(check, "pass", "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_with_a_collation_of_another_program() {
    let mut scene = Scene::sqlite().await;
    let made = Command::new("python3")
        .args(["-c", COLLATION])
        .arg(scene.file())
        .status();
    assert!(made.unwrap().success());
    assert_eq!(scene.status("POST", "/tasks/"), 500);
    scene.proves(&OTHER_COLLATION).await;
    scene.stop();
    assert_eq!(scene.status("POST", "/tasks/"), 201);
}

/// The trial finds it where a row makes it fail.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_refuses_rows() {
    let mut scene = broken_by(
        "UPDATE tasks SET description = '{}', description_folded = '{}';
         CREATE INDEX by_json ON tasks (json_extract(title, '$.a')) WHERE title <> 'one'",
    )
    .await;
    scene.proves(&FAILING_INDEX).await;
}
