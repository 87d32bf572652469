//! The index of searches of a SQLite file is damaged or incomplete, other indexes are, or the copies
//! that searches compare are those of other titles.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{Fault, Scene, Symptom, faults};

const CHECK: &str = "database.search";

faults! {
    DAMAGED = Fault::failing(
        "SQLite: the index of searches is damaged",
        Symptom::Risk("new tasks and searches are answered with 500"),
        "database.integrity",
    );
    INCOMPLETE = Fault::failing(
        "SQLite: the index of searches lacks tasks",
        Symptom::Risk("searches do not find these tasks"),
        CHECK,
    );
    WRONG_COPIES = Fault::failing(
        "A script has copied tasks with the folded copies of other titles",
        Symptom::Risk("searches do not find these tasks, or find others"),
        CHECK,
    );
    OLD_INDEX = Fault::failing(
        "SQLite: an index lacks rows of its table",
        Symptom::Risk("requests that use the index do not find these rows"),
        "database.integrity",
    );
}

/// With a task that searches find.
async fn searched() -> Scene {
    let scene = Scene::sqlite().await;
    sqlite(&scene.file(), "UPDATE tasks SET search_title = 'one'").await;
    scene.doctor(CHECK).says(CHECK, "pass", "");
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_of_searches() {
    let mut scene = searched().await;
    for damage in [
        "DELETE FROM todoctl_search_data",
        "DELETE FROM todoctl_search_config",
        "UPDATE todoctl_search_data SET block = x'00112233445566778899'",
    ] {
        sqlite(&scene.file(), damage).await;
        for check in ["database.integrity", "database.trial"] {
            let report = scene.doctor(check);
            let text = report.json.to_string();
            assert!(
                !text.contains("rescued") && !text.contains("backup"),
                "{damage}: {text}"
            );
        }
        scene.proves(&DAMAGED).await;
        for check in [CHECK, "database.trial", "database.schema"] {
            scene.doctor(check).says(check, "pass", "");
        }
    }
    assert_eq!(scene.status("POST", "/tasks/"), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_index_of_searches() {
    let mut scene = searched().await;
    for change in [
        "INSERT INTO todoctl_search (todoctl_search) VALUES ('delete-all')",
        "INSERT INTO todoctl_search (todoctl_search, rowid, search_title, search_description)
         SELECT 'delete', id, search_title, search_description FROM tasks",
        // As after a restore of the tasks without triggers.
        "INSERT INTO todoctl_search (todoctl_search, rowid, search_title, search_description)
         SELECT 'delete', id, search_title, search_description FROM tasks;
         INSERT INTO todoctl_search (rowid, search_title) SELECT id, 'another' FROM tasks",
        "DROP TABLE todoctl_search_docsize",
        // No trigger fires for the rows that REPLACE removes.
        "CREATE TABLE imported AS SELECT * FROM tasks; INSERT OR REPLACE INTO tasks SELECT * FROM imported;
         DROP TABLE imported",
        "INSERT OR REPLACE INTO tasks (id, user_id, title, title_folded, created_at, updated_at, search_title)
         SELECT id, user_id, 'Merged', 'merged', created_at, updated_at, 'merged' FROM tasks",
    ] {
        sqlite(&scene.file(), change).await;
        let report = scene.doctor("database.trial");
        assert!(!report.json.to_string().contains("rescued"), "{change}");
        scene.proves(&INCOMPLETE).await;
    }
}

/// The daemon's connections have read the schema without the index: it opens others, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_dropped_while_the_daemon_runs() {
    let mut scene = searched().await;
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    sqlite(&scene.file(), "DROP TABLE todoctl_search").await;
    assert_eq!(scene.status("POST", "/tasks/"), 500);
    let report = scene.doctor("database.schema");
    let remedy = report.check("database.schema")["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    let _of_old_connection = scene.status("POST", "/tasks/");
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    assert_eq!(scene.status("PUT", "/tasks/1"), 200);
}

/// Letters outside of ASCII are compared as well, and rows without copies are no fault.
#[tokio::test(flavor = "multi_thread")]
async fn copies_of_other_titles() {
    const RIGHT: &str = "UPDATE tasks SET title = 'One', search_title = 'one'";
    let wrong = [
        "UPDATE tasks SET search_title = ''",
        "UPDATE tasks SET title = 'Stra\u{df}e', search_title = 'two'",
    ];
    let mut scene = searched().await;
    for change in wrong {
        sqlite(&scene.file(), change).await;
        scene.proves(&WRONG_COPIES).await;
        sqlite(&scene.file(), RIGHT).await;
        scene.doctor(CHECK).says(CHECK, "pass", "");
    }
    let mut scene = Scene::postgres().await;
    for change in wrong {
        scene.sql(change).await;
        scene.proves(&WRONG_COPIES).await;
        scene.sql(RIGHT).await;
        scene.doctor(CHECK).says(CHECK, "pass", "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_the_sqlite3_shell() {
    let scene = searched().await;
    let delete_all = "INSERT INTO todoctl_search (todoctl_search) VALUES ('delete-all')";
    sqlite(&scene.file(), delete_all).await;
    let mut doctor = scene.command(&["doctor", "--only", CHECK]);
    let output = doctor.env("PATH", scene.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let named = text.find("# sqlite3 is not installed here");
    assert!(
        named.is_some() && named < text.find("sqlite3 data/"),
        "{text}"
    );
    let fixed = scene.todoctl(&["doctor", "--fix", "--yes", "--only", CHECK]);
    assert!(fixed.status.success());
}

/// The rows are sound, so nothing has to be rescued.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lacks_rows() {
    let mut scene = searched().await;
    sqlite(
        &scene.file(),
        "CREATE INDEX of_others ON tasks (title) WHERE id < 0;
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, ' WHERE id < 0', '') WHERE name = 'of_others'",
    )
    .await;
    scene.proves(&OLD_INDEX).await;
}
