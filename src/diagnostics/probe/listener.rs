//! The process that listens on a port, and whether it can run (`proc_pid_stat(5)`,
//! `cgroups(7)`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, LimitValue, Process, all_processes};

use super::program::{is_pgbouncer, is_todoctl};

/// A process that waits for its disk for so long waits for longer than an ordinary read takes.
const PAUSE: Duration = Duration::from_millis(200);

/// A process with a listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) pid: i32,
    /// The name of its program.
    pub(crate) name: String,
    pub(crate) state: State,
    /// Where it listens on the port.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Connections that it has not accepted yet.
    pub(crate) waiting: u32,
}

/// Whether a process can run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// By SIGSTOP, or by its terminal.
    Stopped,
    /// By a debugger, of which this is the process id.
    Traced(i32),
    /// With its control group: this text, written to this file, thaws it.
    Frozen(&'static str, PathBuf),
    /// It waits for a disk or a network file system, and takes no signal.
    Waiting,
    /// It has as many files open as this limit allows.
    OutOfFiles(u64),
}

impl Listener {
    pub(crate) fn is_todoctl(&self) -> bool {
        is_todoctl(&self.name)
    }
}

/// The process that listens on `port`; `None` where its files cannot be seen, as those of other
/// users, and it is not the only todoctl or PgBouncer of its user.
pub(crate) async fn listener(port: u16) -> Option<Listener> {
    let sockets = sockets_at(port);
    let process = listening(&sockets)?;
    let state = match state_of(&process) {
        Some(State::Waiting) => {
            tokio::time::sleep(PAUSE).await;
            state_of(&process)
        }
        state => state,
    };
    Some(Listener {
        pid: process.pid,
        name: process.stat().ok()?.comm,
        state: state.unwrap_or(State::Running),
        addresses: sockets.iter().map(|socket| socket.local_address).collect(),
        waiting: sockets.iter().map(|socket| socket.rx_queue).sum(),
    })
}

/// The addresses at which something listens on `port`.
pub(crate) fn listening_at(port: u16) -> Vec<SocketAddr> {
    let sockets = sockets_at(port);
    sockets.iter().map(|socket| socket.local_address).collect()
}

fn sockets_at(port: u16) -> Vec<TcpNetEntry> {
    let sockets = [procfs::net::tcp(), procfs::net::tcp6()];
    let is_at_port = |socket: &TcpNetEntry| {
        socket.state == TcpState::Listen && socket.local_address.port() == port
    };
    let sockets = sockets.into_iter().flatten().flatten();
    sockets.filter(is_at_port).collect()
}

fn listening(sockets: &[TcpNetEntry]) -> Option<Process> {
    let has_socket = |process: &Process| {
        let files = process.fd().into_iter().flatten().flatten();
        files.into_iter().any(|file| {
            matches!(file.target, FDTarget::Socket(inode) if sockets.iter().any(|one| one.inode == inode))
        })
    };
    let mut processes = all_processes().ok()?.flatten();
    processes
        .find(has_socket)
        .or_else(|| only_of_user(sockets.first()?.uid, is_todoctl))
        .or_else(|| only_of_user(sockets.first()?.uid, is_pgbouncer))
}

/// The only such program of a user, whose files this one may not see.
fn only_of_user(user: u32, is_meant: fn(&str) -> bool) -> Option<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let is_daemon = |process: &Process| {
        let is_of_user = process.uid().is_ok_and(|one| one == user);
        let name = process.stat().map(|found| found.comm);
        is_of_user && process.pid != own && name.is_ok_and(|name| is_meant(&name))
    };
    let mut daemons = all_processes().ok()?.flatten().filter(is_daemon);
    let daemon = daemons.next()?;
    daemons.next().is_none().then_some(daemon)
}

