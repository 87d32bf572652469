//! SQLite: what is where its log should be, other names of the file, mounts.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults, set_mode};
use crate::faults::locked_files::Mounted;

const CHECK: &str = "database.directory";

faults! {
    HARD_LINK = Fault {
        title: "The SQLite file has two names",
        symptom: Symptom::Risk("a program that uses the other name damages the file"),
        check: CHECK,
        outcome: "warn",
        after: After::Person("a person has to choose the name that stays"),
    };
    OPEN_COPY = Fault::warned_of(
        "Other users may read a copy of the SQLite file beside it",
        Symptom::Risk("every user of the machine may read all tasks"),
        "database.modes",
    );
}

fn beside(scene: &Scene, suffix: &str) -> PathBuf {
    scene.path().join(format!("data/todo.db{suffix}"))
}

/// SQLite cannot open the database; the remedy, typed, corrects it.
fn corrected(scene: &mut Scene, named: &str, typed: &str) {
    // Without the index of the log it starts, and answers nothing.
    if let Some(printed) = scene.start_fails() {
        assert!(printed.contains(typed), "{printed}");
    }
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", typed);
    let detail = report.detail(CHECK);
    assert!(detail.contains(named), "{detail}");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(scene.status("GET", "/tasks/1"), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_place_of_the_log() {
    for suffix in ["-wal", "-shm"] {
        let mut scene = Scene::sqlite().await;
        std::fs::create_dir(beside(&scene, suffix)).unwrap();
        corrected(&mut scene, "is a directory", "rmdir data/todo.db");
    }
    // One with files in it is kept.
    let scene = Scene::sqlite().await;
    std::fs::create_dir_all(beside(&scene, "-journal").join("kept")).unwrap();
    scene
        .doctor(CHECK)
        .says(CHECK, "fail", "mv -n data/todo.db-journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_place_of_the_log() {
    let mut scene = Scene::sqlite().await;
    symlink("/no such mount/log", beside(&scene, "-wal")).unwrap();
    corrected(&mut scene, "does not follow", "rm data/todo.db-wal");
    // What another file has is copied.
    let mut scene = Scene::sqlite().await;
    scene.start();
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.stop();
    let elsewhere = scene.path().join("elsewhere");
    std::fs::rename(beside(&scene, "-wal"), &elsewhere).unwrap();
    symlink(&elsewhere, beside(&scene, "-wal")).unwrap();
    corrected(&mut scene, "does not follow", "cp -p ");
    assert_eq!(scene.status("GET", "/tasks/2"), 200);
}

/// As a backup by `cp -al`. A second daemon that uses the other name has a log of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_hard_link() {
    let mut scene = Scene::sqlite().await;
    let disk = Mounted::below(&scene, "size=600m,mode=700");
    let copy = beside(&scene, ".copy");
    std::fs::hard_link(scene.file(), &copy).unwrap();
    let mut other = Scene::new();
    other.set("DATABASE_URL", &format!("sqlite://{}", copy.display()));
    scene.proves(&HARD_LINK).await;
    scene.start();
    other.start();
    let report = scene.doctor("database.locks");
    report.says("database.locks", "fail", "integrity_check");
    let detail = report.detail("database.locks");
    assert!(detail.contains("with a log of its own"), "{detail}");
    // Each copy has what the log of that name has.
    for one in [&mut scene, &mut other] {
        assert_eq!(one.status("POST", "/tasks/"), 201);
    }
    let remedy = report.check("database.locks")["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    for name in [scene.file(), copy.clone()] {
        let mut kept = name.into_os_string();
        kept.push(".kept");
        assert!(std::path::Path::new(&kept).exists(), "{remedy}");
    }
    other.stop();
    scene.stop();
    std::fs::remove_file(&copy).unwrap();
    scene.proves_gone(&HARD_LINK);
    drop(disk);
}

/// SQLite has its log beside the file that the link leads to.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_the_file() {
    let mut scene = Scene::sqlite().await;
    let disk = scene.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    set_mode(&disk, 0o700);
    std::fs::rename(scene.file(), disk.join("tasks.db")).unwrap();
    symlink(disk.join("tasks.db"), scene.file()).unwrap();
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    let report = scene.check(&["db", "check", "--format", "json"]);
    assert_eq!(report.json["summary"]["fail"], 0, "{:#}", report.json);
    let detail = report.detail("database.wal");
    assert!(detail.ends_with(" bytes"), "{detail}");
}

/// Taken away with its value.
struct Bound(PathBuf);

impl Bound {
    fn to_itself(file: &Path) -> Self {
        let mut mount = Command::new("mount");
        let status = mount.arg("--bind").args([file, file]).status().unwrap();
        assert!(status.success(), "this test mounts a file and may not");
        Self(file.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// As `docker run -v ./todo.db:/data/todo.db` mounts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_mounted_without_its_directory() {
    const CHECK: &str = "database.file_system";
    let scene = Scene::sqlite().await;
    let bound = Bound::to_itself(&scene.file());
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "mount the directory");
    drop(bound);
    let report = scene.doctor(CHECK);
    assert_ne!(report.check(CHECK)["outcome"], "fail", "{:#}", report.json);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_for_everybody() {
    let mut scene = Scene::sqlite().await;
    let copy = beside(&scene, ".2026-01-01");
    std::fs::copy(scene.file(), &copy).unwrap();
    set_mode(&copy, 0o644);
    scene.proves(&OPEN_COPY).await;
}

/// The daemon has the file of the old directory open.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_link_that_leads_elsewhere() {
    const CHECK: &str = "daemon.database";
    let mut scene = Scene::sqlite().await;
    let data = scene.path().join("data");
    let [old, new] = ["old", "new"].map(|name| scene.path().join(name));
    std::fs::rename(&data, &old).unwrap();
    std::fs::create_dir(&new).unwrap();
    std::fs::copy(old.join("todo.db"), new.join("todo.db")).unwrap();
    let lead_to = |directory: &Path| {
        let _ = std::fs::remove_file(&data);
        symlink(directory, &data).unwrap();
    };
    lead_to(&old);
    let base = scene.start_at_its_port();
    lead_to(&new);
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 503);
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "lead data/todo.db there again");
    let detail = report.detail(CHECK);
    assert!(detail.contains("old/todo.db open"), "{detail}");
    lead_to(&old);
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
    scene.doctor(CHECK).says(CHECK, "pass", "");
}
