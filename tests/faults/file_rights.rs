//! SQLite: what the daemon's user may not enter or write, as that user and as root see it.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;

use crate::faults::harness::{Scene, set_mode};
use crate::support::process::{Process, serve};

const CHECK: &str = "database.directory";
const USER: u32 = 65_534;

/// Says so to root and to the user, and is corrected.
fn corrected(scene: &mut Scene, named: &str, typed: &str) {
    for user in [USER, 0] {
        scene.run_by(user);
        let report = scene.doctor(CHECK);
        report.says(CHECK, "fail", typed);
        let detail = report.detail(CHECK);
        assert!(detail.contains(named), "{detail}");
    }
    let report = scene.doctor(CHECK);
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    for user in [USER, 0] {
        scene.run_by(user);
        scene.doctor(CHECK).says(CHECK, "pass", "");
    }
}

#[tokio::test]
async fn directories_and_files_that_a_restore_has_closed() {
    let mut scene = Scene::sqlite().await;
    let home = scene.path().join("service");
    let data = home.join("data");
    std::fs::create_dir(&home).unwrap();
    std::fs::rename(scene.path().join("data"), &data).unwrap();
    scene.set("DATABASE_URL", "sqlite://service/data/todo.db");
    let file = data.join("todo.db");
    let lock = data.join("todo.db-migrate.lock");
    for own in [&data, &file, &lock] {
        chown(own, Some(USER), Some(USER)).unwrap();
    }
    // As the home directory of another user.
    set_mode(&home, 0o700);
    corrected(&mut scene, "may not enter", "chmod o+x ");
    // From a copy that could only be read.
    set_mode(&file, 0o400);
    corrected(
        &mut scene,
        "is not writable",
        "chmod u+rw service/data/todo.db",
    );
    set_mode(&data, 0o500);
    corrected(
        &mut scene,
        "service/data is not writable",
        "chmod u+rwx service/data",
    );
    set_mode(&lock, 0o400);
    corrected(
        &mut scene,
        "lock is not writable for its owner",
        "chmod u+rw service/data/todo.db-migrate.lock",
    );
}

/// The daemon has its rights as a member of a group, which it needs.
#[tokio::test]
async fn files_of_a_group() {
    const CHECK: &str = "database.modes";
    let mut scene = Scene::sqlite().await;
    let data = scene.path().join("data");
    for own in [&data, &scene.file(), &data.join("todo.db-migrate.lock")] {
        chown(own, Some(0), Some(USER)).unwrap();
        set_mode(own, 0o660);
    }
    set_mode(&data, 0o770);
    scene.run_by(0);
    scene.doctor(CHECK).says(CHECK, "pass", "");
    set_mode(&scene.file(), 0o664);
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", "chmod o-rwx data/todo.db");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(CHECK).says(CHECK, "pass", "");
    // Who is in the group may use it.
    scene.run_by(USER);
    scene
        .doctor("database.trial")
        .says("database.trial", "pass", "");
}

/// As by a restore in place by root. The daemon has its old connections.
#[tokio::test]
async fn a_file_that_was_taken_from_the_daemon() {
    let mut scene = Scene::sqlite().await;
    let data = scene.path().join("data");
    for own in [&data, &scene.file(), &data.join("todo.db-migrate.lock")] {
        chown(own, Some(USER), Some(USER)).unwrap();
    }
    scene.run_by(USER);
    let mut command = serve(scene.path());
    let mut daemon = Process::start(command.uid(USER).gid(USER));
    daemon.base();
    chown(scene.file(), Some(0), Some(0)).unwrap();
    scene.run_by(0);
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "chown 65534 data/todo.db");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(CHECK).says(CHECK, "pass", "");
    daemon.kill();
}
