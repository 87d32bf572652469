//! What surrounds a daemon: its environment, its mounts, its limits, what it was started by.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::faults::Broken;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::process::free_port;
use crate::support::{may_mount, not_tried};

faults! {
    QUOTED_ENVIRONMENT = Fault {
        title: "The daemon's environment has quotes around a value, as docker run --env-file keeps them",
        symptom: Symptom::Answer { method: "GET", path: "/tasks/", status: 401 },
        check: "daemon.configuration",
        outcome: "warn",
        after: After::Person("the file that the daemon's environment comes from has to be corrected"),
    };
    SMALL_FILES = Fault::failing(
        "The daemon may write only small files (LimitFSIZE, ulimit -f)",
        Symptom::Risk("changes are answered with 503"),
        "daemon.process",
    );
    LITTLE_MEMORY = Fault {
        title: "The daemon has nearly used the memory of its control group",
        symptom: Symptom::Risk("the kernel kills the daemon"),
        check: "daemon.process",
        outcome: "warn",
        after: After::Person("the limit is set where the daemon is started"),
    };
    LOW_FILE_LIMIT = Fault {
        title: "The daemon may open only few files (LimitNOFILE, ulimit -n)",
        symptom: Symptom::Risk("idle connections are enough that other clients are answered with 503"),
        check: "daemon.process",
        outcome: "warn",
        after: After::Person("the limit is set where the daemon is started"),
    };
    OTHER_MOUNT = Fault {
        title: "The daemon runs in a container, where the path of the database is another file",
        symptom: Symptom::Risk("what is examined and corrected is not what the daemon serves"),
        check: "daemon.database",
        outcome: "fail",
        after: After::Person("the command has to be run where the daemon runs"),
    };
    KILLED = Fault {
        title: "The daemon was killed, and nobody has started it again",
        symptom: Symptom::Risk("connections are refused"),
        check: "daemon.port",
        outcome: "warn",
        after: After::Person("who has started it has to start it again"),
    };
    OTHER_ADDRESS = Fault {
        title: "The daemon's environment has another PORT than the .env file",
        symptom: Symptom::Risk("clients and commands that use PORT of the .env file find nobody"),
        check: "daemon.port",
        outcome: "warn",
        after: After::Person("which of both ports is meant is for a person to say"),
    };
    MOVED_PORT = Fault {
        title: "PORT was changed, and the proxy still sends to the old one",
        symptom: Symptom::Risk("the proxy answers every request with 502"),
        check: "daemon.port",
        outcome: "warn",
        after: After::Person("what is in front has to send to the new port"),
    };
    FAILED_START = Fault {
        title: "The last start of the daemon failed, and no other check finds why",
        symptom: Symptom::Risk("connections are refused"),
        check: "daemon.port",
        outcome: "warn",
        after: After::Person("what the start has printed says what to do"),
    };
    SECRETS_OF_ROOT = Fault::failing(
        "The generated secrets belong to root, and the daemon runs as another user",
        Symptom::Risk("`todoctl serve` ends: its file cannot be read"),
        "database.directory",
    );
}

#[tokio::test]
async fn quotes_in_the_environment() {
    let mut scene = Scene::sqlite().await;
    let token = scene.get("SERVICE_AUTH_TOKEN").unwrap();
    scene.start_by(&format!(
        "export SERVICE_AUTH_TOKEN='\"{token}\"'; exec todoctl serve"
    ));
    scene.proves(&QUOTED_ENVIRONMENT).await;
    let report = scene.doctor("daemon.configuration");
    let detail = report.detail("daemon.configuration");
    assert!(detail.contains("SERVICE_AUTH_TOKEN in quotes"), "{detail}");
    scene.stop();
    // A value that is only another one is named as such.
    scene.start_by("export KEEPALIVE_SECONDS=60; exec todoctl serve");
    let report = scene.doctor("daemon.configuration");
    let detail = report.detail("daemon.configuration");
    assert!(
        detail.contains("its environment sets KEEPALIVE_SECONDS"),
        "{detail}"
    );
    scene.stop();
    scene.set("KEEPALIVE_SECONDS", "60");
    scene.set("DATABASE_URL", "sqlite://data/todo.db");
    scene.start_at_its_port();
    scene.proves_gone(&QUOTED_ENVIRONMENT);
    std::fs::copy(scene.file(), scene.path().join("copy.db")).unwrap();
    // The shell of the operator has other values than the daemon.
    for (name, value, check) in [
        ("KEEPALIVE_SECONDS", "70", "daemon.configuration"),
        ("PORT", "1", "daemon.port"),
        ("DATABASE_URL", "sqlite://copy.db", "daemon.database"),
    ] {
        let only = ["doctor", "--only", check, "--format", "json"];
        let said = scene.command(&only).env(name, value).output().unwrap();
        let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let found = said["checks"].as_array().unwrap();
        let found = found.iter().find(|one| one["id"] == check).unwrap();
        assert!(["warn", "fail"].contains(&found["outcome"].as_str().unwrap()));
        let remedy = found["remedy"].as_str().unwrap();
        assert!(remedy.ends_with(&format!("\nunset {name}")), "{remedy}");
        scene.doctor(check).says(check, "pass", "");
    }
}

