//! A new, empty database in the place of the one that the service has had.

use std::process::Command;
use std::time::Duration;

use crate::faults::files::SmallDisk;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::eventually;

const CHECK: &str = "database.continuity";

const EMPTY: Symptom = Symptom::Risk("every list is empty, and changes go to another database");

faults! {
    OTHER_PLACE = Fault::warned_of(
        "SQLite: DATABASE_URL leads to a new file in another place",
        EMPTY,
        CHECK,
    );
    KILLED = Fault::warned_of(
        "DATABASE_URL was wrong at the first start, the daemon was killed, and its tasks are at the wrong place",
        EMPTY,
        CHECK,
    );
    LOST_URL = Fault {
        title: "DATABASE_URL of PostgreSQL is lost, and the daemon serves an empty SQLite file",
        symptom: EMPTY,
        check: CHECK,
        outcome: "warn",
        after: After::Person("todoctl does not keep the password"),
    };
    RENAMED_FOLDER = Fault::failing(
        "SQLite: the folder of the service was renamed, and DATABASE_URL has its old name",
        Symptom::Start("the folder was renamed"),
        "database.connection",
    );
    HOST_IN_PATH = Fault::warned_of(
        "SQLite: DATABASE_URL has a host, which is taken for a folder",
        EMPTY,
        CHECK,
    );
    EMPTY_VOLUME = Fault {
        title: "SQLite: an empty volume is mounted over the data",
        symptom: EMPTY,
        check: CHECK,
        outcome: "warn",
        after: After::Person("a person has to choose the volume"),
    };
    CREATED_AGAIN = Fault {
        title: "The database was dropped and created again while the daemon was down",
        symptom: EMPTY,
        check: CHECK,
        outcome: "warn",
        after: After::Person("a backup has to be restored"),
    };
}

/// A service that has served three tasks.
fn served(scene: &mut Scene) {
    for _ in 0..2 {
        assert_eq!(scene.status("POST", "/tasks/"), 201);
    }
    scene.end();
    scene.doctor(CHECK).says(CHECK, "pass", "");
}

