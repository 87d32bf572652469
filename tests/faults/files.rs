//! SQLite: missing, foreign, full, damaged.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::faults::Broken;

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

pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
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

#[test]
fn not_a_database() {
    let broken = Broken::new().env("DATABASE_URL", "sqlite://todo.txt");
    std::fs::write(
        broken.path().join("todo.txt"),
        "a shopping list\n".repeat(100),
    )
    .unwrap();
    broken.database_says("database.login", "fail", "mv -n todo.txt todo.txt.old");
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
    broken.database_says("database.integrity", "fail", "restore a backup");
}

#[test]
fn a_file_where_the_directory_should_be() {
    let broken = Broken::new();
    std::fs::write(broken.path().join("data"), "").unwrap();
    broken.database_says("database.connection", "fail", "mv -n data data.old");
    broken
        .doctor()
        .says("config.data_directory", "fail", "mv -n data data.old");
}

#[test]
fn a_directory_where_a_file_should_be() {
    let broken = Broken::new();
    std::fs::create_dir_all(broken.path().join("data/todo.db")).unwrap();
    broken.database_says(
        "database.connection",
        "fail",
        "mv -n data/todo.db data/todo.db.old",
    );
}

/// Root's directory, and a process that is not root.
#[test]
fn a_directory_of_another_user() {
    assert!(
        is_root(),
        "this test changes its user, so it has to run as root"
    );
    let broken = migrated();
    let open = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(broken.path(), open(0o755)).unwrap();
    let broken = broken.run_by(65_534);
    broken.database_says("database.directory", "fail", "sudo chown -R 65534 data");
    broken
        .doctor()
        .says("config.data_directory", "fail", "sudo chown -R 65534 data");
    // Not even to be read.
    std::fs::set_permissions(broken.path().join("data/todo.db"), open(0o600)).unwrap();
    broken.database_says("database.connection", "fail", "sudo chown -R 65534 data");
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
            "sudo install -d -o 65534 /etc/todoctl\nDATABASE_URL=sqlite:///etc/todoctl/todo.db",
        ),
        ("sqlite:///todo.db", "sudo install -d -o 65534 /todoctl"),
        (
            "sqlite:///var/lib/todo.db",
            "sudo install -d -o 65534 /var/lib/todoctl",
        ),
        (
            "sqlite:///var/lib/no-such-one/todo.db",
            "sudo install -d -o 65534 /var/lib/no-such-one",
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

#[test]
fn a_file_for_everybody() {
    let broken = migrated();
    let file = broken.path().join("data/todo.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    broken.database_says("database.modes", "warn", "chmod go-rwx data/todo.db*");
}