#[tokio::test]
async fn a_limit_of_file_sizes() {
    let mut scene = Scene::sqlite().await;
    // In units of 512 bytes.
    let base = scene.start_by("ulimit -Sf 150; exec todoctl serve");
    let create = || Scene::ask(&base, "POST", "/tasks/");
    let refused = (0..60).map(|_| create()).find(|status| *status != 201);
    assert_eq!(refused, Some(503));
    scene.proves(&SMALL_FILES).await;
    assert_eq!(create(), 201);
}

#[tokio::test]
async fn a_limit_of_open_files() {
    let mut scene = Scene::sqlite().await;
    scene.start_by("ulimit -n 256; exec todoctl serve");
    scene.proves(&LOW_FILE_LIMIT).await;
    scene.stop();
    scene.start_at_its_port();
    scene.proves_gone(&LOW_FILE_LIMIT);
}

#[tokio::test]
async fn another_file_at_the_same_path() {
    if !may_mount() {
        return;
    }
    let mut scene = Scene::sqlite().await;
    scene.start_by(
        "cp -r data other; exec unshare --mount sh -ec 'mount --bind other data; exec todoctl serve'",
    );
    scene.proves(&OTHER_MOUNT).await;
    let report = scene.doctor("daemon.database");
    let detail = report.detail("daemon.database");
    assert!(
        detail.contains("container") && !detail.contains("replaced"),
        "{detail}"
    );
    scene.stop();
    scene.start_at_its_port();
    scene.proves_gone(&OTHER_MOUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_killed() {
    for mut scene in [Scene::sqlite().await, Scene::postgres().await] {
        scene.start_at_its_port();
        scene.doctor("daemon.port").says("daemon.port", "pass", "");
        let pid = scene.daemon_pid();
        scene.signal("-KILL");
        scene.stop();
        scene.proves(&KILLED).await;
        let report = scene.doctor("daemon.port");
        let detail = report.detail("daemon.port");
        assert!(detail.contains(&format!("pid {pid}")), "{detail}");
        // It is started again, and asked to stop.
        scene.start();
        scene.proves_gone(&KILLED);
        scene.end();
        scene.proves_gone(&KILLED);
    }
}

/// What monitoring asks for shows nobody that clients find the daemon.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_clients_do_not_know() {
    for mut scene in [Scene::sqlite().await, Scene::postgres().await] {
        let before = scene.start_at_its_port();
        scene.proves_gone(&MOVED_PORT);
        assert_eq!(Scene::ask(&before, "GET", "/tasks/"), 200);
        scene.end();
        let after = scene.start_at_its_port();
        scene.proves(&MOVED_PORT).await;
        let report = scene.doctor("daemon.port");
        let old = before.trim_start_matches("http://");
        assert!(report.detail("daemon.port").contains(old));
        assert_eq!(Scene::ask(&after, "GET", "/health"), 200);
        scene.proves(&MOVED_PORT).await;
        // Another daemon, or what forwards to this one.
        let listener = std::net::TcpListener::bind(old).unwrap();
        scene.proves_gone(&MOVED_PORT);
        drop(listener);
        scene.proves(&MOVED_PORT).await;
        assert_eq!(Scene::ask(&after, "GET", "/tasks/"), 200);
        scene.proves_gone(&MOVED_PORT);
    }
}

#[tokio::test]
async fn a_start_that_failed() {
    for mut scene in [Scene::sqlite().await, Scene::postgres().await] {
        scene.start();
        scene.end();
        scene.proves_gone(&FAILED_START);
        // As a variable of the unit alone, which this command does not have.
        let output = scene
            .command(&["serve"])
            .env("METRICS_ADDR", "canary")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        scene.proves(&FAILED_START).await;
        let report = scene.doctor("daemon.port");
        report.says("daemon.port", "warn", "# because: METRICS_ADDR");
        scene.start();
        scene.end();
        scene.proves_gone(&FAILED_START);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_on_another_port() {
    for mut scene in [Scene::sqlite().await, Scene::postgres().await] {
        let other = free_port();
        scene.start_by(&format!("export PORT={other}; exec todoctl serve"));
        scene.proves(&OTHER_ADDRESS).await;
        let report = scene.doctor("daemon.port");
        let detail = report.detail("daemon.port");
        assert!(
            detail.contains(&format!("listens on 127.0.0.1:{other}")),
            "{detail}"
        );
        scene.set("PORT", &other.to_string());
        scene.proves_gone(&OTHER_ADDRESS);
        scene.end();
    }
}

#[test]
fn a_port_for_root_alone() {
    let least = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if least.is_ok_and(|text| text.trim() == "0") || !rustix::process::geteuid().is_root() {
        return not_tried("every user may listen on every port here, or this user is not root");
    }
    let broken = Broken::new().env("PORT", "81").run_by(65_534);
    std::os::unix::fs::chown(broken.path(), Some(65_534), Some(65_534)).unwrap();
    let output = broken.output(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot listen on"), "{said}");
    let report = broken.doctor();
    report.says("daemon.port", "fail", "PORT=8000");
    let detail = report.detail("daemon.port");
    assert!(detail.contains("user 65534 may not listen"), "{detail}");
}

/// Everything of the service to another user.
fn give_to(scene: &Scene, user: u32) {
    let owner = format!("{user}:{user}");
    let status = Command::new("chown")
        .args(["-R", &owner])
        .arg(scene.path())
        .status();
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn generated_secrets_of_root() {
    if !rustix::process::geteuid().is_root() {
        return not_tried("only root can give a file to another user");
    }
    let mut scene = Scene::sqlite().await;
    scene.unset("SERVICE_AUTH_TOKEN");
    scene.start();
    scene.end();
    let folder = scene.path().join("data/secrets");
    give_to(&scene, 65_534);
    let back = |options: &[&str]| {
        let chown = Command::new("chown").args(options).arg(&folder).status();
        assert!(chown.unwrap().success());
    };
    // As a restore by root leaves it, and one file alone.
    back(&["-R", "0:0"]);
    scene.proves(&SECRETS_OF_ROOT).await;
    back(&["0:0"]);
    scene.proves(&SECRETS_OF_ROOT).await;
    // Where the secrets are set, nothing reads the folder.
    back(&["-R", "0:0"]);
    scene.set("SERVICE_AUTH_TOKEN", &"89abcdef01234567".repeat(4));
    scene.proves_gone(&SECRETS_OF_ROOT);
}

/// A control group with a limit of memory, removed with its value.
struct Group {
    directory: PathBuf,
    limit: &'static str,
}

impl Group {
    /// `None` where this machine lets nobody make one.
    fn make() -> Option<Self> {
        let name = format!("todoctl-memory-{}", std::process::id());
        let kinds = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        kinds.into_iter().find_map(|(mount, limit)| {
            let directory = Path::new(mount).join(&name);
            std::fs::create_dir(&directory).ok()?;
            let group = Self { directory, limit };
            group.directory.join(limit).exists().then_some(group)
        })
    }

    fn write(&self, file: &str, number: u64) {
        std::fs::write(self.directory.join(file), number.to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.directory);
    }
}

#[tokio::test]
async fn a_limit_of_memory() {
    let Some(group) = Group::make() else {
        return not_tried("no control group can be made here");
    };
    let mut scene = Scene::sqlite().await;
    scene.start_at_its_port();
    let pid = scene.daemon_pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let used = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let used = used
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .unwrap()
        * 1024;
    // What it has already is not the group's.
    group.write(group.limit, used);
    group.write("cgroup.procs", pid.into());
    scene.proves(&LITTLE_MEMORY).await;
    group.write(group.limit, used * 10);
    scene.proves_gone(&LITTLE_MEMORY);
    scene.stop();
}

/// Another program of its group takes all the memory; then the daemon is what the kernel ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_in_which_the_kernel_has_killed() {
    let Some(group) = Group::make() else {
        return not_tried("no control group can be made here");
    };
    let mut scene = Scene::sqlite().await;
    group.write(group.limit, 256 << 20);
    let procs = group.directory.join("cgroup.procs");
    let enter = format!("echo $$ > {}", procs.display());
    scene.start_by(&format!("{enter}; exec todoctl serve"));
    scene
        .doctor("daemon.process")
        .says("daemon.process", "pass", "");
    let script = format!("{enter}; python3 -c 'bytes = bytearray(1 << 30)'");
    let take_all = || {
        let taken = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(!taken.status.success());
    };
    take_all();
    scene
        .doctor("daemon.process")
        .says("daemon.process", "warn", "MemoryMax=");
    let preferred = format!("/proc/{}/oom_score_adj", scene.daemon_pid());
    std::fs::write(preferred, "1000").unwrap();
    take_all();
    let report = scene.doctor("daemon.port");
    report.says("daemon.port", "warn", "MemoryMax=");
    let detail = report.detail("daemon.port");
    assert!(detail.contains("killed it for lack of memory"), "{detail}");
    scene.stop();
}
