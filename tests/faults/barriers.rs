//! SQLite: what root may not write either.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::not_tried;

faults! {
    FROZEN_FILE = Fault {
        title: "The SQLite file is immutable (`chattr +i`)",
        symptom: Symptom::Risk("changes are answered with 500"),
        check: "database.directory",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    GROWING_FILE = Fault {
        title: "The SQLite file can only be appended to (`chattr +a`)",
        symptom: Symptom::Risk("changes are answered with 500"),
        check: "database.directory",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

/// A flag of a file, taken away with its value.
struct Flagged(PathBuf);

impl Flagged {
    /// `None` where the file system has no such flags, which is noted.
    fn set(path: PathBuf, flag: &str) -> Option<Self> {
        let output = Command::new("chattr")
            .arg(flag)
            .arg(&path)
            .output()
            .unwrap();
        if !output.status.success() {
            let refused = String::from_utf8_lossy(&output.stderr);
            not_tried(&format!("chattr {flag} is refused: {}", refused.trim()));
            return None;
        }
        Some(Self(path))
    }
}

impl Drop for Flagged {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-ia").arg(&self.0).output();
    }
}

/// A daemon that was started meanwhile can only read.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_may_change() {
    if let Some((mut scene, _flagged)) = with_flag("+i").await {
        scene.proves(&FROZEN_FILE).await;
        scene.stop();
        assert_eq!(scene.status("POST", "/tasks/"), 201);
    }
    if let Some((mut scene, _flagged)) = with_flag("+a").await {
        scene.proves(&GROWING_FILE).await;
        scene.stop();
        assert_eq!(scene.status("POST", "/tasks/"), 201);
    }
}

/// A daemon whose file got the flag before it was started.
async fn with_flag(flag: &str) -> Option<(Scene, Flagged)> {
    let mut scene = Scene::sqlite().await;
    let flagged = Flagged::set(scene.file(), flag)?;
    let report = scene.doctor("database.trial");
    report.says("database.trial", "fail", &flag.replace('+', "chattr -"));
    assert_eq!(scene.status("GET", "/tasks/"), 200);
    assert_eq!(scene.status("POST", "/tasks/"), 500);
    Some((scene, flagged))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_nobody_may_change() {
    let scene = Scene::sqlite().await;
    let directory = scene.file().parent().unwrap().to_owned();
    let Some(_flagged) = Flagged::set(directory, "+i") else {
        return;
    };
    is_freed(&scene, "chattr -i data");
}

/// As `docker run -v …:/data:ro`. All that answers names the mount.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_read_only() {
    let scene = Scene::sqlite().await;
    let data = scene.path().join("data");
    let _mounted = Bound::read_only(&data);
    let printed = scene.start_fails().unwrap();
    assert!(printed.contains("mount -o remount,rw"), "{printed}");
    is_freed(&scene, "mount -o remount,rw");
}

/// The remedy of each check has `command`, and corrects both. Nothing can be copied to compare.
fn is_freed(scene: &Scene, command: &str) {
    const CHECKS: [&str; 2] = ["config.data_directory", "database.directory"];
    let before = std::fs::read(scene.file()).unwrap();
    let [_, remedy] = CHECKS.map(|check| {
        let report = scene.doctor(check);
        report.says(check, "fail", command);
        report.check(check)["remedy"].as_str().unwrap().to_owned()
    });
    let typed = scene.type_in(&remedy);
    assert!(typed.status.success(), "{typed:?}");
    assert!(std::fs::read(scene.file()).unwrap() == before, "it changed");
    for check in CHECKS {
        scene.doctor(check).says(check, "pass", "");
    }
    assert_eq!(scene.start_fails(), None);
}

struct Bound(PathBuf);

impl Bound {
    fn read_only(directory: &Path) -> Self {
        let bound = Self(directory.to_owned());
        mount(&["--bind"], &[directory, directory]);
        mount(&["-o", "remount,ro,bind"], &[directory]);
        bound
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(options: &[&str], paths: &[&Path]) {
    let status = Command::new("mount").args(options).args(paths).status();
    assert!(
        status.unwrap().success(),
        "this test mounts a directory and may not"
    );
}
