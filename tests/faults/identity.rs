//! The database of a running daemon that changes under it.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    OTHER_SCHEMA = Fault {
        title: "The search path was changed while the daemon runs",
        symptom: Symptom::Risk("new connections of the daemon lead to other tables"),
        check: "daemon.database",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_IDENTITY = Fault {
        title: "The table with the identity of the database was emptied or dropped",
        symptom: Symptom::Risk("the database cannot be told from another one"),
        check: "daemon.database",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    CREATED_AGAIN = Fault {
        title: "The database was dropped and created again while the daemon runs",
        symptom: Symptom::Risk("requests are answered with 500"),
        check: "daemon.database",
        outcome: "fail",
        after: After::Person("only a person knows whether the old data is wanted, and starts the daemon again"),
    };
}

#[tokio::test]
async fn another_search_path() {
    let mut scene = Scene::postgres().await;
    scene.start_at_its_port();
    let name = scene.database.as_ref().unwrap().name.clone();
    scene
        .sql(&format!(
            "CREATE SCHEMA app; ALTER DATABASE {name} SET search_path = app, public"
        ))
        .await;
    let report = scene.doctor("daemon.database");
    let detail = report.detail("daemon.database");
    assert!(
        detail.contains("started with the schema public") && detail.contains("leads to app now"),
        "{detail}"
    );
    scene.proves(&OTHER_SCHEMA).await;
}

/// The daemon was started with a search path that nobody has set any more.
#[tokio::test]
async fn a_search_path_that_was_removed() {
    let mut scene = Scene::empty_postgres().await;
    let name = scene.database.as_ref().unwrap().name.clone();
    scene
        .sql(&format!(
            "CREATE SCHEMA app; ALTER DATABASE {name} SET search_path = app"
        ))
        .await;
    scene.start_at_its_port();
    scene
        .sql(&format!("ALTER DATABASE {name} RESET search_path"))
        .await;
    scene.proves(&OTHER_SCHEMA).await;
}

#[tokio::test]
async fn no_identity() {
    let mut scene = Scene::postgres().await;
    scene.start_at_its_port();
    for statement in ["TRUNCATE todoctl_identity", "DROP TABLE todoctl_identity"] {
        scene.sql(statement).await;
        scene.proves(&NO_IDENTITY).await;
    }
    let mut scene = Scene::sqlite().await;
    scene.start_at_its_port();
    sqlite(&scene.file(), "DELETE FROM todoctl_identity").await;
    scene.proves(&NO_IDENTITY).await;
}

#[tokio::test]
async fn a_database_that_was_created_again() {
    let mut scene = Scene::postgres().await;
    scene.start_at_its_port();
    scene.database.as_ref().unwrap().create_again().await;
    let report = scene.doctor("daemon.database");
    let detail = report.detail("daemon.database");
    assert!(detail.contains("dropped and created again"), "{detail}");
    scene.proves(&CREATED_AGAIN).await;
    scene.stop();
    scene.start();
    scene.proves_gone(&CREATED_AGAIN);
}
