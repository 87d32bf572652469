//! SQLite: a service begins anew although its database is near, or is known to have been there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::faults::harness::Scene;
use crate::faults::scene::said;
use crate::support::eventually;

const CONNECTION: &str = "database.connection";
const CONTINUITY: &str = "database.continuity";

/// A service in production that has had two tasks, of which nothing tells but its file. Its secrets are
/// beside it.
async fn forgotten() -> Scene {
    let mut scene = Scene::sqlite().await;
    scene.unset("ENCRYPTION_KEY");
    scene.set("ENVIRONMENT", "production");
    scene.set("DATABASE_URL", &url(&scene.file()));
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.end();
    fs::remove_file(scene.path().join(".env-database")).unwrap();
    scene
}

fn url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

/// Neither a start nor a migration makes a database, and the remedy brings the tasks back.
fn refused_until_typed(scene: &mut Scene, text: &str) {
    for command in ["serve", "migrate up"] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let printed = said(&scene.todoctl(&arguments));
        assert!(printed.contains(text), "{command}: {printed}");
    }
    let report = scene.doctor(CONNECTION);
    report.says(CONNECTION, "fail", "");
    let detail = report.detail(CONNECTION);
    assert!(detail.contains(text), "{detail}");
    typed(scene, CONNECTION);
    scene.doctor(CONNECTION).says(CONNECTION, "pass", "");
    assert_eq!(scene.status("GET", "/tasks/2"), 200);
    scene.end();
}

fn typed(scene: &Scene, check: &str) {
    let report = scene.doctor(check);
    let remedy = report.check(check)["remedy"].as_str().unwrap();
    let output = scene.type_in(remedy);
    assert!(output.status.success(), "{remedy}\n{}", said(&output));
}

/// As after `cp -r backup/data data`, where data exists.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_one_folder_too_deep() {
    let mut scene = forgotten().await;
    let [data, kept] = ["data", "kept"].map(|name| scene.path().join(name));
    let key = fs::read(data.join("secrets/ENCRYPTION_KEY")).unwrap();
    fs::rename(&data, &kept).unwrap();
    fs::create_dir(&data).unwrap();
    fs::rename(&kept, data.join("data")).unwrap();
    refused_until_typed(&mut scene, "is a database of this name");
    let found = fs::read(data.join("secrets/ENCRYPTION_KEY")).unwrap();
    assert_eq!(found, key);
}

/// An empty database was made before, with new secrets.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_one_folder_too_deep_beside_a_new_database() {
    for is_remembered in [true, false] {
        let mut scene = forgotten().await;
        scene.set("ENVIRONMENT", "development");
        if is_remembered {
            scene.start();
            scene.end();
        }
        let [data, kept] = ["data", "kept"].map(|name| scene.path().join(name));
        let key = fs::read(data.join("secrets/ENCRYPTION_KEY")).unwrap();
        fs::rename(&data, &kept).unwrap();
        scene.start();
        scene.end();
        fs::rename(&kept, data.join("restored")).unwrap();
        let report = scene.doctor(CONTINUITY);
        report.says(CONTINUITY, "warn", "cp -rp ");
        typed(&scene, CONTINUITY);
        scene.doctor(CONTINUITY).says(CONTINUITY, "pass", "");
        assert_eq!(scene.status("GET", "/tasks/2"), 200);
        scene.end();
        let found = fs::read(data.join("secrets/ENCRYPTION_KEY")).unwrap();
        assert_eq!(found, key);
        assert!(data.join("todo.db.new").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_mistyped() {
    let mut scene = forgotten().await;
    let mistyped = scene.path().join("dta");
    scene.set("DATABASE_URL", &url(&mistyped.join("todo.db")));
    refused_until_typed(&mut scene, "may be mistyped");
    assert!(!mistyped.exists());
    // On purpose.
    scene.set("DATABASE_URL", &url(&mistyped.join("todo.db")));
    fs::remove_file(scene.path().join(".env-database")).unwrap();
    let report = scene.doctor(CONNECTION);
    let remedy = report.check(CONNECTION)["remedy"].as_str().unwrap();
    let (_, anew) = remedy.rsplit_once("without that data: ").unwrap();
    assert!(scene.type_in(anew).status.success(), "{anew}");
    assert_eq!(scene.status("GET", "/tasks/2"), 404);
}

/// The name of the folder has another end, and the service has never been stopped there.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_renamed_without_its_record() {
    let mut scene = forgotten().await;
    let old = scene.path().join("old-name/data/todo.db");
    scene.set("DATABASE_URL", &url(&old));
    refused_until_typed(&mut scene, "the folder was renamed");
    assert!(!scene.path().join("old-name").exists());
}

/// It was started once, so its record has no tasks of a start or an end.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_has_kept_how_much_it_has() {
    let mut scene = Scene::new();
    scene.set("ENVIRONMENT", "production");
    scene.set("DATABASE_URL", "sqlite://data/todo.db");
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    let record = scene.path().join(".env-database");
    let is_kept =
        async || fs::read_to_string(&record).is_ok_and(|text| text.contains("\"tasks\":1"));
    eventually("the record has the task", is_kept).await;
    scene.stop();
    fs::remove_dir_all(scene.path().join("data")).unwrap();
    scene
        .doctor(CONNECTION)
        .says(CONNECTION, "fail", "restore a backup");
    let printed = scene.start_fails().expect("it starts");
    assert!(printed.contains("it had 1 task"), "{printed}");
}

/// A backup that is no database. The service does not go on without its tasks by what is typed.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_overwritten() {
    const LOGIN: &str = "database.login";
    for (content, kind) in [
        ("<!DOCTYPE html><title>404</title>", "a server has answered"),
        (
            "version https://git-lfs.github.com/spec/v1\n",
            "git lfs pull",
        ),
        ("age-encryption.org/v1\n-> X25519 a\n", "age --decrypt"),
        ("\u{1}\u{2}\u{3}\u{4}", "encrypted"),
        // Only the record tells that it was more.
        ("a shopping list\n", ""),
    ] {
        let mut scene = Scene::sqlite().await;
        if kind.is_empty() {
            assert_eq!(scene.status("POST", "/tasks/"), 201);
            scene.end();
        }
        fs::remove_dir_all(scene.path().join("data")).unwrap();
        fs::create_dir(scene.path().join("data")).unwrap();
        fs::write(scene.file(), content).unwrap();
        if !kind.is_empty() {
            let printed = scene.start_fails().expect("it starts");
            assert!(printed.contains(kind), "{printed}");
        }
        let report = scene.doctor(LOGIN);
        report.says(LOGIN, "fail", kind);
        let remedy = report.check(LOGIN)["remedy"].as_str().unwrap();
        let commands = remedy.lines().filter(|line| !line.starts_with("# "));
        assert_eq!(commands.count(), 0, "{remedy}");
    }
}

/// What the program of the tables needs is not changed.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_program() {
    let scene = Scene::new();
    fs::create_dir(scene.path().join("data")).unwrap();
    let made = Command::new("sqlite3")
        .arg(scene.file())
        .arg("CREATE TABLE tasks (id INTEGER PRIMARY KEY, body TEXT); INSERT INTO tasks VALUES (1, 'x')")
        .status();
    assert!(made.unwrap().success());
    let report = scene.check(&["doctor", "--format", "json"]);
    for check in report.json["checks"].as_array().unwrap() {
        let remedy = check["remedy"].as_str().unwrap_or_default();
        assert!(!remedy.contains("migrate up"), "{check:#}");
    }
    report.says("database.migrations", "fail", "DATABASE_URL=sqlite://");
}
