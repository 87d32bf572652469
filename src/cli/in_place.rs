//! Runs a command in the place of a running daemon: with its environment, working directory, mounts,
//! network and user.
//!
//! A unit of systemd or a container gives a daemon variables, files and addresses that no shell has.
//! This process moves there (`setns(2)`) and becomes the command, or starts it where the daemon has
//! process ids of its own, which only a child gets.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use procfs::process::{Process, Status};
use rustix::fs::{Gid, Mode, OFlags, Uid, open};
use rustix::process::{chroot, fchdir};
use rustix::thread::{
    LinkNameSpaceType, move_into_link_name_space, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::config::{Container, DaemonPlace, Outside, Remedy};
use crate::diagnostics::named_env_file;

use super::hint::Hint;
use super::output;
use super::running::{Daemon, has_other_root, has_own_users};

/// The variable that hands a [`DaemonPlace`] to the command. An older program in a container does not
/// know it, and takes no notice of it.
const PLACE: &str = "TODOCTL_DAEMON_PLACE";

/// Variables that tell how the operator's terminal shows the output.
const OF_TERMINAL: [&str; 5] = [
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
];

/// What a process with the place of a daemon has got to know about it.
pub(super) fn place() -> Option<DaemonPlace> {
    let text = std::env::var(PLACE).ok()?;
    serde_json::from_str(&text).ok()
}

/// Runs the command of `words`, the whole command line, in the place of the daemon. Must be called
/// while this process has one thread. `file` is where the variables of the daemon come from, if that
/// is known.
pub(super) fn run(
    wanted: Daemon,
    words: &[OsString],
    file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let process = wanted.find()?;
    let there = There::of(&process).map_err(|error| cannot(&process, error))?;
    let mut command = there.command(wanted, words, file)?;
    output::note(&format!(
        "as the daemon with pid {}: user {}, in {}",
        process.pid,
        there.status.euid,
        there.directory_name.display()
    ));
    there.enter().map_err(|error| cannot(&process, error))?;
    if there.has_own_pids() {
        let ended = command.status();
        let ended = ended.map_err(|error| cannot(&process, error))?;
        let code = ended.code().and_then(|code| u8::try_from(code).ok());
        return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
    }
    Err(cannot(&process, command.exec()).into())
}

fn cannot(process: &Process, error: impl Into<anyhow::Error>) -> Hint {
    let pid = process.pid;
    let remedy = match Container::of(process).filter(|_| has_other_root(process)) {
        Some(container) => Remedy::command(container.doctor()),
        None if rustix::process::geteuid().is_root() => Remedy::note(format!(
            "run the command where the daemon (pid {pid}) runs, with docker exec or podman exec in its container"
        )),
        None => Remedy::note("run this command as root, or as the daemon's user"),
    };
    let what = format!("cannot take the place of the daemon with pid {pid}");
    Hint::of(error.into(), what, remedy)
}

/// A namespace of the daemon that this process does not have.
struct Namespace {
    kind: LinkNameSpaceType,
    file: OwnedFd,
}

/// The kinds that decide what a command sees, in the order in which they are entered: with the mounts
/// go the right ones of the path names.
const KINDS: [(&str, LinkNameSpaceType); 3] = [
    ("pid", LinkNameSpaceType::ProcessID),
    ("net", LinkNameSpaceType::Network),
    ("mnt", LinkNameSpaceType::Mount),
];

/// Where the daemon is.
struct There {
    pid: i32,
    status: Status,
    environment: Vec<(OsString, OsString)>,
    env_file: Option<String>,
    namespaces: Vec<Namespace>,
    /// Its root directory, where that is another one.
    root: Option<OwnedFd>,
    directory: OwnedFd,
    directory_name: PathBuf,
    /// The program to run.
    program: OwnedFd,
}

impl There {
    fn of(process: &Process) -> anyhow::Result<Self> {
        let own = PathBuf::from(format!("/proc/{}", process.pid));
        let at = |name: &str| own.join(name);
        let kind = |of: &Path, name: &str| std::fs::read_link(of.join("ns").join(name));
        let here = Path::new("/proc/self");
        anyhow::ensure!(
            !has_own_users(process),
            "it has users of its own (user_namespaces(7))"
        );
        let mut namespaces = Vec::new();
        for (name, of_kind) in KINDS {
            if kind(here, name)? != kind(&own, name)? {
                namespaces.push(Namespace {
                    kind: of_kind,
                    file: File::open(at("ns").join(name))?.into(),
                });
            }
        }
        let path = |name: &str| open(at(name), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let has_other_root = has_other_root(process);
        // The libraries there are those of its own program.
        let program = if has_other_root {
            path("exe")?
        } else {
            open(
                "/proc/self/exe",
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
            )?
        };
        Ok(Self {
            pid: process.pid,
            status: process.status()?,
            environment: process.environ()?.into_iter().collect(),
            env_file: named_env_file(process),
            namespaces,
            root: has_other_root.then(|| path("root")).transpose()?,
            directory: path("cwd")?,
            directory_name: std::fs::read_link(at("cwd"))?,
            program,
        })
    }

    fn has_own_pids(&self) -> bool {
        let mut all = self.namespaces.iter();
        all.any(|one| one.kind == LinkNameSpaceType::ProcessID)
    }

    /// The same command there.
    fn command(
        &self,
        wanted: Daemon,
        words: &[OsString],
        file: Option<&Path>,
    ) -> anyhow::Result<Command> {
        let program = format!("/proc/self/fd/{}", self.program.as_raw_fd());
        let mut command = Command::new(program);
        if let Some(name) = words.first() {
            command.arg0(name);
        }
        if let Some(file) = &self.env_file {
            command.arg("--env-file").arg(file);
        }
        command
            .args(without_place(words.get(1..).unwrap_or_default()))
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(PLACE, serde_json::to_string(&self.place(wanted, file)?)?);
        for name in OF_TERMINAL {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        Ok(command)
    }

    fn place(&self, wanted: Daemon, file: Option<&Path>) -> std::io::Result<DaemonPlace> {
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", self.pid));
        let unit = unit_of(&groups.unwrap_or_default());
        let file = file.map(std::path::absolute).transpose()?;
        let process = Process::new(self.pid).ok().filter(|_| self.root.is_some());
        Ok(DaemonPlace {
            process: Some(match wanted {
                Daemon::Pid(pid) => pid.to_string(),
                Daemon::Auto => "auto".to_owned(),
            }),
            file: file.or_else(|| unit.as_deref().and_then(environment_file)),
            unit,
            container: process.as_ref().and_then(Container::of),
            outside: process.as_ref().and_then(Outside::of),
        })
    }

    fn enter(&self) -> rustix::io::Result<()> {
        for one in &self.namespaces {
            move_into_link_name_space(one.file.as_fd(), Some(one.kind))?;
        }
        if let Some(root) = &self.root {
            fchdir(root)?;
            chroot(".")?;
        }
        fchdir(&self.directory)?;
        let Status { euid, egid, .. } = self.status;
        let (user, group) = (Uid::from_raw(euid), Gid::from_raw(egid));
        if user != rustix::process::geteuid() {
            let groups = self.status.groups.iter();
            let groups: Vec<Gid> = groups
                .map(|one| Gid::from_raw(one.cast_unsigned()))
                .collect();
            set_thread_groups(&groups)?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)?;
        }
        Ok(())
    }
}

/// The words of a command line without the options that name the daemon, or its file.
fn without_place(words: &[OsString]) -> Vec<&OsStr> {
    let mut left = Vec::new();
    let mut words = words.iter().map(OsString::as_os_str);
    while let Some(word) = words.next() {
        let is_joined = |option: &[u8]| word.as_encoded_bytes().starts_with(option);
        if word == "--pid" || word == "--env-file" {
            words.next();
        } else if !is_joined(b"--pid=") && !is_joined(b"--env-file=") {
            left.push(word);
        }
    }
    left
}

/// The unit of systemd in the control group of a process, `/proc/PID/cgroup`.
fn unit_of(groups: &str) -> Option<String> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let unit = path.rsplit('/').next()?;
    unit.ends_with(".service").then(|| unit.to_owned())
}

/// The file that gives a unit its variables, if it is the only one.
fn environment_file(unit: &str) -> Option<PathBuf> {
    let output = Command::new("systemctl")
        .args(["show", "--property=EnvironmentFiles", "--value", "--", unit])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    only_file(&String::from_utf8(output.stdout).ok()?)
}

/// From what `systemctl show` prints of `EnvironmentFiles`.
fn only_file(shown: &str) -> Option<PathBuf> {
    let mut files = shown.lines().filter_map(|line| {
        let (path, _) = line.rsplit_once(" (ignore_errors=")?;
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    files.next().filter(|_| files.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_without_the_daemon() {
        let words = |text: &str| -> Vec<OsString> { text.split(' ').map(OsString::from).collect() };
        for (text, expected) in [
            ("doctor --pid 7 --strict", "doctor --strict"),
            ("--pid auto db check", "db check"),
            ("doctor --pid=7", "doctor"),
            ("--env-file=a --env-file b doctor", "doctor"),
        ] {
            assert_eq!(without_place(&words(text)), words(expected), "{text}");
        }
    }

    #[test]
    fn units_and_their_files() {
        for (groups, expected) in [
            (
                "0::/system.slice/todoctl.service\n",
                Some("todoctl.service"),
            ),
            (
                "1:cpu:/x.service\n0::/todo@1.service\n",
                Some("todo@1.service"),
            ),
            ("0::/system.slice/docker-0f1e.scope\n", None),
            ("0::/\n", None),
        ] {
            assert_eq!(unit_of(groups).as_deref(), expected, "{groups}");
        }
        let one = "/etc/todoctl/env (ignore_errors=yes)\n";
        assert_eq!(only_file(one), Some(PathBuf::from("/etc/todoctl/env")));
        for none in ["", "\n", &one.repeat(2)] {
            assert_eq!(only_file(none), None, "{none}");
        }
    }
}
