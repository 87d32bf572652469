//! SQLite: what the file is on is not there, as after a restart of the machine. Nothing makes an empty
//! database in its place.

use std::fs;
use std::os::unix::fs::symlink;

use crate::faults::harness::Scene;
use crate::faults::scene::said;
use crate::support::may_mount;

const CHECK: &str = "database.connection";

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_a_link_to_nothing() {
    let scene = Scene::sqlite().await;
    let [data, volume] = ["data", "volume"].map(|name| scene.path().join(name));
    fs::rename(&data, scene.path().join("away")).unwrap();
    symlink("volume/data", &data).unwrap();
    let text = "data is a link to volume/data, which does not exist";
    let printed = scene.start_fails().expect("it starts");
    assert!(printed.contains(text), "{printed}");
    assert!(!printed.contains("install -d"), "{printed}");
    for check in [CHECK, "config.data_directory"] {
        let report = scene.doctor(check);
        report.says(check, "fail", "mount or restore volume/data");
        let detail = report.detail(check);
        assert!(detail.contains(text), "{detail}");
    }
    fs::create_dir(&volume).unwrap();
    fs::rename(scene.path().join("away"), volume.join("data")).unwrap();
    scene.doctor(CHECK).says(CHECK, "pass", "");
}

/// No table of the system names the volume, but the service has had tasks.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_service_has_served() {
    let mut scene = Scene::sqlite().await;
    scene.set("DATABASE_URL", "sqlite://data/todo.db");
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.end();
    let [data, away] = ["data", "volume"].map(|name| scene.path().join(name));
    fs::rename(&data, &away).unwrap();
    fs::create_dir(&data).unwrap();
    let text = "this service has served it; it had 2 tasks";
    let warned = |outcome| {
        let report = scene.doctor(CHECK);
        report.says(CHECK, outcome, "mount it");
        let detail = report.detail(CHECK);
        assert!(detail.contains(text), "{detail}");
        let remedy = report.check(CHECK)["remedy"].as_str().unwrap().to_owned();
        assert!(!remedy.contains("migrate up"), "{remedy}");
        remedy
    };
    warned("warn");
    scene.set("ENVIRONMENT", "production");
    let remedy = warned("fail");
    let printed = scene.start_fails().expect("it starts");
    assert!(printed.contains(text), "{printed}");
    let migrated = said(&scene.todoctl(&["migrate", "up"]));
    assert!(migrated.contains(text), "{migrated}");
    assert!(scene.type_in(&remedy).status.success(), "{remedy}");
    assert!(data.read_dir().unwrap().next().is_none());
    let (_, anew) = remedy.rsplit_once("empty database: ").unwrap();
    assert!(scene.type_in(anew).status.success(), "{anew}");
    let skipped = scene.doctor(CHECK);
    assert_eq!(skipped.check(CHECK)["outcome"], "skip");
    fs::remove_dir(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    scene.doctor(CHECK).says(CHECK, "pass", "");
    assert_eq!(scene.status("GET", "/tasks/2"), 200);
}

/// Before and after an empty database was made beneath the missing mount.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_only_the_table_has() {
    if !may_mount() {
        return;
    }
    let scene = Scene::sqlite().await;
    let data = scene.path().join("data");
    let line = format!("tmpfs {} tmpfs nofail 0 0\n", data.display());
    fs::write(scene.path().join("fstab"), line).unwrap();
    let run = |rest: &str| {
        let script =
            format!("unshare -m sh -ec 'mount --bind fstab /etc/fstab; {rest}' 2>&1 || true");
        said(&scene.type_in(&script))
    };
    let missing = "is a mount point in /etc/fstab, and nothing is mounted there";
    let beneath = run("todoctl doctor --only database.file_system");
    assert!(beneath.contains(missing), "{beneath}");
    assert!(beneath.contains("hidden beneath"), "{beneath}");
    fs::rename(&data, scene.path().join("away")).unwrap();
    fs::create_dir(&data).unwrap();
    let mount = format!("mount {}", data.display());
    let doctor = format!("doctor --only {CHECK}");
    for command in [doctor.as_str(), "migrate up", "serve"] {
        let printed = run(&format!("todoctl {command}"));
        assert!(printed.contains(missing), "{command}: {printed}");
        assert!(printed.contains(&mount), "{command}: {printed}");
    }
    assert!(data.read_dir().unwrap().next().is_none());
    // Mounted, nothing is said of it.
    let mounted = run(&format!("mount {}; todoctl {doctor}", data.display()));
    assert!(!mounted.contains(missing), "{mounted}");
}
