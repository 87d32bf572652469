//! SQLite tables that somebody has created again in another way.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    WITHOUT_DEFINITION = Fault {
        title: "SQLite: the table of tasks was copied without its keys and defaults",
        symptom: Symptom::Risk("new tasks have no id"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OTHER_TYPE = Fault {
        title: "SQLite: a column of the tasks has another type",
        symptom: Symptom::Risk("due dates are stored in another form"),
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    KEY_TO_THE_OLD_TABLE = Fault {
        title: "SQLite: after a copy of the tasks, notifications refer to a table that is gone",
        symptom: Symptom::Risk("no reminder can be stored"),
        check: "database.schema",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

/// The highest id belongs to a task that was deleted.
const TASKS: &str = "INSERT INTO tasks (id, user_id, title, created_at, updated_at, title_folded)
     VALUES (5, 'me', 'one', 1, 1, 'one'), (90, 'me', 'gone', 1, 1, 'gone');
     DELETE FROM tasks WHERE id = 90";

const COPY: &str = "PRAGMA foreign_keys = OFF;
     ALTER TABLE tasks RENAME TO tasks_old;
     CREATE TABLE tasks AS SELECT * FROM tasks_old;
     DROP TABLE tasks_old";

/// As the daemon did in this table.
const WITHOUT_ID: &str = "INSERT INTO tasks (user_id, title, completed, priority, reminder_sent, created_at, updated_at, title_folded)
     VALUES ('me', 'without an id', FALSE, 'Low', FALSE, 2, 2, 'without an id')";

async fn with_tasks() -> Scene {
    let scene = Scene::sqlite().await;
    sqlite(&scene.file(), TASKS).await;
    scene
}

/// Replaces a part of the text that defines a table.
async fn redefine(scene: &Scene, table: &str, part: &str, by: &str) {
    let update = format!(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, '{part}', '{by}') WHERE name = '{table}'"
    );
    sqlite(&scene.file(), &update).await;
}

#[tokio::test]
async fn a_copy_without_keys_and_defaults() {
    let mut scene = with_tasks().await;
    sqlite(&scene.file(), COPY).await;
    scene.proves(&WITHOUT_DEFINITION).await;
    sqlite(&scene.file(), COPY).await;
    sqlite(&scene.file(), WITHOUT_ID).await;
    let report = scene.doctor("database.schema");
    let remedy = report.check("database.schema")["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.start();
    assert_eq!(scene.status("GET", "/tasks/6"), 200, "it has an id now");
}

/// Indexes of others stay, and no id is given again.
#[tokio::test]
async fn a_column_of_another_type() {
    let mut scene = with_tasks().await;
    redefine(&scene, "tasks", "due_date INTEGER", "due_date TEXT").await;
    sqlite(&scene.file(), "CREATE INDEX of_others ON tasks (priority)").await;
    scene.proves(&OTHER_TYPE).await;
    sqlite(&scene.file(), "DROP INDEX of_others").await;
    scene.start();
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    assert_eq!(scene.status("GET", "/tasks/91"), 200);
}

#[tokio::test]
async fn a_key_to_a_table_that_is_gone() {
    let mut scene = with_tasks().await;
    redefine(&scene, "notifications", " tasks", " tasks_old").await;
    scene.proves(&KEY_TO_THE_OLD_TABLE).await;
}
