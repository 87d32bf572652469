//! SQLite: journals and logs that belong to another state of the file, or that are damaged.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::Scene;
use crate::faults::scene::said;

const CHECK: &str = "database.connection";

fn shell(command: &str, scene: &Scene) {
    let output = Command::new("sh")
        .args(["-ec", command])
        .current_dir(scene.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", said(&output));
}

fn count(scene: &Scene) -> String {
    let output = Command::new("sqlite3")
        .arg(scene.file())
        .arg("SELECT count(*) FROM tasks; PRAGMA integrity_check")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn add_tasks(count: u32) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO tasks (user_id, title, title_folded, created_at, updated_at)
         SELECT 'me', 'task ' || i, 'task ' || i, i, i FROM n"
    )
}

/// With a hundred tasks, and a program that is killed in the middle of a change of `$1`, which then
/// has its journal beside it.
async fn with_killer() -> Scene {
    let scene = Scene::sqlite().await;
    let grown = "CREATE TABLE grown (x);";
    sqlite(&scene.file(), &format!("{grown} {}", add_tasks(100))).await;
    let program = "import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute('PRAGMA journal_mode = DELETE')
connection.execute('PRAGMA cache_size = 1')
connection.execute('BEGIN IMMEDIATE')
connection.execute('UPDATE tasks SET description = hex(randomblob(100))')
os.kill(os.getpid(), 9)";
    std::fs::write(scene.path().join("killed.py"), program).unwrap();
    scene
}

fn beside(scene: &Scene, suffix: &str) -> PathBuf {
    let mut path = scene.file().into_os_string();
    path.push(suffix);
    path.into()
}

/// Neither `serve` nor a migration nor a check changes the file, which is well when the remedy has
/// been typed.
fn is_refused(scene: &Scene, tasks: &str) {
    let before = std::fs::read(scene.file()).unwrap();
    let printed = scene.start_fails().expect("it starts");
    assert!(printed.contains("is of another state of"), "{printed}");
    let migrated = scene.todoctl(&["migrate", "up"]);
    assert_eq!(migrated.status.code(), Some(2), "{}", said(&migrated));
    let report = scene.check(&["db", "check", "--format", "json"]);
    report.says(
        CHECK,
        "fail",
        "mv -n data/todo.db-journal data/todo.db-journal.old",
    );
    assert_eq!(report.json["summary"]["fail"], 1, "{:#}", report.json);
    assert_eq!(std::fs::read(scene.file()).unwrap(), before);
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    let typed = scene.type_in(remedy);
    assert!(typed.status.success(), "{remedy}\n{}", said(&typed));
    assert_eq!(count(scene), format!("{tasks}\nok"));
    assert!(beside(scene, "-journal.old").exists());
    scene.doctor(CHECK).says(CHECK, "pass", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_an_older_copy_beside_a_file_with_a_log() {
    let mut scene = with_killer().await;
    shell(
        "cp data/todo.db old.db; python3 killed.py old.db || true",
        &scene,
    );
    // The file has been changed never, as often as the copy, or more often.
    let mut tasks = 101;
    for added in [0, 1, 2, 300] {
        if added > 0 {
            let grown = "INSERT INTO grown VALUES (zeroblob(9000));";
            sqlite(&scene.file(), &format!("{grown} {}", add_tasks(added))).await;
        }
        tasks += added;
        shell(
            "rm -f data/todo.db-journal.old; cp old.db-journal data/todo.db-journal",
            &scene,
        );
        is_refused(&scene, &tasks.to_string());
    }
    assert_eq!(scene.status("POST", "/tasks/"), 201);
}

/// As a backup that takes the place of a file whose change was interrupted the day before.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_journal_beside_a_restored_file() {
    let scene = with_killer().await;
    shell(
        "sqlite3 data/todo.db 'PRAGMA journal_mode = DELETE'; cp data/todo.db backup.db
         python3 killed.py data/todo.db || true
         cp backup.db data/todo.db; touch -d yesterday data/todo.db-journal",
        &scene,
    );
    is_refused(&scene, "101");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_change_is_undone_by_the_remedy_and_by_the_daemon() {
    let mut scene = with_killer().await;
    shell("python3 killed.py data/todo.db || true", &scene);
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "quick_check");
    let journal = std::fs::read(beside(&scene, "-journal")).unwrap();
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    let typed = scene.type_in(remedy);
    assert!(typed.status.success(), "{remedy}\n{}", said(&typed));
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(count(&scene), "101\nok");
    let copy = std::fs::read(beside(&scene, ".before-journal")).unwrap();
    assert!(copy == journal, "the copy of the journal differs");
    shell("python3 killed.py data/todo.db || true", &scene);
    assert_eq!(scene.status("GET", "/tasks/1"), 200);
    scene.end();
    assert_eq!(count(&scene), "101\nok");
}

/// The log of a crash, which came back with a copy of the folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_an_older_state_beside_a_good_file() {
    let mut scene = Scene::sqlite().await;
    for _ in 0..3 {
        assert_eq!(scene.status("POST", "/tasks/"), 201);
    }
    scene.stop();
    shell("cp data/todo.db-wal old-wal", &scene);
    // Copies the log into the file.
    sqlite(&scene.file(), &add_tasks(300)).await;
    shell("cp old-wal data/todo.db-wal", &scene);
    let before = std::fs::read(scene.file()).unwrap();
    let report = scene.check(&["doctor", "--format", "json"]);
    report.says(CHECK, "fail", "mv -n data/todo.db-wal data/todo.db-wal.old");
    assert!(
        std::fs::read(scene.file()).unwrap() == before,
        "the file was changed"
    );
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    let typed = scene.type_in(remedy);
    assert!(typed.status.success(), "{remedy}\n{}", said(&typed));
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(count(&scene), "304\nok");
}

