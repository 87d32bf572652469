//! What orchestrators, unit files and commands of root make of a configuration.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use crate::faults::harness::{Scene, set_mode};
use crate::faults::scene::said;

const USER: u32 = 65_534;

fn remedy_of(scene: &Scene, id: &str) -> String {
    let report = scene.doctor(id);
    report.check(id)["remedy"].as_str().unwrap().to_owned()
}

/// systemd replaces variables and specifiers in its unit files alone.
#[tokio::test]
async fn a_reference_in_the_path_of_a_secret() {
    const CHECK: &str = "config.secrets";
    let scene = Scene::sqlite().await;
    scene.unset("JWT_SECRET");
    for path in [
        "${CREDENTIALS_DIRECTORY}/jwt_secret.txt",
        "$CREDENTIALS_DIRECTORY/jwt_secret.txt",
        "%d/jwt_secret.txt",
    ] {
        // As in the environment, where nothing is replaced, and in the file, where a variable is.
        for quote in ["'", ""] {
            scene.set("JWT_SECRET_FILE", &format!("{quote}{path}{quote}"));
            let report = scene.doctor(CHECK);
            report.says(
                CHECK,
                "fail",
                "put Environment=JWT_SECRET_FILE=%d/jwt_secret.txt beside LoadCredential=",
            );
            let remedy = remedy_of(&scene, CHECK);
            assert!(
                remedy.lines().all(|line| line.starts_with("# ")),
                "{remedy}"
            );
        }
    }
    scene.set("JWT_SECRET_FILE", "'${THE_SECRET_OF_PRODUCTION}'");
    let remedy = remedy_of(&scene, CHECK);
    assert!(remedy.starts_with("# nothing replaces"), "{remedy}");
}

/// As by `cp -r` to a new disk.
#[tokio::test(flavor = "multi_thread")]
async fn data_that_root_has_copied() {
    let mut scene = Scene::sqlite().await;
    for name in [
        "SESSION_HASH_SECRET",
        "SERVICE_AUTH_TOKEN",
        "ENCRYPTION_KEY",
    ] {
        scene.unset(name);
    }
    scene.start();
    scene.end();
    let data = scene.path().join("data");
    let url = scene.get("DATABASE_URL");
    set_mode(&data, 0o755);
    scene.run_by(USER);
    let output = scene.todoctl(&["serve"]);
    assert_eq!(output.status.code(), Some(2));
    let printed = said(&output);
    assert!(printed.contains("chown -R 65534 data"), "{printed}");
    assert!(!printed.contains("config set"), "{printed}");
    // Root sees it by the file that the last daemon has left.
    chown(scene.path().join(".env-database"), Some(USER), None).unwrap();
    scene.run_by(0);
    scene
        .doctor("database.directory")
        .says("database.directory", "warn", "chown -R 65534 data");
    let remedy = remedy_of(&scene, "database.directory");
    chown(scene.path().join(".env"), Some(USER), None).unwrap();
    assert!(scene.type_in(&remedy).status.success());
    for user in [0, USER] {
        scene.run_by(user);
        scene
            .doctor("database.directory")
            .says("database.directory", "pass", "");
    }
    assert_eq!(scene.get("DATABASE_URL"), url);
    let output = scene.todoctl(&["session", "create", "--user", "me"]);
    assert!(output.status.success(), "{}", said(&output));
}

