//! Files with secrets, whose owners, groups and modes the daemon's user needs.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::faults::harness::{Scene, set_mode};
use crate::support::process::{Process, serve};

/// The daemon's user.
const USER: u32 = 65_534;
/// An operator's.
const OTHER: u32 = 65_533;

/// The service of `USER`, with a secret in a file.
async fn service() -> Scene {
    let scene = Scene::sqlite().await;
    let data = scene.path().join("data");
    let files = [&data, &scene.file(), &data.join("todo.db-migrate.lock")];
    for own in files {
        chown(own, Some(USER), Some(USER)).unwrap();
    }
    std::fs::write(scene.path().join("jwt"), "fedcba9876543210".repeat(4)).unwrap();
    scene.unset("JWT_SECRET");
    scene.set("JWT_SECRET_FILE", "jwt");
    for name in [".env", "jwt"] {
        give(&scene.path().join(name), USER, USER, 0o600);
    }
    scene
}

/// What the daemon has served, which it keeps in a folder of root's.
fn give_memory(scene: &Scene) {
    let memory = scene.path().join(".env-database");
    std::fs::write(&memory, "").unwrap();
    give(&memory, USER, USER, 0o600);
}

fn give(file: &Path, user: u32, group: u32, mode: u32) {
    chown(file, Some(user), Some(group)).unwrap();
    set_mode(file, mode);
}

fn rights(file: &Path) -> (u32, u32, u32) {
    let found = file.metadata().unwrap();
    (found.uid(), found.gid(), found.mode() & 0o777)
}

fn run(scene: &Scene, user: u32, arguments: &[&str]) -> Output {
    let mut command = scene.command(arguments);
    command.uid(user).gid(user).output().unwrap()
}

fn start(scene: &Scene) -> Process {
    let mut daemon = Process::start(serve(scene.path()).uid(USER).gid(USER));
    daemon.base();
    daemon
}

/// Also what `--fix` does to them leaves them to the daemon.
#[tokio::test]
async fn files_of_root_that_the_daemon_reads() {
    let scene = service().await;
    give_memory(&scene);
    for is_running in [true, false] {
        let daemon = is_running.then(|| start(&scene));
        for (name, check) in [(".env", "config.env_file"), ("jwt", "config.secret_files")] {
            let file = scene.path().join(name);
            give(&file, 0, USER, 0o640);
            scene.doctor(check).says(check, "pass", "");
            give(&file, 0, 0, 0o644);
            let typed = if is_running {
                format!("chgrp {USER} {name} && chmod 640 {name}")
            } else {
                format!("chown {USER} {name} && chmod 600 {name}")
            };
            scene.todoctl(&["doctor", "--only", check, "--fix", "--yes"]);
            assert_eq!(rights(&file), (0, 0, 0o644));
            let report = scene.doctor(check);
            report.says(check, "warn", &typed);
            let remedy = report.check(check)["remedy"].as_str().unwrap();
            assert!(scene.type_in(remedy).status.success(), "{remedy}");
            scene.doctor(check).says(check, "pass", "");
            give(&file, 0, USER, 0o644);
            scene.doctor(check).says(check, "warn", "chmod 640 ");
            scene.todoctl(&["doctor", "--only", check, "--fix", "--yes"]);
            assert_eq!(rights(&file), (0, USER, 0o640));
        }
        if let Some(daemon) = daemon {
            daemon.kill();
        }
        // It can read what it was left with.
        start(&scene).kill();
    }
}

/// Root may read it, so its own start would not fail.
#[tokio::test]
async fn a_secret_that_was_taken_from_the_daemon() {
    let scene = service().await;
    chown(scene.path(), Some(USER), Some(USER)).unwrap();
    start(&scene).stop();
    let checks = ["config.secret_files", "daemon.port"];
    let says = |outcome, said: [&str; 2]| {
        for (check, said) in checks.into_iter().zip(said) {
            scene.doctor(check).says(check, outcome, said);
        }
    };
    says("pass", ["", ""]);
    give(&scene.path().join("jwt"), 0, 0, 0o600);
    let output = run(&scene, USER, &["serve"]);
    assert_eq!(output.status.code(), Some(2));
    let chown = format!("chown {USER} jwt");
    says("warn", [&chown, "# because: JWT_SECRET"]);
    let typed = scene.type_in(&chown);
    assert!(typed.status.success());
    start(&scene).stop();
    says("pass", ["", ""]);
}

