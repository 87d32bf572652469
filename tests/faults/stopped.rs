//! Daemons that listen and do not answer.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::peers::silent;
use crate::support::process::{Process, free_port, serve};
use crate::support::{eventually, not_tried};

const CHECK: &str = "daemon.port";

const SILENT: Symptom = Symptom::Risk("connections are accepted, and no request is answered");

faults! {
    STOPPED = Fault {
        title: "The daemon is stopped by SIGSTOP",
        symptom: SILENT,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    DEBUGGED = Fault {
        title: "A debugger has stopped the daemon",
        symptom: SILENT,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FROZEN = Fault {
        title: "The daemon's control group is frozen",
        symptom: SILENT,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
    NO_FILES = Fault {
        title: "The daemon has no file descriptor left for a connection",
        symptom: SILENT,
        check: CHECK,
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

#[tokio::test]
async fn a_daemon_that_is_stopped() {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    scene.signal("-STOP");
    scene.proves(&STOPPED).await;
    assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 200);
}

/// Who may not see the files of the daemon's user sees its state.
#[tokio::test]
async fn a_stopped_daemon_of_another_user() {
    use std::os::unix::process::CommandExt as _;
    // Of no other test, so that it is the only todoctl of its user.
    const USER: u32 = 61_234;
    let mut scene = Scene::sqlite().await;
    scene.set("PORT", &free_port().to_string());
    let everything = ["-R", &USER.to_string()];
    let chown = Command::new("chown")
        .args(everything)
        .arg(scene.path())
        .status();
    assert!(chown.unwrap().success());
    let mut command = serve(scene.path());
    command.env_remove("PORT").uid(USER).gid(USER);
    let mut daemon = Process::start(&mut command);
    daemon.base();
    daemon.signal("-STOP");
    scene.run_by(65_534);
    let report = scene.doctor(CHECK);
    let pid = daemon.id();
    report.says(CHECK, "fail", &format!("kill -CONT {pid}"));
    daemon.kill();
}

/// Attaches to all threads of a process, as a debugger does, and says so.
const DEBUGGER: &str = "
import ctypes, os, sys, time
PTRACE_ATTACH = 16
libc = ctypes.CDLL(None, use_errno=True)
for thread in os.listdir('/proc/%s/task' % sys.argv[1]):
    assert libc.ptrace(PTRACE_ATTACH, int(thread), None, None) == 0, ctypes.get_errno()
    os.waitpid(int(thread), 0x40000000)
print('attached', flush=True)
time.sleep(60)
";

/// Ended with its value.
struct Debugger(Child);

impl Debugger {
    fn of(pid: u32) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", DEBUGGER, &pid.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "attached\n");
        Self(child)
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_daemon_in_a_debugger() {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    let debugger = Debugger::of(scene.daemon_pid());
    scene.proves(&DEBUGGED).await;
    assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 200);
    drop(debugger);
}

/// A control group with a freezer, removed with its value.
struct Group {
    directory: PathBuf,
    freeze: (&'static str, &'static str),
}

impl Group {
    /// `None` where this machine lets nobody make one.
    fn make() -> Option<Self> {
        let name = format!("todoctl-test-{}", std::process::id());
        let kinds = [
            ("/sys/fs/cgroup/freezer", ("freezer.state", "FROZEN")),
            ("/sys/fs/cgroup", ("cgroup.freeze", "1")),
            ("/sys/fs/cgroup/unified", ("cgroup.freeze", "1")),
        ];
        kinds.into_iter().find_map(|(mount, freeze)| {
            let directory = Path::new(mount).join(&name);
            std::fs::create_dir(&directory).ok()?;
            let group = Self { directory, freeze };
            group.directory.join(freeze.0).exists().then_some(group)
        })
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.directory.join(file), text).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.directory);
    }
}

#[tokio::test]
async fn a_daemon_that_is_frozen() {
    let Some(group) = Group::make() else {
        return not_tried("no control group can be made here");
    };
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    group.write("cgroup.procs", &scene.daemon_pid().to_string());
    let (file, text) = group.freeze;
    group.write(file, text);
    scene.proves(&FROZEN).await;
    assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 200);
    scene.stop();
}

#[tokio::test]
async fn a_daemon_without_files() {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    let pid = scene.daemon_pid();
    let lowered = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), "--nofile=3:"])
        .status()
        .unwrap();
    assert!(lowered.success());
    scene.proves(&NO_FILES).await;
    assert_eq!(Scene::ask(&base, "GET", "/tasks/"), 200);
}

/// As when the ssh session is closed that it was started in. The remedy starts it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ended_with_its_terminal() {
    let mut scene = Scene::sqlite().await;
    let base = scene.start_at_its_port();
    scene.signal("-HUP");
    eventually("it ends", async || {
        let report = scene.doctor(CHECK);
        report.check(CHECK)["outcome"] == "warn"
    })
    .await;
    let report = scene.doctor(CHECK);
    report.says(CHECK, "warn", "nohup todoctl serve");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    eventually("it is started", async || {
        scene.doctor(CHECK).check(CHECK)["outcome"] == "pass"
    })
    .await;
    assert_eq!(Scene::ask(&base, "GET", "/tasks/1"), 200);
    let record = scene.path().join("data/todo.db-daemon");
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    let ended = Command::new("kill").arg(record["pid"].to_string()).status();
    assert!(ended.unwrap().success());
}

/// Another program that does not answer is no stopped daemon, and is named.
#[tokio::test]
async fn another_program_is_named() {
    let scene = Scene::sqlite().await;
    scene.set("PORT", &silent().port().to_string());
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "PORT=");
    let detail = report.detail(CHECK);
    let pid = format!("pid {})", std::process::id());
    assert!(
        detail.contains("another program (") && detail.contains(&pid),
        "{detail}"
    );
}