/// Kubernetes sets variables for each service of the namespace.
#[tokio::test]
async fn names_of_others() {
    const CHECK: &str = "config.unknown";
    let scene = Scene::sqlite().await;
    let asked = |exports: &str| {
        let script = format!("{exports}\ntodoctl doctor --only {CHECK} --format json || true");
        let output = scene.type_in(&script);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        report["checks"][0].clone()
    };
    for links in [
        "export AUTH_SERVER_PORT=tcp://10.0.0.2:3000",
        "export AUTH_SERVER_SERVICE_HOST=10.0.0.2 AUTH_SERVER_SERVICE_PORT=3000 AUTH_SERVER_PORT=3000",
        "export REDIS_URI=udp://10.0.0.2:53",
    ] {
        let found = asked(links);
        assert_eq!(found["outcome"], "pass", "{links}: {found}");
    }
    let found = asked("export AUTH_SEVER_URL=ftp://auth.example.com");
    assert_eq!(found["outcome"], "warn");
    let remedy = found["remedy"].as_str().unwrap();
    assert!(
        remedy.starts_with("# AUTH_SERVER_URL would refuse"),
        "{remedy}"
    );
    // What nothing reads in todoctl's own file.
    scene.set("WEB_CONCURRENCY", "4");
    scene.set("POSTGRES_PASSWORD", "x");
    let report = scene.doctor(CHECK);
    report.says(CHECK, "pass", "");
    let detail = report.detail(CHECK);
    assert!(
        detail.ends_with(": POSTGRES_PASSWORD, WEB_CONCURRENCY"),
        "{detail}"
    );
    let old = "0123456789abcdef0123456789abcdeffedc";
    scene.set("PREVIOUS_JWT_SECRET", old);
    scene.set("POOL_SIZE", "7");
    scene.set("DIRECT_URL", "mysql://h/d");
    let remedy = remedy_of(&scene, CHECK);
    assert!(scene.type_in(&remedy).status.success(), "{remedy}");
    assert_eq!(scene.get("JWT_SECRET_PREVIOUS").as_deref(), Some(old));
    assert_eq!(scene.get("SQLALCHEMY_POOL_SIZE").as_deref(), Some("7"));
    assert_eq!(scene.get("DIRECT_URL").as_deref(), Some("mysql://h/d"));
}

/// As `sed -i` by root leaves it.
#[tokio::test(flavor = "multi_thread")]
async fn an_env_file_that_root_has_replaced() {
    const CHECK: &str = "config.env_file";
    let mut scene = Scene::sqlite().await;
    scene.start();
    scene.end();
    let env_file = scene.path().join(".env");
    let record = scene.path().join(".env-database");
    // A unit or a container reads it for the daemon.
    chown(scene.file(), Some(USER), None).unwrap();
    scene.doctor(CHECK).says(CHECK, "pass", "");
    chown(&record, Some(USER), None).unwrap();
    scene.doctor(CHECK).says(CHECK, "warn", "chown 65534 .env");
    let remedy = remedy_of(&scene, CHECK);
    assert!(scene.type_in(&remedy).status.success());
    scene.doctor(CHECK).says(CHECK, "pass", "");
    chown(&env_file, Some(0), Some(0)).unwrap();
    set_mode(&env_file, 0o640);
    chown(&env_file, None, Some(USER)).unwrap();
    scene.doctor(CHECK).says(CHECK, "pass", "");
}

/// Unmounted with its value.
struct Volume(PathBuf);

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// As Kubernetes mounts a secret.
#[tokio::test]
async fn a_secret_on_a_read_only_mount() {
    const CHECK: &str = "config.secret_files";
    let scene = Scene::sqlite().await;
    let directory = scene.path().join("volume");
    let file = directory.join("jwt");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(&file, scene.get("JWT_SECRET").unwrap()).unwrap();
    set_mode(&file, 0o644);
    scene.unset("JWT_SECRET");
    scene.set("JWT_SECRET_FILE", "volume/jwt");
    scene.doctor(CHECK).says(CHECK, "warn", "chmod");
    let mount = |options: &[&str]| {
        let mut mount = Command::new("mount");
        let status = mount.args(options).args([&directory, &directory]).status();
        assert!(
            status.unwrap().success(),
            "this test mounts a directory and may not"
        );
    };
    mount(&["--bind"]);
    let volume = Volume(directory.clone());
    let mut remount = Command::new("mount");
    let status = remount
        .args(["-o", "remount,bind,ro"])
        .arg(&directory)
        .status();
    assert!(status.unwrap().success());
    scene.doctor(CHECK).says(CHECK, "pass", "");
    drop(volume);
}
