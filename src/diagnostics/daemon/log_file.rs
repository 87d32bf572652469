//! Where the log of a running daemon goes (`proc_pid_fd(5)`).

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use procfs::process::{FDPermissions, Process, all_processes};

use crate::config::Remedy;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::halted::why_halted;
use crate::diagnostics::probe::state_of;

/// What the kernel appends to the name of a file that has none any more.
const DELETED: &str = " (deleted)";

/// The log goes to stderr.
const STDERR: u32 = 2;

/// A few hundred lines.
const LEAST_FREE: u64 = 1 << 20;

/// `fcntl.h`: opened for reading and writing.
const READ_WRITE: u32 = 2;

/// Warns if nobody can read the log, or nothing can be added to it.
pub(super) fn check_log(collected: &mut Collected, process: &Process) {
    let open = open_at(process.pid, STDERR);
    let Ok(target) = std::fs::read_link(&open) else {
        return;
    };
    if let Some((what, remedy)) = halted_reader(process, &target) {
        collected.warn(what, remedy);
        return;
    }
    let deleted = without_mark(&target).filter(|_| !target.exists());
    if let Some(terminal) = deleted.filter(|name| name.starts_with("/dev")) {
        collected.warn(
            format!(
                "its log goes to the terminal {}, which was closed: nobody can read it",
                terminal.display()
            ),
            Remedy::note("restart it with a log: with 2>> and a file, or as a unit of systemd"),
        );
    } else if let Some(name) = deleted {
        collected.warn(
            format!(
                "its log {} was deleted: the daemon writes on where nobody can read it, and the disk stays as full",
                name.display()
            ),
            Remedy::note(format!(
                "to keep what it has logged since: cp {} {}; then restart the daemon",
                open.display(),
                name.display()
            ))
            .then(Remedy::note(
                "logrotate needs copytruncate for it, because it does not open its log again",
            )),
        );
    } else if target == Path::new("/dev/null") {
        if is_closed(process.pid) {
            collected.warn(
                "it was started with stderr closed, so it logs nothing",
                Remedy::note(
                    "start it with a log: without 2>&- in its script, or with 2>> and a file",
                ),
            );
        } else {
            collected.note("its log goes to /dev/null");
        }
    } else if target.is_absolute() && target.is_file() {
        let free =
            rustix::fs::statvfs(&open).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if let Ok(free) = free
            && free < LEAST_FREE
        {
            collected.warn(
                format!(
                    "{} KiB are free on the disk of its log {}: lines are lost",
                    free >> 10,
                    target.display()
                ),
                Remedy::note(format!(
                    "free some space there, as of old logs; this empties the log, unless it is needed: truncate -s 0 {}",
                    target.display()
                )),
            );
        }
    }
}

fn open_at(pid: i32, file: u32) -> PathBuf {
    format!("/proc/{pid}/fd/{file}").into()
}

/// The program that reads the log from a pipe, where that cannot run: the daemon loses what the pipe does
/// not take. `None` also where it cannot be seen.
fn halted_reader(daemon: &Process, target: &Path) -> Option<(String, Remedy)> {
    let is_pipe = target.to_str()?.starts_with("pipe:[")
        || target
            .metadata()
            .is_ok_and(|found| found.file_type().is_fifo());
    let reads_it = |process: &Process| {
        let files = process.fd().into_iter().flatten().flatten();
        let mut readable = files.filter(|file| !file.mode().contains(FDPermissions::WRITE));
        readable.any(|file| {
            let open = std::fs::read_link(open_at(process.pid, file.fd.cast_unsigned()));
            open.is_ok_and(|open| open == target)
        })
    };
    let others = is_pipe.then(all_processes)?.ok()?.flatten();
    let mut readers = others.filter(|one| one.pid != daemon.pid && reads_it(one));
    readers.find_map(|reader| {
        let (why, remedy) = why_halted(reader.pid, &state_of(&reader)?)?;
        let name = reader.stat().ok()?.comm;
        Some((
            format!(
                "the program that reads its log ({name}, pid {}) {why}: lines are lost when the pipe is full",
                reader.pid
            ),
            remedy,
        ))
    })
}

/// The name that a deleted file had; `None` for any other.
pub(super) fn without_mark(target: &Path) -> Option<&Path> {
    let name = target
        .as_os_str()
        .as_bytes()
        .strip_suffix(DELETED.as_bytes())?;
    name.starts_with(b"/")
        .then(|| Path::new(std::ffi::OsStr::from_bytes(name)))
}

/// Rust opens `/dev/null` for reading and writing in the place of a file that is closed. So do
/// programs that start daemons, but for stdin too, and on purpose.
fn is_closed(pid: i32) -> bool {
    let is_null = |file| {
        let target = std::fs::read_link(open_at(pid, file));
        let flags = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{file}"));
        let flags = flags.unwrap_or_default();
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
        target.is_ok_and(|target| target == Path::new("/dev/null"))
            && flags.is_some_and(|flags| flags & READ_WRITE != 0)
    };
    is_null(STDERR) && !is_null(0)
}