fn overwrite(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    assert!(file.metadata().unwrap().len() > 2 * at);
    file.write_all_at(b"oops", at).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_damaged_in_its_middle() {
    const LOG: &str = "database.wal";
    let mut scene = Scene::sqlite().await;
    for _ in 0..12 {
        assert_eq!(scene.status("POST", "/tasks/"), 201);
    }
    scene.stop();
    // What a crash leaves is no damage, nor is a change that did not reach the disk as a whole.
    scene.doctor(CHECK).says(CHECK, "pass", "");
    let log = beside(&scene, "-wal");
    let file = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.set_len(file.metadata().unwrap().len() - 100).unwrap();
    shell(
        "mkdir saved; cp -p data/todo.db data/todo.db-wal saved",
        &scene,
    );
    scene.doctor(CHECK).says(CHECK, "pass", "");
    shell("cp -p saved/* data", &scene);

    overwrite(&log, 60_000);
    shell("cp -p data/todo.db data/todo.db-wal saved", &scene);
    let report = scene.doctor(CHECK);
    report.says(
        CHECK,
        "fail",
        "cp -pn data/todo.db-wal data/todo.db-wal.damaged",
    );
    let detail = report.detail(CHECK);
    assert!(detail.starts_with("frame 15 of "), "{detail}");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    let typed = scene.type_in(remedy);
    assert!(typed.status.success(), "{remedy}\n{}", said(&typed));
    scene.doctor(CHECK).says(CHECK, "pass", "");
    scene
        .doctor(LOG)
        .says(LOG, "warn", "rm data/todo.db-wal.damaged");

    let copy = beside(&scene, "-wal.damaged");
    std::fs::remove_file(&copy).unwrap();
    shell("cp -p saved/* data", &scene);
    assert_eq!(scene.status("GET", "/tasks/1"), 200);
    assert!(scene.has_logged("frame 15 of "), "the daemon says nothing");
    let damaged = std::fs::read(scene.path().join("saved/todo.db-wal")).unwrap();
    assert!(std::fs::read(&copy).unwrap() == damaged, "the copy differs");
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    scene.stop();
    scene.doctor(CHECK).says(CHECK, "pass", "");
    scene
        .doctor(LOG)
        .says(LOG, "warn", "rm data/todo.db-wal.damaged");
    std::fs::remove_file(&copy).unwrap();
    scene.doctor(LOG).says(LOG, "pass", "");
}
