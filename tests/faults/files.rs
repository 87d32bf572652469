//! SQLite: missing, foreign, full, damaged.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::faults::Broken;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults, said, set_mode};

faults! {
    NOT_A_DATABASE = Fault {
        title: "The database file is something else",
        symptom: Symptom::Start("not a SQLite database"),
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FILE_AS_DIRECTORY = Fault {
        title: "A file is where the data directory should be",
        symptom: Symptom::Start("File exists"),
        check: "config.data_directory",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DIRECTORY_AS_FILE = Fault {
        title: "A directory is where the database file should be",
        symptom: Symptom::Start("unable to open database file"),
        check: "database.connection",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FOREIGN_DIRECTORY = Fault {
        title: "The data directory belongs to another user",
        symptom: Symptom::Risk("`todoctl serve` cannot write the database"),
        check: "database.directory",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FILE_OF_ROOT = Fault {
        title: "A file beside the database belongs to root, and the daemon runs as another user",
        symptom: Symptom::Risk("`todoctl serve` does not start"),
        check: "database.directory",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OPEN_FILE = Fault {
        title: "Other users may read the database file",
        symptom: Symptom::Risk("every user of the machine may read all tasks"),
        check: "database.modes",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    OPEN_DIRECTORY = Fault {
        title: "Other users may replace the database file",
        symptom: Symptom::Risk("every user of the machine may put another file in its place"),
        check: "database.modes",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    PENDING = Fault {
        title: "The database is not migrated",
        symptom: Symptom::Answer { method: "GET", path: "/health/ready", status: 503 },
        check: "database.migrations",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

#[tokio::test]
async fn pending_migrations() {
    let mut scene = Scene::sqlite().await;
    let output = scene.todoctl(&["migrate", "down", "--yes"]);
    assert!(output.status.success());
    scene.set("AUTO_MIGRATE", "false");
    scene.proves(&PENDING).await;
}

/// With a database that was migrated.
pub fn migrated() -> Broken {
    let broken = Broken::new();
    let output = broken.output(&["migrate", "up"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    broken
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_healthy_file_is_left_as_it_is() {
    let broken = migrated();
    let data = broken.path().join("data");
    let before = names(&data);
    let report = broken.db_check();
    assert_eq!(report.code, 0, "{:#}", report.json);
    assert_eq!(report.json["summary"]["skip"], 0, "{:#}", report.json);
    assert_eq!(broken.doctor().code, 0);
    assert_eq!(broken.output(&["config", "check"]).status.code(), Some(0));
    assert_eq!(names(&data), before, "something was made");
}

#[test]
fn no_file_yet() {
    let broken = Broken::new();
    broken
        .db_check()
        .says("database.connection", "fail", "todoctl migrate up");
    // The daemon creates it, so before the first start nothing is wrong.
    let report = broken.doctor();
    report.says("database.connection", "skip", "");
    assert_eq!(report.code, 0, "{:#}", report.json);
    let detail = report.detail("database.connection");
    assert!(
        detail.contains("todoctl serve creates it, and 3 secrets in data/secrets"),
        "{detail}"
    );
    // A daemon that does not migrate does not create it.
    let manual = Broken::new().env("AUTO_MIGRATE", "false");
    let report = manual.doctor();
    report.says("database.connection", "fail", "todoctl migrate up");
    assert_eq!(names(broken.path()).len(), 0, "something was created");
}

#[tokio::test]
async fn not_a_database() {
    let mut scene = Scene::new();
    std::fs::create_dir(scene.path().join("data")).unwrap();
    std::fs::write(scene.file(), "a shopping list\n".repeat(100)).unwrap();
    set_mode(&scene.file(), 0o600);
    scene.proves(&NOT_A_DATABASE).await;
}

#[test]
fn a_damaged_file() {
    let broken = migrated();
    let file = broken.path().join("data/todo.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // Behind the header and the schema's first page.
    let end = bytes.len().min(40_960);
    bytes[8192..end].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    broken.database_says("database.integrity", "fail", ".dump");
}

/// As a copy that was interrupted.
#[test]
fn a_file_without_its_end() {
    let broken = migrated();
    let path = broken.path().join("data/todo.db");
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    file.set_len(4096 * 9 + 5).unwrap();
    let missing = format!("has 9 of {pages} pages");
    broken.database_says("database.login", "fail", &missing);
}

#[tokio::test]
async fn a_file_where_the_directory_should_be() {
    let mut scene = Scene::new();
    std::fs::write(scene.path().join("data"), "").unwrap();
    scene.proves(&FILE_AS_DIRECTORY).await;
}

#[tokio::test]
async fn a_directory_where_a_file_should_be() {
    let mut scene = Scene::new();
    std::fs::create_dir_all(scene.file()).unwrap();
    scene.proves(&DIRECTORY_AS_FILE).await;
}

/// Root's directory, and a process that is not root.
#[tokio::test]
async fn a_directory_of_another_user() {
    assert!(
        is_root(),
        "this test changes its user, so it has to run as root"
    );
    let mut scene = Scene::sqlite().await;
    set_mode(&scene.path().join("data"), 0o755);
    set_mode(&scene.file(), 0o644);
    scene.run_by(65_534);
    scene.proves(&FOREIGN_DIRECTORY).await;
}

/// What a restore by root leaves behind.
#[tokio::test]
async fn a_file_of_root() {
    let mut scene = Scene::sqlite().await;
    for own in [scene.path().join("data"), scene.file()] {
        chown(own, Some(65_534), Some(65_534)).unwrap();
    }
    scene.run_by(65_534);
    scene.proves(&FILE_OF_ROOT).await;
    // The same of SQLite's own files, seen by root too.
    let log = scene.file().with_extension("db-wal");
    std::fs::write(&log, "").unwrap();
    set_mode(&log, 0o600);
    for user in [65_534, 0] {
        scene.run_by(user);
        let report = scene.doctor(FILE_OF_ROOT.check);
        report.says(FILE_OF_ROOT.check, "fail", "chown 65534 data/todo.db-wal");
    }
    // All of them: a restore by root into the directory of the daemon's user.
    chown(scene.file(), Some(0), Some(0)).unwrap();
    scene.run_by(65_534);
    let report = scene.doctor("database.connection");
    let all = "chown 65534 data/todo.db data/todo.db-wal";
    report.says("database.connection", "fail", all);
    let remedy = report.check("database.connection")["remedy"]
        .as_str()
        .unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    for check in ["database.connection", FILE_OF_ROOT.check] {
        scene.doctor(check).says(check, "pass", "");
    }
}

/// After a crash the newest changes are in the log alone. What cannot be read is not judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_changes_that_only_root_may_read() {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    assert_eq!(Scene::ask(&base, "POST", "/tasks/"), 201);
    scene.signal("-KILL");
    scene.stop();
    let log = scene.file().with_extension("db-wal");
    assert!(log.metadata().unwrap().len() > 0);
    for own in [scene.path().join("data"), scene.file()] {
        chown(own, Some(65_534), Some(65_534)).unwrap();
    }
    set_mode(&log, 0o600);
    scene.run_by(65_534);
    let report = scene.check(&["doctor", "--only", "database", "--format", "json"]);
    report.says(FILE_OF_ROOT.check, "fail", "chown 65534 data/todo.db-wal");
    let migrated = scene.todoctl(&["migrate", "up"]);
    assert_eq!(migrated.status.code(), Some(2), "{}", said(&migrated));
    for text in [report.json.to_string(), said(&migrated)] {
        assert!(!text.contains("another state"), "{text}");
    }
    let remedy = report.check(FILE_OF_ROOT.check)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene
        .doctor(FILE_OF_ROOT.check)
        .says(FILE_OF_ROOT.check, "pass", "");
    assert_eq!(scene.status("GET", "/tasks/2"), 200);
}

/// A command of root's leaves nothing that the daemon's user may not open.
#[tokio::test]
async fn a_migration_by_root() {
    let scene = Scene::new();
    let data = scene.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(scene.file(), "").unwrap();
    set_mode(&scene.file(), 0o600);
    for own in [&data, &scene.file()] {
        chown(own, Some(65_534), Some(65_534)).unwrap();
    }
    assert!(scene.todoctl(&["migrate", "up"]).status.success());
    for file in std::fs::read_dir(&data).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().uid(), 65_534, "{file:?}");
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}

/// What is typed as root changes hands for good: never a directory of the system.
#[test]
fn a_directory_of_the_system() {
    for (url, remedy) in [
        (
            "sqlite:///etc/todo.db",
            "install -d -m 700 -o 65534 /etc/todoctl\nexport DATABASE_URL=sqlite:///etc/todoctl/todo.db",
        ),
        ("sqlite:///todo.db", "install -d -m 700 -o 65534 /todoctl"),
        (
            "sqlite:///var/lib/todo.db",
            "install -d -m 700 -o 65534 /var/lib/todoctl",
        ),
        (
            "sqlite:///var/lib/no-such-one/todo.db",
            "install -d -m 700 -o 65534 /var/lib/no-such-one",
        ),
    ] {
        let broken = Broken::new().env("DATABASE_URL", url).run_by(65_534);
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(broken.path(), open).unwrap();
        broken.database_says("database.directory", "fail", remedy);
        broken
            .doctor()
            .says("config.data_directory", "fail", remedy);
    }
}

/// A typing mistake in the folder's name: a new one would have an empty database.
#[test]
fn a_folder_beside_that_of_the_database() {
    let broken = Broken::new().run_by(65_534);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(broken.path(), open).unwrap();
    let place = broken.path().display().to_string();
    let broken = broken.env("DATABASE_URL", &format!("sqlite://{place}/dta/todo.db"));
    broken.database_says("database.directory", "fail", "if the service had tasks");
    let data = broken.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("todo.db"), "SQLite format 3\0".repeat(10)).unwrap();
    let meant = format!("# {place}/data/todo.db is a database");
    broken.database_says("database.directory", "fail", &meant);
    let created =
        format!("# only for a new service, as root: install -d -m 700 -o 65534 {place}/dta");
    broken.database_says("database.directory", "fail", &created);
}

/// A small disk in memory, taken away with its value.
pub struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    pub fn mount(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at)
            .output()
            .expect("mount(8)");
        assert!(
            output.status.success(),
            "this test mounts a small disk and may not: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self(at.to_owned())
    }
}

impl SmallDisk {
    pub fn make_read_only(&self) {
        let mut command = Command::new("mount");
        command.args(["-o", "remount,ro"]).arg(&self.0);
        assert!(command.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk() {
    let broken = Broken::new();
    let disk = SmallDisk::mount(&broken.path().join("data"));
    assert!(broken.output(&["migrate", "up"]).status.success());
    let _ = std::fs::write(disk.0.join("filler"), vec![1; 2 * 1024 * 1024]);
    broken.database_says("database.disk", "fail", "free some space");
    // A tmpfs is reported as well.
    broken.database_says("database.file_system", "warn", "DATABASE_URL=");
}

#[tokio::test]
async fn a_file_for_everybody() {
    let mut scene = Scene::sqlite().await;
    set_mode(&scene.file(), 0o666);
    scene.proves(&OPEN_FILE).await;
}

#[tokio::test]
async fn a_directory_for_everybody() {
    let mut scene = Scene::sqlite().await;
    set_mode(&scene.path().join("data"), 0o777);
    scene.proves(&OPEN_DIRECTORY).await;
}
