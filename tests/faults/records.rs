//! Records of migrations that were lost.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{Fault, Scene, Symptom, faults};

const CHECK: &str = "database.migrations";

const fn lost(title: &'static str) -> Fault {
    Fault::failing(title, Symptom::Start("todoctl migrate stamp"), CHECK)
}

faults! {
    LOST_TABLE = lost("The record of the migrations was dropped");
    LOST_ROWS = lost("The newest migrations are not recorded");
    LOST_MIDDLE = lost("A migration in the middle is not recorded");
    LOST_AND_PENDING = lost("Some migrations are not recorded, and others are not applied");
    LOST_AND_DAMAGED = lost("A migration is not recorded, and an index of it is missing");
    FILE_LOST_TABLE = lost("SQLite: the record of the migrations was dropped");
    FILE_LOST_ROWS = lost("SQLite: the newest migrations are not recorded");
}

#[tokio::test]
async fn lost_records() {
    let mut scene = Scene::postgres_after("DROP TABLE _sqlx_migrations").await;
    scene.proves(&LOST_TABLE).await;

    let forget = "DELETE FROM _sqlx_migrations WHERE version > 4";
    let mut scene = Scene::postgres_after(forget).await;
    scene.proves(&LOST_ROWS).await;

    let forget = "DELETE FROM _sqlx_migrations WHERE version IN (1, 4)";
    let mut scene = Scene::postgres_after(forget).await;
    let detail = scene.doctor(CHECK).detail(CHECK).to_owned();
    assert!(detail.contains("not recorded (1, 4)"), "{detail}");
    scene.proves(&LOST_MIDDLE).await;
}

#[tokio::test]
async fn lost_records_of_an_older_schema() {
    let scene = Scene::postgres().await;
    let down = scene.todoctl(&["migrate", "down", "--to", "5", "--yes"]);
    assert!(down.status.success());
    scene.sql("DROP TABLE _sqlx_migrations").await;
    let mut scene = scene;
    scene.proves(&LOST_AND_PENDING).await;
}

/// Only a part of a migration is there: nothing is recorded before the rest is restored.
#[tokio::test]
async fn lost_records_of_a_damaged_schema() {
    let damage = "DELETE FROM _sqlx_migrations WHERE version > 3;
                  DROP INDEX notifications_unread_idx; DROP TRIGGER todoctl_unread_added ON notifications";
    let mut scene = Scene::postgres_after(damage).await;
    let stamped = scene.todoctl(&["migrate", "stamp"]);
    let said = String::from_utf8_lossy(&stamped.stderr).into_owned();
    assert_eq!(stamped.status.code(), Some(2), "{said}");
    assert!(said.contains("index notifications_unread_idx"), "{said}");
    scene.proves(&LOST_AND_DAMAGED).await;
}

#[tokio::test]
async fn lost_records_of_a_file() {
    let mut scene = Scene::sqlite().await;
    sqlite(&scene.file(), "DROP TABLE _sqlx_migrations").await;
    scene.proves(&FILE_LOST_TABLE).await;

    let mut scene = Scene::sqlite().await;
    let forget = "DELETE FROM _sqlx_migrations WHERE version > 2";
    sqlite(&scene.file(), forget).await;
    scene.proves(&FILE_LOST_ROWS).await;
}
