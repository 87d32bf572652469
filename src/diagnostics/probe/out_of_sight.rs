//! A SQLite file that a running daemon has open on a file system that is not mounted at its place any
//! more, or that another one was mounted over (`proc_pid_fd(5)`, `proc_pid_mountinfo(5)`).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use procfs::process::Process;
use rustix::fs::{major, minor};

use crate::config::{is_database, mount_point};

use super::open_file::{daemons, id, open_files, whole_name};

/// A daemon's database to which no path leads.
#[derive(Debug)]
pub(crate) struct OutOfSight {
    pub(crate) pid: i32,
    /// Where its file system was mounted.
    pub(crate) point: PathBuf,
    pub(crate) why: Why,
}

#[derive(Debug)]
pub(crate) enum Why {
    /// Another file system is mounted there, or above.
    Covered,
    /// It is mounted nowhere; its device, where it has one.
    Unmounted(Option<PathBuf>),
    /// It was a part of a file system that is mounted elsewhere.
    Unbound,
}

/// The database that a daemon had at `path`, where there is none now. A daemon that was not started in
/// this working directory is recognized by `pid`.
pub(crate) fn out_of_sight(path: &Path, pid: Option<i32>) -> Option<OutOfSight> {
    let name = whole_name(path)?;
    let here = id(Path::new("."));
    daemons()
        .filter(|process| !has_own_mounts(process.pid))
        .find_map(|process| {
            let files = open_files(&process);
            let has_target = |(at, to): &&(PathBuf, PathBuf)| *to == name && is_database(at);
            if files.iter().any(|file| has_target(&file)) {
                return Some(OutOfSight {
                    pid: process.pid,
                    point: mount_point(name.parent()?)?,
                    why: Why::Covered,
                });
            }
            let cwd = PathBuf::from(format!("/proc/{}/cwd", process.pid));
            if pid != Some(process.pid) && (here.is_none() || id(&cwd) != here) {
                return None;
            }
            let (point, device) = files
                .iter()
                .find_map(|(at, to)| Some((detached(at, to, &name)?, at.metadata().ok()?.dev())))?;
            Some(OutOfSight {
                pid: process.pid,
                point,
                why: without_mount(device),
            })
        })
}

/// Where the file system of an open file was mounted, if the kernel names the file by its path in a
/// file system that has no place.
fn detached(at: &Path, to: &Path, name: &Path) -> Option<PathBuf> {
    let inside = to.strip_prefix("/").ok()?;
    let is_it = name.ends_with(inside) && id(at) != id(to) && is_database(at);
    let point = name.ancestors().nth(inside.components().count())?;
    is_it.then(|| point.to_owned())
}

fn without_mount(device: u64) -> Why {
    let number = format!("{}:{}", major(device), minor(device));
    let mounts = Process::myself().and_then(|process| process.mountinfo());
    let mut mounts = mounts.into_iter().flatten();
    if mounts.any(|mount| mount.majmin == number) {
        return Why::Unbound;
    }
    let block = fs::read_link(format!("/sys/dev/block/{number}"));
    let block = block.ok().and_then(|link| {
        let file = Path::new("/dev").join(link.file_name()?);
        file.exists().then_some(file)
    });
    Why::Unmounted(block)
}

/// Whether the process has another mount namespace (`mount_namespaces(7)`), as in a container.
pub(crate) fn has_own_mounts(pid: i32) -> bool {
    has_own(pid, "mnt")
}

/// Whether the process has another network namespace (`network_namespaces(7)`).
pub(crate) fn has_own_network(pid: i32) -> bool {
    has_own(pid, "net")
}

/// `false` where this user may not see it.
fn has_own(pid: i32, namespace: &str) -> bool {
    let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}")).ok();
    let theirs = of(&pid.to_string());
    theirs.is_some() && theirs != of("self")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_other_processes() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!has_own_mounts(own));
        let mut other = std::process::Command::new("unshare")
            .args(["--mount", "sh", "-c", "echo; exec sleep 60"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        let read = std::io::Read::read(other.stdout.as_mut().unwrap(), &mut line);
        let found = has_own_mounts(i32::try_from(other.id()).unwrap());
        other.kill().unwrap();
        other.wait().unwrap();
        // Only root may have mounts of its own.
        assert!(found || read.unwrap() == 0);
    }
}