fn warns_at_its_start(scene: &mut Scene) {
    scene.start();
    for text in [
        "created a new, empty database",
        "this service has served another database",
    ] {
        assert!(scene.has_logged(text), "not logged: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_path() {
    let mut scene = Scene::sqlite().await;
    served(&mut scene);
    scene.set("DATABASE_URL", "sqlite://other/todo.db");
    warns_at_its_start(&mut scene);
    // What is stored meanwhile changes nothing, nor does another start.
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.end();
    scene.start();
    scene.end();
    scene.proves(&OTHER_PLACE).await;
    scene.start();
    assert_eq!(scene.status("GET", "/tasks/1"), 200);
}

/// Its only start found no tasks.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_after_the_only_start() {
    for mut scene in [Scene::new(), Scene::empty_postgres().await] {
        let first = scene.get("DATABASE_URL");
        for _ in 0..3 {
            assert_eq!(scene.status("POST", "/tasks/"), 201);
        }
        let file = scene.path().join(".env-database");
        eventually("they are counted", async || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            std::fs::read_to_string(&file)
                .unwrap()
                .contains("\"tasks\":3")
        })
        .await;
        let kept = std::fs::read_to_string(&file).unwrap();
        assert_eq!(kept.contains("\"database\""), first.is_some(), "{kept}");
        scene.stop();
        scene.set("DATABASE_URL", "sqlite://other/todo.db");
        warns_at_its_start(&mut scene);
        scene.end();
        if first.is_none() {
            scene.proves(&KILLED).await;
        } else {
            // todoctl does not keep the password.
            scene
                .doctor(CHECK)
                .says(CHECK, "warn", "URL of that database again");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_url_of_a_server() {
    let mut scene = Scene::postgres().await;
    served(&mut scene);
    let url = scene.get("DATABASE_URL").unwrap();
    scene.unset("DATABASE_URL");
    warns_at_its_start(&mut scene);
    scene.proves(&LOST_URL).await;
    let report = scene.doctor(CHECK);
    let said = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(said.contains("config set DATABASE_URL=-"), "{said}");
    assert!(
        said.contains("URL of that database again, postgresql://"),
        "{said}"
    );
    assert!(!said.contains("away"), "{said}");
    scene.end();
    scene.set("DATABASE_URL", &url);
    scene.proves_gone(&LOST_URL);
    scene.start();
    assert_eq!(scene.status("GET", "/tasks/1"), 200);
}

/// Without what an earlier daemon has kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_the_path() {
    let mut scene = Scene::sqlite().await;
    scene.set("DATABASE_URL", "sqlite://localhost/data/todo.db");
    scene.start();
    assert!(scene.has_logged("created a new, empty database"));
    assert!(scene.has_logged("begins with localhost, which is a folder"));
    scene.end();
    std::fs::remove_file(scene.path().join(".env-database")).unwrap();
    scene
        .doctor("config.database")
        .says("config.database", "warn", "DATABASE_URL=sqlite:///");
    scene.proves(&HOST_IN_PATH).await;
    scene
        .doctor("config.database")
        .says("config.database", "pass", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_volume() {
    let mut scene = Scene::sqlite().await;
    served(&mut scene);
    let disk = SmallDisk::mount(&scene.path().join("data"));
    warns_at_its_start(&mut scene);
    scene.end();
    scene.proves(&EMPTY_VOLUME).await;
    drop(disk);
    scene.proves_gone(&EMPTY_VOLUME);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_created_again() {
    let mut scene = Scene::postgres().await;
    served(&mut scene);
    scene
        .sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await;
    // A start does not begin anew by itself.
    let printed = scene.start_fails().unwrap();
    assert!(
        printed.contains("is empty, and had tasks when they were counted last (3)"),
        "{printed}"
    );
    assert!(printed.contains("only to begin anew"), "{printed}");
    assert!(scene.todoctl(&["migrate", "up"]).status.success());
    scene.start();
    assert!(scene.has_logged("this service has served another database"));
    scene.proves(&CREATED_AGAIN).await;
    scene
        .sql("INSERT INTO tasks (user_id, title, created_at, updated_at) SELECT 'me', 'one', now(), now() FROM generate_series(1, 3)")
        .await;
    scene.proves_gone(&CREATED_AGAIN);
}

/// As when only todo.db was moved after a crash: the newest tasks are in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_its_log() {
    let mut scene = Scene::sqlite().await;
    for _ in 0..3 {
        assert_eq!(scene.status("POST", "/tasks/"), 201);
    }
    scene.stop();
    let new = scene.path().join("new");
    std::fs::create_dir(&new).unwrap();
    std::fs::rename(scene.file(), new.join("todo.db")).unwrap();
    scene.set("DATABASE_URL", "sqlite://new/todo.db");
    let printed = scene.start_fails().expect("it starts");
    assert!(printed.contains("without its write-ahead log"), "{printed}");
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "mv -n ");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(scene.status("GET", "/tasks/4"), 200);
}

/// As after `mv /srv/todo /srv/todo_new`. A new database at the old path would be empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_renamed() {
    const ID: &str = "database.connection";
    let mut scene = Scene::sqlite().await;
    served(&mut scene);
    let old = scene.path().join("old-name");
    let path = old.join("data/todo.db");
    scene.set("DATABASE_URL", &format!("sqlite://{}", path.display()));
    let output = scene.todoctl(&["migrate", "up"]);
    assert_eq!(output.status.code(), Some(2));
    scene.proves(&RENAMED_FOLDER).await;
    assert!(!old.exists());
    assert_eq!(scene.status("GET", "/tasks/3"), 200);
    scene.end();
    // The data directory alone has the old name.
    scene.unset("DATABASE_URL");
    scene.set("TODOCTL_DATA_DIR", old.join("data").to_str().unwrap());
    scene.proves(&RENAMED_FOLDER).await;
    scene.unset("TODOCTL_DATA_DIR");
    // Another place, in a folder that exists or under another name, may be meant.
    for new in [scene.path().join("new/todo.db"), old.join("data/tasks.db")] {
        scene.set("DATABASE_URL", &format!("sqlite://{}", new.display()));
        scene.doctor(ID).says(ID, "warn", "this names it again");
    }
    let served_once = std::fs::remove_file(scene.path().join(".env-database"));
    assert!(served_once.is_ok());
    scene.set("DATABASE_URL", &format!("sqlite://{}", path.display()));
    scene.proves(&RENAMED_FOLDER).await;
}

/// Who begins anew on purpose says so once.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_begun_anew() {
    let mut scene = Scene::sqlite().await;
    served(&mut scene);
    scene.set("DATABASE_URL", "sqlite://other/todo.db");
    scene.start();
    scene.end();
    let report = scene.doctor(CHECK);
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    let (_, anew) = remedy.rsplit_once("on purpose: ").unwrap();
    let typed = Command::new("sh")
        .args(["-c", anew])
        .current_dir(scene.path())
        .status();
    assert!(typed.unwrap().success(), "{anew}");
    // The other one is still near, until this one is used.
    scene.start();
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.end();
    scene.doctor(CHECK).says(CHECK, "pass", "");
}
