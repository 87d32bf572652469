//! Commands beside a daemon that has its configuration from somewhere else: the environment of a unit
//! or a container, mounts of its own, another user.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use crate::faults::harness::{Scene, said, set_mode};
use crate::faults::report::Report;
use crate::support::{may_mount, not_tried};

/// As `docs/deploy/systemd.md` sets it up: secrets in a file that is read before the daemon starts, and
/// the other variables beside it.
const AS_A_UNIT: &str = "set -a; . ./unit/env; PORT=$(sed -n s/^PORT=//p .env)
    ENVIRONMENT=production DATABASE_URL=sqlite://$PWD/lib/todo.db
    mkdir lib; cd lib; exec todoctl serve";

/// No two tests may share a secret, by which a daemon is found.
fn unit() -> Scene {
    let scene = Scene::new();
    for name in [
        "SESSION_HASH_SECRET",
        "SERVICE_AUTH_TOKEN",
        "JWT_SECRET",
        "ENCRYPTION_KEY",
    ] {
        scene.unset(name);
    }
    fs::create_dir(scene.path().join("unit")).unwrap();
    let made = scene.todoctl(&["gen-secrets", "--write", "unit/env"]);
    assert!(made.status.success(), "{}", said(&made));
    scene
}

fn doctor(scene: &Scene, options: &[&str], id: &str) -> Report {
    let all = [options, &["doctor", "--only", id, "--format", "json"]];
    scene.check(&all.concat())
}