/// Whether a process can run; `None` where it has ended.
pub(crate) fn state_of(process: &Process) -> Option<State> {
    let letter = process.stat().ok()?.state;
    let tracer = process.status().map_or(0, |status| status.tracerpid);
    Some(match letter {
        'T' => State::Stopped,
        't' => State::Traced(tracer),
        _ => match frozen(process) {
            Some(frozen) => frozen,
            None if letter == 'D' => State::Waiting,
            None => out_of_files(process).unwrap_or(State::Running),
        },
    })
}

fn out_of_files(process: &Process) -> Option<State> {
    let LimitValue::Value(limit) = process.limits().ok()?.max_open_files.soft_limit else {
        return None;
    };
    let open = u64::try_from(process.fd_count().ok()?).ok()?;
    (open >= limit).then_some(State::OutOfFiles(limit))
}

/// The control group of the process, or one above it, that is frozen.
fn frozen(process: &Process) -> Option<State> {
    let groups = process.cgroups().ok()?;
    let mounts = Process::myself().ok()?.mountinfo().ok()?;
    groups.into_iter().find_map(|group| {
        let has_freezer = group.controllers.iter().any(|name| name == "freezer");
        let is_unified = group.hierarchy == 0;
        let mount = mounts.iter().find(|mount| {
            is_unified && mount.fs_type == "cgroup2"
                || has_freezer
                    && mount.fs_type == "cgroup"
                    && mount.super_options.contains_key("freezer")
        })?;
        let freezer = if is_unified { &UNIFIED } else { &OLD };
        freezer.frozen(&mount.mount_point, Path::new(&group.pathname))
    })
}

/// How a version of control groups freezes.
struct Freezer {
    /// Has `1` where the group itself is frozen.
    told_by: &'static str,
    /// Takes the text that thaws it.
    thawed_by: (&'static str, &'static str),
}

/// Version 2 (`cgroup-v2.rst` of the kernel).
const UNIFIED: Freezer = Freezer {
    told_by: "cgroup.freeze",
    thawed_by: ("0", "cgroup.freeze"),
};

/// Version 1 (`freezer-subsystem.rst` of the kernel).
const OLD: Freezer = Freezer {
    told_by: "freezer.self_freezing",
    thawed_by: ("THAWED", "freezer.state"),
};

impl Freezer {
    fn frozen(&self, mount: &Path, group: &Path) -> Option<State> {
        let group = mount.join(group.strip_prefix("/").ok()?);
        let mut groups = group.ancestors().take_while(|one| one.starts_with(mount));
        let is_frozen = |one: &&Path| {
            std::fs::read_to_string(one.join(self.told_by)).is_ok_and(|text| text.trim() == "1")
        };
        let (text, file) = self.thawed_by;
        groups
            .find(is_frozen)
            .map(|group| State::Frozen(text, group.join(file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn this_process_listens() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has no ::1.
            let Ok(socket) = TcpListener::bind(address).await else {
                continue;
            };
            let port = socket.local_addr().unwrap().port();
            let found = listener(port).await.unwrap();
            assert_eq!(u32::try_from(found.pid).unwrap(), std::process::id());
            assert_eq!(found.state, State::Running);
            drop(socket);
            assert!(listener(port).await.is_none(), "{address}");
        }
    }

    #[test]
    fn frozen_groups() {
        let mount = tempfile::tempdir().unwrap();
        let group = mount.path().join("app/web");
        std::fs::create_dir_all(&group).unwrap();
        for (freezer, text, file) in [
            (UNIFIED, "0", "cgroup.freeze"),
            (OLD, "THAWED", "freezer.state"),
        ] {
            let state = || freezer.frozen(mount.path(), Path::new("/app/web"));
            assert_eq!(state(), None);
            std::fs::write(group.join(freezer.told_by), "0\n").unwrap();
            assert_eq!(state(), None);
            // The group above it.
            std::fs::write(mount.path().join("app").join(freezer.told_by), "1\n").unwrap();
            let expected = State::Frozen(text, mount.path().join("app").join(file));
            assert_eq!(state(), Some(expected));
            std::fs::write(group.join(freezer.told_by), "1\n").unwrap();
            assert_eq!(state(), Some(State::Frozen(text, group.join(file))));
        }
    }
}
