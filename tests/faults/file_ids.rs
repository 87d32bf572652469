//! SQLite: ids that no request can name, and that are given twice; names that are taken.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{Fault, Scene, Symptom, faults};
use crate::faults::scene::said;
use crate::faults::sqlite_shell::sqlite3;

faults! {
    NO_SEQUENCE = Fault::warned_of(
        "SQLite: the row of sqlite_sequence for the tasks was deleted",
        Symptom::Risk("ids of deleted tasks are given again"),
        "database.sequences",
    );
    NAME_TAKEN = Fault::failing(
        "SQLite: a table of another program has the name of the index of searches",
        Symptom::Start("another program has made a table of that name"),
        "database.migrations",
    );
    OTHER_COLLATION = Fault::failing(
        "SQLite: user ids are compared without regard to case",
        Symptom::Risk("users see the tasks of others"),
        "database.schema",
    );
    NO_AUTOINCREMENT = Fault::warned_of(
        "SQLite: the table of tasks was created again without AUTOINCREMENT",
        Symptom::Risk("ids of deleted tasks are given again"),
        "database.schema",
    );
}

/// As an import leaves them. Notifications and mails keep their tasks and notifications.
#[tokio::test(flavor = "multi_thread")]
async fn ids_below_one() {
    const CHECK: &str = "database.values";
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "INSERT INTO tasks (id, user_id, title, title_folded, search_title, created_at, updated_at)
         VALUES (0, 'me', 'zero', 'zero', 'zero', 1, 1), (-5, 'me', 'minus', 'minus', 'minus', 1, 1);
         INSERT INTO notifications (id, user_id, task_id, type, message, created_at)
         VALUES (-1, 'me', -5, 'due_soon', 'one', 1), (7, 'me', 0, 'due_soon', 'two', 1);
         INSERT INTO todoctl_outbox (notification_id, user_id, subject, body, idempotency_key, due_at, expires_at, created_at)
         VALUES (-1, 'me', 's', 'b', 'k', 1, 1, 1);
         UPDATE sqlite_sequence SET seq = 90 WHERE name = 'tasks'",
    )
    .await;
    assert_eq!(scene.status("GET", "/tasks/0"), 404);
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "WHERE id < 1");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    for _ in 0..2 {
        let typed = scene.type_in(remedy);
        assert!(typed.status.success(), "{remedy}\n{}", said(&typed));
    }
    let pairs = "SELECT group_concat(message || ' ' || title, ', ') FROM (
                     SELECT * FROM notifications JOIN tasks ON tasks.id = task_id ORDER BY message)";
    assert_eq!(sqlite3(&scene, pairs), "one minus, two zero");
    let mails = "SELECT message FROM todoctl_outbox JOIN notifications n ON n.id = notification_id";
    assert_eq!(sqlite3(&scene, mails), "one");
    for check in [
        CHECK,
        "database.search",
        "database.references",
        "database.trial",
    ] {
        scene.doctor(check).says(check, "pass", "");
    }
    let id = sqlite3(&scene, "SELECT id FROM tasks WHERE title = 'zero'");
    assert_eq!(id, "91");
    assert_eq!(scene.status("GET", "/tasks/91"), 200);
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.end();
    assert_eq!(sqlite3(&scene, "SELECT max(id) FROM tasks"), "97");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_was_reset() {
    let mut scene = Scene::sqlite().await;
    sqlite(
        &scene.file(),
        "DELETE FROM sqlite_sequence WHERE name = 'tasks'",
    )
    .await;
    scene.proves(&NO_SEQUENCE).await;
    // Before the first task there is no counter.
    sqlite(
        &scene.file(),
        "DELETE FROM tasks; DELETE FROM sqlite_sequence",
    )
    .await;
    let check = NO_SEQUENCE.check;
    scene.doctor(check).says(check, "pass", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_pending_migration() {
    let mut scene = Scene::sqlite().await;
    let down = scene.todoctl(&["migrate", "down", "--yes"]);
    assert!(down.status.success(), "{}", said(&down));
    sqlite(
        &scene.file(),
        "CREATE TABLE todoctl_search (word TEXT); INSERT INTO todoctl_search VALUES ('kept')",
    )
    .await;
    scene
        .doctor("database.search")
        .says("database.search", "skip", "");
    scene.proves(&NAME_TAKEN).await;
    assert_eq!(
        sqlite3(&scene, "SELECT word FROM todoctl_search_other1"),
        "kept"
    );
}

/// As by a program that copies tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_created_in_another_way() {
    for (from, to, fault, said) in [
        (
            "user_id TEXT NOT NULL",
            "user_id TEXT NOT NULL COLLATE NOCASE",
            &OTHER_COLLATION,
            "such as u1 and U1",
        ),
        (
            "PRIMARY KEY AUTOINCREMENT",
            "PRIMARY KEY",
            &NO_AUTOINCREMENT,
            "the ids of deleted rows are given again",
        ),
    ] {
        let mut scene = Scene::sqlite().await;
        sqlite(
            &scene.file(),
            &format!(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') WHERE name = 'tasks' AND type = 'table'"
            ),
        )
        .await;
        let report = scene.doctor(fault.check);
        let detail = report.detail(fault.check);
        assert!(detail.contains(said), "{detail}");
        if fault.outcome == "fail" {
            scene.proves(&OTHER_COLLATION).await;
        } else {
            scene.proves(&NO_AUTOINCREMENT).await;
        }
    }
}
