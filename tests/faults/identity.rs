//! The database of a running daemon that changes under it.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::process::{Process, serve};

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
    TWO_DAEMONS = Fault {
        title: "Two daemons have one SQLite file open",
        symptom: Symptom::Risk("they wait for each other, and limits count for each alone"),
        check: "database.locks",
        outcome: "warn",
        after: After::Person("only a person knows which one is wanted"),
    };
    OTHER_DIRECTORY = Fault {
        title: "The daemon was started in another directory, and the path of its file is relative",
        symptom: Symptom::Risk("the tasks are in another file than the operator's commands read"),
        check: "daemon.database",
        outcome: "fail",
        after: After::Person("only a person knows which file has the tasks"),
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
    // A migration has made another one before the remedy is typed.
    sqlite(&scene.file(), "DELETE FROM todoctl_identity").await;
    let report = scene.doctor(NO_IDENTITY.check);
    let remedy = report.check(NO_IDENTITY.check)["remedy"].as_str().unwrap();
    let other = "INSERT INTO todoctl_identity (id) VALUES ('another')";
    sqlite(&scene.file(), other).await;
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.proves_gone(&NO_IDENTITY);
    // The schema's remedy is the one that helps.
    sqlite(&scene.file(), "DROP TABLE todoctl_identity").await;
    let report = scene.doctor("database.continuity");
    report.says("database.continuity", "skip", "");
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
    // It was done on purpose.
    std::fs::remove_file(scene.path().join(".env-database")).unwrap();
    scene.start();
    scene.proves_gone(&CREATED_AGAIN);
}

#[tokio::test]
async fn a_daemon_in_another_directory() {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    let elsewhere = scene.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    scene.stop();
    std::fs::copy(scene.path().join(".env"), elsewhere.join(".env")).unwrap();
    let mut command = serve(&elsewhere);
    command.env_remove("PORT");
    let mut daemon = Process::start(&mut command);
    assert_eq!(daemon.base(), base);
    let report = scene.doctor("daemon.database");
    let detail = report.detail("daemon.database");
    assert!(detail.contains("serves another database"), "{detail}");
    report.says("daemon.database", "fail", "relative path");
    scene.proves(&OTHER_DIRECTORY).await;
    daemon.kill();
    scene.start();
    scene.proves_gone(&OTHER_DIRECTORY);
}

/// As where the old one was not stopped after an upgrade.
#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_on_one_file() {
    let mut scene = Scene::sqlite().await;
    scene.start();
    let mut second = Process::start(&mut serve(scene.path()));
    second.base();
    let report = scene.doctor("database.locks");
    let detail = report.detail("database.locks");
    for pid in [scene.daemon_pid(), second.id()] {
        assert!(detail.contains(&pid.to_string()), "{detail}");
    }
    scene.proves(&TWO_DAEMONS).await;
    second.kill();
    scene.proves_gone(&TWO_DAEMONS);
}
