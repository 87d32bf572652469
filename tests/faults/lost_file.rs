//! A SQLite file that is deleted, replaced or moved while the daemon has it open. The remedy is
//! typed; nothing that was acknowledged is missing afterwards.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::faults::harness::Scene;
use crate::support::process::{Process, serve};

const CHECK: &str = "database.connection";

/// The titles of all tasks in a SQLite file.
fn count(file: &Path) -> usize {
    let output = Command::new("sqlite3")
        .arg(file)
        .arg("SELECT count(*) FROM tasks")
        .output()
        .expect("sqlite3 is installed: `sudo apt-get install sqlite3`");
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().parse().unwrap_or_else(|_| panic!("{text}"))
}

/// A daemon, and the number of tasks that it has acknowledged.
async fn served() -> (Scene, String, usize) {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    for _ in 0..5 {
        assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
    }
    (scene, base, 6)
}

/// Types what the check says, and returns it.
fn typed(scene: &Scene) -> String {
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap().to_owned();
    let output = scene.type_in(&remedy);
    assert!(
        output.status.success(),
        "{remedy}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    remedy
}

fn proves_nothing_is_lost(scene: &mut Scene, acknowledged: usize) {
    scene.doctor(CHECK).says(CHECK, "pass", "");
    scene.start();
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.stop();
    assert_eq!(count(&scene.file()), acknowledged + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file() {
    let (mut scene, base, acknowledged) = served().await;
    let data = scene.path().join("data");
    for name in ["todo.db", "todo.db-wal", "todo.db-shm"] {
        std::fs::remove_file(data.join(name)).unwrap();
    }
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 503);
    let remedy = typed(&scene);
    assert!(remedy.contains("then restart the daemon"), "{remedy}");
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 503);
    scene.stop();
    proves_nothing_is_lost(&mut scene, acknowledged);
}

/// The daemon hangs, so its log still has what it wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_of_a_daemon_that_does_nothing() {
    let (mut scene, _, acknowledged) = served().await;
    scene.signal("-STOP");
    let data = scene.path().join("data");
    assert!(std::fs::metadata(data.join("todo.db-wal")).unwrap().len() > 0);
    for name in ["todo.db", "todo.db-wal", "todo.db-shm"] {
        std::fs::remove_file(data.join(name)).unwrap();
    }
    let remedy = typed(&scene);
    assert!(remedy.contains("wal_checkpoint"), "{remedy}");
    scene.stop();
    proves_nothing_is_lost(&mut scene, acknowledged);
}

/// As when a backup is restored under the running daemon. The backup is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_file() {
    let (mut scene, base, acknowledged) = served().await;
    let backup = Scene::sqlite().await;
    std::fs::rename(backup.file(), scene.file()).unwrap();
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 503);
    let remedy = typed(&scene);
    assert!(remedy.contains("todo.db.replaced"), "{remedy}");
    scene.stop();
    proves_nothing_is_lost(&mut scene, acknowledged);
    assert_eq!(count(&scene.path().join("data/todo.db.replaced")), 1);
}

/// The older daemon was forgotten, and another one serves the file that replaced its own: that file
/// stays where it is, with what was acknowledged since.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_file_that_another_daemon_serves() {
    let mut scene = Scene::sqlite().await;
    let mut older = Process::start(&mut serve(scene.path()));
    let old = older.base();
    assert_eq!(Scene::ask(&old, "POST", "/tasks/"), 201);
    let backup = Scene::sqlite().await;
    delete(&scene, &["", "-wal", "-shm"]);
    std::fs::copy(backup.file(), scene.file()).unwrap();
    let base = scene.start_at_its_port();
    for _ in 0..2 {
        assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
    }
    assert_eq!(Scene::ask(&old, "POST", "/tasks/"), 503);
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", "kill");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    let output = scene.type_in(remedy);
    assert!(output.status.success(), "{remedy}");
    older.end();
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
    assert_eq!(count(&scene.path().join("data/todo.db.rescued")), 2);
    scene.stop();
    proves_nothing_is_lost(&mut scene, 4);
}

/// As when a deployment leads a link to the next release, and removes the one before with its data.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_deleted_behind_a_link() {
    let mut scene = Scene::sqlite().await;
    let data = scene.path().join("data");
    let [old, new] = ["release-1", "release-2"].map(|name| scene.path().join(name));
    std::fs::rename(&data, &old).unwrap();
    symlink(&old, &data).unwrap();
    let base = scene.start_at_its_port();
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
    std::fs::remove_dir_all(&old).unwrap();
    std::fs::create_dir(&new).unwrap();
    std::fs::remove_file(&data).unwrap();
    symlink(&new, &data).unwrap();
    typed(&scene);
    scene.stop();
    proves_nothing_is_lost(&mut scene, 2);
}

fn delete(scene: &Scene, suffixes: &[&str]) {
    for suffix in suffixes {
        let name = format!("data/todo.db{suffix}");
        std::fs::remove_file(scene.path().join(name)).unwrap();
    }
}

/// Waits until the daemon has noticed that its log is gone, and has copied it into the file.
fn refuses(base: &str) {
    let refused = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        Scene::ask(base, "DELETE", "/tasks/999") == 503
    });
    assert!(refused);
}