/// To the user of the daemon.
fn give(scene: &Scene, entry: &str) {
    let mut command = Command::new("chown");
    let status = command
        .args(["-R", "65534:65534", entry])
        .current_dir(scene.path());
    assert!(status.status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_is_well() {
    let mut scene = unit();
    scene.start_by(AS_A_UNIT);
    let pid = scene.daemon_pid().to_string();
    let with_file = ["--env-file", "unit/env"];
    let report = doctor(&scene, &with_file, "config");
    assert_eq!(report.code, 0, "{:#}", report.json);
    let detail = report.detail("config.env_file");
    assert!(
        detail.contains(&format!("pid {pid}")) && detail.contains("DATABASE_URL"),
        "{detail}"
    );
    doctor(&scene, &with_file, "daemon.configuration").says("daemon.configuration", "pass", "");
    // From anywhere, without its file.
    fs::remove_file(scene.path().join(".env")).unwrap();
    let there = ["--pid", &pid];
    for id in [
        "config.database",
        "daemon.port",
        "daemon.configuration",
        "database.connection",
    ] {
        doctor(&scene, &there, id).says(id, "pass", "");
    }
    let output = scene.todoctl(&["db", "check", "--pid", &pid]);
    assert!(output.status.success(), "{}", said(&output));
    let secret = fs::read_to_string(scene.path().join("unit/env")).unwrap();
    let secret = secret
        .lines()
        .find_map(|line| line.strip_prefix("JWT_SECRET="))
        .unwrap();
    assert!(!said(&output).contains(secret));
    for wrong in [
        &["--pid", "1"][..],
        &["--pid", &pid, "--env-file", "unit/env"],
    ] {
        let output = scene.todoctl(&[wrong, &["doctor"]].concat());
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
}

/// What systemd does not read of the file, and what the file has lost since.
#[tokio::test(flavor = "multi_thread")]
async fn lines_that_the_daemon_has_not_got() {
    let mut scene = unit();
    scene.start_by(AS_A_UNIT);
    let file = scene.path().join("unit/env");
    let text = fs::read_to_string(&file).unwrap();
    let with_file = ["--env-file", "unit/env"];
    fs::write(&file, format!("{text}export RATE_LIMIT_PER_MINUTE=7\n")).unwrap();
    let report = doctor(&scene, &with_file, "config.env_file");
    report.says(
        "config.env_file",
        "warn",
        "sed -i '5s/export  *//' unit/env",
    );
    let remedy = report.check("config.env_file")["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success());
    doctor(&scene, &with_file, "config.env_file").says("config.env_file", "pass", "");
    let left = text
        .lines()
        .filter(|line| !line.starts_with("SERVICE_AUTH_TOKEN"));
    fs::write(&file, left.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    let report = doctor(&scene, &with_file, "config.env_file");
    report.says("config.env_file", "warn", "put them back");
    let detail = report.detail("config.env_file");
    assert!(detail.contains("has SERVICE_AUTH_TOKEN, and"), "{detail}");
}

/// A credential that only the daemon's mounts have, and a daemon with a user of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_among_the_daemons_mounts() {
    if !may_mount() {
        return;
    }
    let mut scene = Scene::sqlite().await;
    let secret = scene.get("JWT_SECRET").unwrap();
    scene.unset("JWT_SECRET");
    let credentials = scene.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    let file = credentials.join("jwt");
    scene.set("JWT_SECRET_FILE", file.to_str().unwrap());
    give(&scene, ".");
    let script = format!(
        "exec unshare --mount sh -ec 'mount -t tmpfs t credentials; echo {secret} > credentials/jwt
         chown 65534 credentials/jwt; chmod 400 credentials/jwt
         exec setpriv --reuid 65534 --regid 65534 --clear-groups todoctl serve'"
    );
    scene.start_by(&script);
    chown(scene.path().join(".env"), Some(65_534), Some(65_534)).unwrap();
    for id in [
        "config.secrets",
        "config.secret_files",
        "daemon.configuration",
    ] {
        scene.doctor(id).says(id, "pass", "");
        let pid = scene.daemon_pid().to_string();
        doctor(&scene, &["--pid", &pid], id).says(id, "pass", "");
    }
    let pid = scene.daemon_pid().to_string();
    let output = scene.todoctl(&["--pid", &pid, "doctor", "--only", "config"]);
    assert!(said(&output).contains("user 65534"), "{}", said(&output));
    // What is gone there too is a fault.
    scene.end();
    scene
        .doctor("config.secrets")
        .says("config.secrets", "fail", "JWT_SECRET");
}

/// As Docker mounts a single file, which an editor then replaces on the host.
#[tokio::test]
async fn a_mounted_file_that_was_replaced_outside() {
    if !may_mount() {
        return;
    }
    let scene = Scene::sqlite().await;
    let jwt = scene.path().join("jwt");
    fs::write(&jwt, scene.get("JWT_SECRET").unwrap()).unwrap();
    set_mode(&jwt, 0o600);
    for file in [".env", "jwt"] {
        scene.unset("JWT_SECRET");
        scene.set("JWT_SECRET_FILE", jwt.to_str().unwrap());
        let script = format!(
            "cp -p {file} outside; unshare --mount sh -ec 'mount --bind outside {file}
             todoctl doctor --only config.env_file >before || true
             cp -p {file} new; mv new outside
             todoctl doctor --only config.env_file >after || true'"
        );
        let output = scene.type_in(&script);
        assert!(output.status.success(), "{}", said(&output));
        let text = |name: &str| fs::read_to_string(scene.path().join(name)).unwrap();
        assert!(
            !text("before").contains("mounted by itself"),
            "{}",
            text("before")
        );
        assert!(
            text("after").contains("mounted by itself"),
            "{}",
            text("after")
        );
        assert!(
            text("after").contains("# create the container again"),
            "{}",
            text("after")
        );
    }
}

/// The daemon may write into its data directory alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_cannot_remember_its_database() {
    if !rustix::process::geteuid().is_root() {
        return not_tried("only root can give a file to another user");
    }
    let mut scene = Scene::sqlite().await;
    give(&scene, "data");
    let memory = scene.path().join(".env-database");
    let _ = fs::remove_file(&memory);
    let serve = "exec setpriv --reuid 65534 --regid 65534 --clear-groups todoctl serve";
    scene.start_by(&format!("chown 65534 .env; {serve}"));
    assert!(!memory.exists());
    let report = scene.doctor("config.env_file");
    report.says(
        "config.env_file",
        "warn",
        "install -o 65534 -m 600 /dev/null",
    );
    let remedy = report.check("config.env_file")["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success());
    scene
        .doctor("config.env_file")
        .says("config.env_file", "pass", "");
    scene.end();
    let mode = fs::metadata(&memory).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(fs::read_to_string(&memory).unwrap().contains("todo.db"));
    // Where it may write the directory, it makes the file by itself.
    fs::remove_file(&memory).unwrap();
    chown(scene.path(), Some(65_534), Some(65_534)).unwrap();
    scene.start_by(serve);
    scene
        .doctor("config.env_file")
        .says("config.env_file", "pass", "");
}
