//! A daemon in a container: it has files, process ids and a network of its own, and its image need not
//! have a shell. What an operator types is typed outside.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::faults::harness::{Scene, said, set_mode};
use crate::faults::report::Report;
use crate::support::not_tried;

/// The id of the container, as its engine has it in the path of a file that it mounts there.
const ID: &str = "0b1ff9f64d8903168f686616f14e2f90810146562df253f8e730ec6b0cf361d4";

/// As `docker run --env-file .env -v ./data:/data`, without an engine.
const AS_A_CONTAINER: &str = "set -a; . ./.env; set +a
    mkdir -p root docker/containers/$ID data; echo box > docker/containers/$ID/hostname
    PROGRAM=$(readlink -f \"$(command -v todoctl)\") HERE=$PWD; export PROGRAM HERE
    exec unshare -m -p -n -f --kill-child sh -ec '
        mount -t tmpfs t root; cd root; mkdir app data etc proc tmp dev
        touch app/todoctl etc/hostname
        for one in usr bin lib lib64 dev; do
            mkdir -p $one; [ ! -e /$one ] || mount --rbind /$one $one
        done
        cp /etc/passwd /etc/hosts etc; mount --bind $PROGRAM app/todoctl
        mount --bind $HERE/docker/containers/$ID/hostname etc/hostname
        mount --bind $HERE/data data; mount -t proc p proc; ip link set lo up
        unset HERE PROGRAM; exec chroot . /app/todoctl serve'";

/// `docker`, for the one container.
const ENGINE: &str = "#!/bin/sh -e
    set -a; . \"${0%/*}/../.env\"; set +a
    PATH=/app:/usr/bin:/bin; export PATH
    command=$1; shift
    if [ $command = kill ]; then exec kill -$2 PID; fi
    while :; do
        case $1 in -u) shift 2 ;; -*) shift ;; *) break ;; esac
    done
    shift; exec nsenter -t PID -m -p -n -r -w \"$@\"\n";

struct Container {
    scene: Scene,
    /// Of the daemon, outside of its container.
    pid: String,
}

/// `None` where this user may not have one, which is noted.
async fn container() -> Option<Container> {
    let mut may = Command::new("unshare");
    let status = may.args(["-m", "-p", "-n", "-f", "ip", "link", "set", "lo", "up"]);
    if !status.status().is_ok_and(|status| status.success()) {
        not_tried("this user may not have processes and a network of its own");
        return None;
    }
    let mut scene = Scene::sqlite().await;
    // No two tests may share a secret, by which a daemon is found.
    for name in [
        "SESSION_HASH_SECRET",
        "SERVICE_AUTH_TOKEN",
        "JWT_SECRET",
        "ENCRYPTION_KEY",
    ] {
        scene.unset(name);
    }
    let made = scene.todoctl(&["gen-secrets", "--write", ".env"]);
    assert!(made.status.success(), "{}", said(&made));
    scene.unset("SERVICE_AUTH_TOKEN");
    scene.set("DATABASE_URL", "sqlite:///data/todo.db");
    scene.start_by(&format!("ID={ID}; export ID; {AS_A_CONTAINER}"));
    let parent = scene.daemon_pid();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let pid = children.trim().to_owned();
    let engine = scene.path().join("engine");
    fs::create_dir(&engine).unwrap();
    fs::write(engine.join("docker"), ENGINE.replace("PID", &pid)).unwrap();
    set_mode(&engine.join("docker"), 0o755);
    Some(Container { scene, pid })
}

impl Container {
    fn doctor(&self, options: &[&str], id: &str) -> Report {
        let all = [options, &["doctor", "--only", id, "--format", "json"]];
        self.scene.check(&all.concat())
    }

    /// The same by `docker exec`: what the check says.
    fn inside(&self, id: &str) -> Value {
        let doctor = format!("docker exec {ID} todoctl doctor --only {id} --format json || true");
        let output = self.typed(&doctor);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|one| one["id"] == id).unwrap().clone()
    }

    fn typed(&self, lines: &str) -> std::process::Output {
        let output = self
            .scene
            .type_in(&format!("PATH=$PWD/engine:$PATH\n{lines}"));
        assert!(output.status.success(), "{lines}\n{}", said(&output));
        output
    }

    fn open_secret(&self) -> std::path::PathBuf {
        let secret = self.scene.path().join("data/secrets/SERVICE_AUTH_TOKEN");
        set_mode(&secret, 0o644);
        secret
    }
}

fn remedy(found: &Value) -> &str {
    found["remedy"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn remedies_are_typed_on_the_host() {
    const FILES: &str = "config.secret_files";
    let Some(container) = container().await else {
        return;
    };
    let there = ["--pid", &container.pid];
    let secret = container.open_secret();
    let report = container.doctor(&there, FILES);
    report.says(FILES, "warn", &format!("chmod 600 {}", secret.display()));
    container.typed(remedy(report.check(FILES)));
    assert_eq!(
        secret.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    container.doctor(&there, FILES).says(FILES, "pass", "");
    // In the container its number is 1.
    let stop = format!("kill -STOP {}", container.pid);
    container.typed(&stop);
    let report = container.doctor(&there, "daemon.port");
    report.says(
        "daemon.port",
        "fail",
        &format!("kill -CONT {}", container.pid),
    );
    container.typed(remedy(report.check("daemon.port")));
    container
        .doctor(&there, "daemon.port")
        .says("daemon.port", "pass", "");
}

/// Its addresses and paths mean something else on the host.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_that_a_container_has_got_its_variables_from() {
    let Some(mut container) = container().await else {
        return;
    };
    for id in ["daemon.port", "daemon.configuration", "database.connection"] {
        container.doctor(&[], id).says(id, "pass", "");
        container
            .doctor(&["--env-file", ".env"], id)
            .says(id, "pass", "");
    }
    container
        .scene
        .set("JWT_SECRET", &"0123456789abcdef".repeat(4));
    let output = container.scene.todoctl(&["doctor", "--only", "config"]);
    let text = said(&output);
    assert!(
        text.contains(&format!("as the daemon with pid {}", container.pid)),
        "{text}"
    );
    assert!(text.contains("other values of JWT_SECRET than"), "{text}");
    // `unshare` takes no SIGTERM.
    container.scene.stop();
    let output = container.scene.todoctl(&["doctor", "--only", "config"]);
    assert!(!said(&output).contains("as the daemon with pid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn remedies_of_a_command_that_the_engine_has_started() {
    const FILES: &str = "config.secret_files";
    let Some(container) = container().await else {
        return;
    };
    let secret = container.open_secret();
    let found = container.inside(FILES);
    assert_eq!(found["outcome"], "warn", "{found}");
    let id = &ID[..12];
    let expected = format!("docker exec {id} sh -c 'chmod 600 ");
    assert!(remedy(&found).starts_with(&expected), "{found}");
    container.typed(remedy(&found));
    assert_eq!(
        secret.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(container.inside(FILES)["outcome"], "pass");
    container.typed(&format!("kill -STOP {}", container.pid));
    let found = container.inside("daemon.port");
    assert_eq!(remedy(&found), format!("docker kill --signal CONT {id}"));
    container.typed(remedy(&found));
    assert_eq!(container.inside("daemon.port")["outcome"], "pass");
}
