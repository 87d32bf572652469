//! A daemon serves a SQLite file to which its configuration does not lead any more, and no other is
//! there: a restart would begin an empty one.

use std::path::Path;
use std::process::Command;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::locked_files::Mounted;

faults! {
    UNMOUNTED = Fault {
        title: "SQLite: the disk of the file was unmounted while the daemon runs",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 503 },
        check: "database.connection",
        outcome: "fail",
        after: After::Person("the disk has to be mounted again"),
    };
    COVERED = Fault::failing(
        "SQLite: another disk was mounted over the one of the file while the daemon runs",
        Symptom::Answer { method: "POST", path: "/tasks/", status: 503 },
        "database.connection",
    );
}

fn mount(arguments: &[&str], point: &Path) {
    let status = Command::new("mount").args(arguments).arg(point).status();
    assert!(status.unwrap().success(), "this test mounts and may not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_unmounted_or_covered() {
    let mut scene = Scene::sqlite().await;
    let data = scene.path().join("data");
    let disk = scene.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let disk_mounted = Mounted::below(&scene, "size=600m,mode=700");
    // The same disk at another place, so that it can be mounted again.
    mount(&["--bind", data.to_str().unwrap()], &disk);
    scene.start_at_its_port();
    mount(&["-t", "tmpfs", "tmpfs"], &data);
    scene.proves(&COVERED).await;

    let unmounted = Command::new("umount").arg("-l").arg(&data).status();
    assert!(unmounted.unwrap().success());
    scene.proves(&UNMOUNTED).await;
    mount(&["--bind", disk.to_str().unwrap()], &data);
    scene.proves_gone(&UNMOUNTED);
    let unmounted = Command::new("umount").arg("-l").arg(&disk).status();
    assert!(unmounted.unwrap().success());
    scene.stop();
    drop(disk_mounted);
}

/// As after `ln -sfn releases/2 current`, and in a directory without configuration.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_without_the_data() {
    const CHECK: &str = "daemon.database";
    let mut scene = Scene::sqlite().await;
    let other = Scene::new();
    scene.start_at_its_port();
    other.set("PORT", &scene.get("PORT").unwrap());
    let report = other.doctor(CHECK);
    report.says(CHECK, "fail", "DATABASE_URL=sqlite:///");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(other.type_in(remedy).status.success(), "{remedy}");
    let report = other.doctor(CHECK);
    report.says(CHECK, "pass", "");
    // Where a file is to be made, and no daemon runs, nothing is said.
    scene.stop();
    other.unset("DATABASE_URL");
    let report = other.doctor(CHECK);
    assert_eq!(report.check(CHECK)["outcome"], "skip");
}