/// The daemon on a server has no file open that tells its user: it has the `.env` file.
#[tokio::test]
async fn a_daemon_without_a_database_file() {
    let scene = Scene::postgres().await;
    give_memory(&scene);
    let file = scene.path().join(".env");
    give(&file, 0, USER, 0o640);
    let daemon = start(&scene);
    scene
        .doctor("config.env_file")
        .says("config.env_file", "pass", "");
    give(&file, 0, 0, 0o644);
    let typed = format!("chgrp {USER} .env && chmod 640 .env");
    scene
        .doctor("config.env_file")
        .says("config.env_file", "warn", &typed);
    daemon.kill();
}

/// An operator's login is told whose service it is; nothing is taken from it.
#[tokio::test]
async fn files_that_only_the_daemon_may_read() {
    let scene = service().await;
    chown(scene.path(), Some(USER), Some(USER)).unwrap();
    let by_owner = format!("sudo -u '#{USER}' todoctl doctor");
    let by_group = format!("the members of group {USER} may read it");
    for name in [".env", "jwt"] {
        let file = scene.path().join(name);
        for (owner, mode, said) in [(USER, 0o600, &by_owner), (0, 0o640, &by_group)] {
            give(&scene.path().join(".env"), OTHER, USER, 0o640);
            give(&file, owner, USER, mode);
            for command in [&["doctor"][..], &["config", "check"]] {
                let output = run(&scene, OTHER, command);
                let shown = String::from_utf8(output.stdout).unwrap();
                assert!(shown.contains(said.as_str()), "{name}: {shown}");
                assert!(!shown.contains(&format!("chown {OTHER}")), "{shown}");
            }
            give(&file, USER, USER, 0o600);
        }
    }
    // In a folder of one's own, a file of root or of another user is one's own.
    chown(scene.path(), Some(OTHER), Some(OTHER)).unwrap();
    give(&scene.path().join(".env"), USER, USER, 0o600);
    let output = run(&scene, OTHER, &["doctor", "--only", "config.env_file"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(&format!("chown {OTHER} .env")), "{shown}");
}

/// What root writes stays the service's.
#[tokio::test]
async fn changes_by_root() {
    let scene = service().await;
    let (env_file, secret) = (scene.path().join(".env"), scene.path().join("jwt"));
    for (user, mode) in [(USER, 0o600), (0, 0o640), (OTHER, 0o640)] {
        give(&env_file, user, USER, mode);
        give(&secret, user, USER, mode);
        let text = std::fs::read_to_string(&env_file).unwrap();
        let of_windows = text.replace("RATE_LIMIT_PER_MINUTE=600\n", "");
        std::fs::write(&env_file, of_windows.replace('\n', "\r\n")).unwrap();
        for arguments in [
            &["doctor", "--only", "config.env_file", "--fix", "--yes"][..],
            &["config", "set", "RATE_LIMIT_PER_MINUTE=600"],
            &[
                "config",
                "set",
                "JWT_SECRET=0123456789abcdef0123456789abcdef",
            ],
            &[
                "gen-secrets",
                "--only",
                "SERVICE_AUTH_TOKEN",
                "--replace",
                "--write",
                ".env",
            ],
        ] {
            let output = run(&scene, 0, arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{arguments:?}: {said}");
            assert_eq!(rights(&env_file), (user, USER, mode), "{arguments:?}");
            assert_eq!(rights(&secret), (user, USER, mode), "{arguments:?}");
        }
        let text = std::fs::read_to_string(&env_file).unwrap();
        assert!(text.contains("RATE_LIMIT_PER_MINUTE=600\n"));
        assert!(!text.contains('\r'));
    }
    // Another user than root does not write it.
    give(&env_file, USER, USER, 0o644);
    let output = run(&scene, OTHER, &["config", "set", "LOG_LEVEL=info"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("sudo -u '#{USER}'")), "{said}");
}

/// A file that is mounted by itself cannot be replaced.
#[tokio::test]
async fn a_mounted_file() {
    let scene = service().await;
    let place = scene.path().join("mounted");
    std::fs::copy(scene.path().join(".env"), &place).unwrap();
    let is_done = |mut command: Command| command.status().unwrap().success();
    let mut mount = Command::new("mount");
    mount
        .arg("--bind")
        .arg(&place)
        .arg(scene.path().join(".env"));
    assert!(is_done(mount));
    let output = run(&scene, 0, &["config", "set", "LOG_LEVEL=info"]);
    let mut unmount = Command::new("umount");
    unmount.arg(scene.path().join(".env"));
    assert!(is_done(unmount));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("edit it where it is mounted from"), "{said}");
}
