//! Daemons that may start no more threads, or whose log goes nowhere.

use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::faults::harness::Scene;
use crate::faults::scene::said;
use crate::support::process::{Process, free_port, serve};
use crate::support::{blocking_eventually, eventually};

const CHECK: &str = "daemon.process";

/// With everything owned by a user, who runs nothing else.
async fn owned_by(user: u32) -> Scene {
    let scene = Scene::sqlite().await;
    scene.set("PORT", &free_port().to_string());
    let owned = Command::new("chown")
        .args(["-R", &user.to_string()])
        .arg(scene.path())
        .status();
    assert!(owned.unwrap().success());
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_with_no_threads_left() {
    use std::os::unix::process::CommandExt as _;
    const USER: u32 = 61_235;
    let scene = owned_by(USER).await;
    let mut command = serve(scene.path());
    command.env_remove("PORT").uid(USER).gid(USER);
    let mut daemon = Process::start(&mut command);
    daemon.base();
    scene.doctor(CHECK).says(CHECK, "pass", "");
    let pid = daemon.id();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .count();
    // The limit is the user's to lower, and to raise again.
    let by_user = |script: &str| {
        let output = Command::new("sh")
            .args(["-ec", script])
            .uid(USER)
            .gid(USER)
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {}", said(&output));
    };
    by_user(&format!("prlimit --pid {pid} --nproc={}:", threads + 2));
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", &format!("prlimit --pid {pid} --nproc="));
    by_user(report.check(CHECK)["remedy"].as_str().unwrap());
    scene.doctor(CHECK).says(CHECK, "pass", "");
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_threads() {
    const USER: u32 = 61_236;
    let scene = owned_by(USER).await;
    for threads in 1..5 {
        let output = Command::new("prlimit")
            .arg(format!("--nproc={threads}:{threads}"))
            .args(["setpriv", "--clear-groups"])
            .args([format!("--reuid={USER}"), format!("--regid={USER}")])
            .args([env!("CARGO_BIN_EXE_todoctl"), "migrate", "up"])
            .current_dir(scene.path())
            .env_clear()
            .output()
            .unwrap();
        let printed = said(&output);
        if output.status.success() {
            assert!(threads > 1, "{printed}");
            continue;
        }
        assert!(
            printed.contains("TasksMax=512") && !printed.contains("integrity_check"),
            "{threads}: {printed}"
        );
    }
}

/// A daemon that logs to a file, once it listens.
fn logging_to(scene: &Scene, log: &Path) -> std::process::Child {
    let port = free_port();
    scene.set("PORT", &port.to_string());
    let file = File::options().create(true).append(true).open(log).unwrap();
    let daemon = scene
        .command(&["serve"])
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .unwrap();
    blocking_eventually("the daemon listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_deleted() {
    let scene = Scene::sqlite().await;
    let log = scene.path().join("serve.log");
    let mut daemon = logging_to(&scene, &log);
    let well = async || scene.doctor(CHECK).check(CHECK)["outcome"] == "pass";
    eventually("the daemon tells its status", well).await;
    let rotated = scene.path().join("serve.log.1");
    std::fs::rename(&log, &rotated).unwrap();
    scene.doctor(CHECK).says(CHECK, "pass", "");
    std::fs::remove_file(&rotated).unwrap();
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", "copytruncate");
    let detail = report.detail(CHECK);
    assert!(detail.contains("serve.log.1 was deleted"), "{detail}");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_started_with_stderr_closed() {
    let scene = Scene::sqlite().await;
    let port = free_port();
    scene.set("PORT", &port.to_string());
    for (redirection, outcome) in [("2>&-", "warn"), ("2>/dev/null", "pass")] {
        let mut daemon = Command::new("sh")
            .args([
                "-c",
                &format!("exec \"$0\" serve {redirection}"),
                env!("CARGO_BIN_EXE_todoctl"),
            ])
            .current_dir(scene.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the daemon tells its status", async || {
            let report = scene.doctor(CHECK);
            report.check(CHECK)["outcome"] == outcome
        })
        .await;
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
}