/// Another process may have made a new log since.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_log() {
    for (suffixes, has_other) in [
        (&["-wal", "-shm"][..], false),
        (&["-wal"], true),
        (&["-shm"], false),
    ] {
        let (mut scene, base, acknowledged) = served().await;
        delete(&scene, suffixes);
        if has_other {
            std::fs::write(scene.path().join("data/todo.db-wal"), "").unwrap();
        }
        refuses(&base);
        let remedy = typed(&scene);
        assert_eq!(remedy, "# restart the daemon");
        scene.stop();
        proves_nothing_is_lost(&mut scene, acknowledged);
    }
}

/// The daemon hangs, so nothing but the deleted log has what it wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_log_of_a_daemon_that_does_nothing() {
    for suffixes in [&["-wal", "-shm"][..], &["-wal"], &["-shm"]] {
        let (mut scene, _, acknowledged) = served().await;
        scene.signal("-STOP");
        delete(&scene, suffixes);
        typed(&scene);
        scene.stop();
        proves_nothing_is_lost(&mut scene, acknowledged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_file() {
    let (mut scene, base, acknowledged) = served().await;
    let file = scene.file();
    std::fs::rename(&file, scene.path().join("data/old one.db")).unwrap();
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 503);
    typed(&scene);
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
    scene.stop();
    proves_nothing_is_lost(&mut scene, acknowledged + 1);
}

/// Loses what is served while the daemon is down; what `database.connection` says then is typed.
async fn stopped() -> (Scene, usize) {
    let (mut scene, _, acknowledged) = served().await;
    scene.stop();
    (scene, acknowledged)
}

/// The service does not start on an empty database in the place of the lost one.
fn starts_not(scene: &Scene, text: &str) {
    let printed = scene
        .start_fails()
        .expect("it starts with an empty database");
    assert!(printed.contains(text), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_directory() {
    for directory in ["data.away", "data-2026", "data (old)"] {
        for is_mount in [false, true] {
            let (mut scene, acknowledged) = stopped().await;
            let data = scene.path().join("data");
            std::fs::rename(&data, scene.path().join(directory)).unwrap();
            if is_mount {
                std::fs::create_dir(&data).unwrap();
            }
            starts_not(&scene, "has a database of this name");
            typed(&scene);
            proves_nothing_is_lost(&mut scene, acknowledged);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_moved_under_the_daemon() {
    let (mut scene, base, acknowledged) = served().await;
    std::fs::rename(scene.path().join("data"), scene.path().join("data.away")).unwrap();
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 503);
    typed(&scene);
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
    scene.stop();
    proves_nothing_is_lost(&mut scene, acknowledged + 1);
}

/// As after `cp -r backup/data data`, and of a backup under another name.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_copied_elsewhere() {
    let (mut scene, acknowledged) = stopped().await;
    let below = scene.path().join("data/data");
    std::fs::create_dir(&below).unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("todo.db{suffix}");
        std::fs::rename(scene.path().join("data").join(&name), below.join(&name)).unwrap();
    }
    starts_not(&scene, "mv -n data/data/todo.db data/todo.db");
    typed(&scene);
    proves_nothing_is_lost(&mut scene, acknowledged);
    let old = scene.path().join("data/todo-2026.db");
    std::fs::rename(scene.file(), old).unwrap();
    starts_not(&scene, "cp -p data/todo-2026.db data/todo.db");
}

/// The tasks are gone. The comment that begins anew works as well.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_file() {
    let (scene, _) = stopped().await;
    let backup = scene.path().join("backup.db");
    let copied = Command::new("sqlite3")
        .arg(scene.file())
        .arg(format!("VACUUM INTO '{}'", backup.display()))
        .status();
    assert!(copied.unwrap().success());
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(scene.path().join(format!("data/todo.db{suffix}")));
    }
    std::fs::write(scene.file(), "").unwrap();
    starts_not(&scene, "says that it had tables");
    let remedy = typed(&scene);
    starts_not(&scene, "says that it had tables");
    let (_, anew) = remedy.rsplit_once("with an empty database: ").unwrap();
    assert!(scene.type_in(anew).status.success());
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(scene.start_fails(), None);
    std::fs::copy(backup, scene.file()).unwrap();
    scene.doctor(CHECK).says(CHECK, "pass", "");
}

/// Overwrites the begin of the file.
async fn overwritten(bytes: &[u8]) -> (Scene, usize) {
    let (scene, acknowledged) = stopped().await;
    // Nothing is left in the log.
    assert_eq!(count(&scene.file()), acknowledged);
    let mut content = std::fs::read(scene.file()).unwrap();
    content[..bytes.len()].copy_from_slice(bytes);
    std::fs::write(scene.file(), content).unwrap();
    (scene, acknowledged)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwritten_header() {
    // The last one has versions of the format that do not exist.
    let versions = b"SQLite format 3\0\x10\0\x03\x03";
    for bytes in [&b"XXXXXX"[..], &[0; 16], versions] {
        let (mut scene, acknowledged) = overwritten(bytes).await;
        starts_not(&scene, "not a SQLite database");
        let report = scene.doctor("database.login");
        report.says("database.login", "fail", "integrity_check");
        let remedy = report.check("database.login")["remedy"].as_str().unwrap();
        assert!(scene.type_in(remedy).status.success(), "{remedy}");
        proves_nothing_is_lost(&mut scene, acknowledged);
    }
    let (scene, _) = overwritten(&[0; 4096]).await;
    let report = scene.doctor("database.login");
    report.says("database.login", "fail", "# restore a backup of");
    let remedy = report.check("database.login")["remedy"].as_str().unwrap();
    assert!(!remedy.contains("migrate up"), "{remedy}");
}
