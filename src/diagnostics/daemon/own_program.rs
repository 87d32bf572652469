//! The file that a running daemon was started from (`proc_pid_exe(5)`).

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use procfs::process::Process;

use crate::config::{Remedy, as_owner};
use crate::diagnostics::verdict::Verdict;

use super::log_file::without_mark;

/// How much is compared at once, in bytes.
const STEP: usize = 1 << 16;

/// What has become of it, if it is not at its path any more. `None` also where the path is another
/// one here, as in a container.
pub(super) fn gone(process: &Process) -> Option<Verdict> {
    let pid = process.pid;
    let open = format!("/proc/{pid}/exe");
    let open = Path::new(&open);
    let target = fs::read_link(open).ok()?;
    let path = without_mark(&target)?;
    if !has_same_root(pid) {
        return None;
    }
    let place = path.display();
    if path.exists() {
        return (!are_equal(open, path).unwrap_or(true)).then(|| {
            Verdict::warn(
                format!("the daemon (pid {pid}) runs a program that was replaced since: {place}"),
                Remedy::note("restart the daemon, so that it runs the new one"),
            )
        });
    }
    let directory = path.parent()?;
    let remedy = if directory.is_dir() {
        as_owner(directory).then(Remedy::command("cp").arg(open).arg(path))
    } else {
        Remedy::note(format!(
            "install the program again at {place}, or correct where the daemon is started from"
        ))
    };
    Some(Verdict::warn(
        format!(
            "the program of the daemon (pid {pid}) was deleted: {place}; it runs on, and cannot be started again"
        ),
        remedy,
    ))
}

fn has_same_root(pid: i32) -> bool {
    let id = |root: &Path| {
        let found = root.metadata().ok()?;
        Some((found.dev(), found.ino()))
    };
    let theirs = id(Path::new(&format!("/proc/{pid}/root")));
    theirs.is_some() && theirs == id(Path::new("/"))
}

fn are_equal(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let mut left = one.metadata()?.len();
    if left != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut of_one, mut of_other) = (vec![0; STEP], vec![0; STEP]);
    while left > 0 {
        let size = usize::try_from(left).map_or(STEP, |left| left.min(STEP));
        let (Some(of_one), Some(of_other)) = (of_one.get_mut(..size), of_other.get_mut(..size))
        else {
            break;
        };
        one.read_exact(of_one)?;
        other.read_exact(of_other)?;
        if of_one != of_other {
            return Ok(false);
        }
        left -= size as u64;
    }
    Ok(true)
}
