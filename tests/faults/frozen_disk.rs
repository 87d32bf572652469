//! SQLite: a file system for which every process waits that writes to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::faults::harness::Scene;
use crate::faults::scene::said;
use crate::support::not_tried;

const CHECK: &str = "database.connection";

fn run(program: &str, arguments: &[&str], path: &Path) -> Output {
    Command::new(program)
        .args(arguments)
        .arg(path)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// A disk of its own, which can be frozen; thawed and taken away with its value.
struct Disk(PathBuf);

impl Disk {
    /// `None` where no file can be mounted as a disk, as in a container, which is noted.
    fn mount(at: &Path) -> Option<Self> {
        let image = at.with_extension("image");
        std::fs::File::create(&image)
            .unwrap()
            .set_len(24 << 20)
            .unwrap();
        let made = run("mkfs.ext4", &["-q"], &image);
        assert!(made.status.success(), "{}", said(&made));
        std::fs::create_dir_all(at).unwrap();
        let image = image.to_str().unwrap();
        let mounted = run("mount", &["-o", "loop", image], at);
        if !mounted.status.success() {
            not_tried(&format!(
                "a file cannot be mounted as a disk: {}",
                said(&mounted).trim()
            ));
            return None;
        }
        Some(Self(at.to_owned()))
    }

    fn freeze(&self) {
        let frozen = run("fsfreeze", &["-f"], &self.0);
        assert!(frozen.status.success(), "{}", said(&frozen));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("fsfreeze", &["-u"], &self.0);
        run("umount", &["-l"], &self.0);
    }
}

/// Each command ends, although its attempt to write does not, and the next one makes no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_is_frozen_for_a_snapshot() {
    let scene = Scene::new();
    let data = scene.path().join("data");
    let Some(disk) = Disk::mount(&data) else {
        return;
    };
    let migrated = scene.todoctl(&["migrate", "up"]);
    assert!(migrated.status.success(), "{}", said(&migrated));
    scene.doctor(CHECK).says(CHECK, "pass", "");
    disk.freeze();
    let metrics = scene
        .command(&["doctor", "--format", "prometheus"])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let metrics = String::from_utf8(metrics.stdout).unwrap();
    assert!(metrics.contains("database.connection"), "{metrics}");
    let report = scene.check(&["doctor", "--format", "json"]);
    let thaw = format!("fsfreeze -u {}", data.display());
    report.says(CHECK, "fail", &thaw);
    assert_eq!(report.json["summary"]["fail"], 1, "{:#}", report.json);
    let detail = report.detail(CHECK);
    assert!(detail.contains("is frozen, as for a snapshot"), "{detail}");
    let attempts = Command::new("pgrep")
        .args(["-cf", &format!("try-disk .*{}", data.display())])
        .output()
        .unwrap();
    assert_eq!(attempts.stdout.trim_ascii(), b"1");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    let typed = scene.type_in(remedy);
    assert!(typed.status.success(), "{remedy}\n{}", said(&typed));
    scene.doctor(CHECK).says(CHECK, "pass", "");
}
