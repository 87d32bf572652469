//! Whether a file system takes changes, or lets every process wait for it: it was frozen for a
//! snapshot (`fsfreeze(8)`), or its disk or server does not answer.
//!
//! A thread that waits for it cannot be ended, and a process ends with its last thread. So another
//! process makes the attempt.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use procfs::process::{Process, all_processes};
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::{mount_point, resolved};

/// The word with which this program makes the attempt, and nothing else.
pub(crate) const TRY_DISK: &str = "try-disk";

/// The program of this process, whatever has become of its file since.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// A disk that is only busy takes less.
const LIMIT: Duration = Duration::from_secs(5);

/// What the kernel calls the wait for a frozen file system, from its version 5.9 on, and before.
const FREEZER: [&str; 2] = ["percpu_rwsem", "percpu_down_read"];

/// A file system that a process waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) mount: Option<PathBuf>,
    /// Whether the kernel says that it is frozen.
    pub(crate) is_frozen: bool,
}

/// Waits if the file system of `file` does. Renames it to its own name, which is no change
/// (`rename(2)`); whether this user may do that does not matter.
pub(crate) fn try_disk(file: &Path) {
    let _ = std::fs::rename(file, file);
}

impl Stuck {
    /// Tries the file system of a file; `None` if it does not let anybody wait.
    pub(crate) async fn of(file: &Path) -> Option<Self> {
        // Another service has a path of its own, whatever its working directory.
        let file = std::path::absolute(resolved(file)).ok()?;
        // One of an earlier run, which still waits.
        if let Some(waiting) = waiting_for(&file) {
            return Some(Self::by(&waiting, &file));
        }
        let mut attempt = Command::new(OWN_PROGRAM)
            .arg(TRY_DISK)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        if timeout(LIMIT, attempt.wait()).await.is_ok() {
            return None;
        }
        let process = Process::new(i32::try_from(attempt.id()?).ok()?).ok()?;
        // It ends as soon as it can.
        let _ = attempt.start_kill();
        is_waiting(&process).then(|| Self::by(&process, &file))
    }

    fn by(process: &Process, file: &Path) -> Self {
        // Zero where this user may not know.
        let place = process.wchan().unwrap_or_default();
        Self {
            mount: mount_point(file),
            is_frozen: FREEZER.iter().any(|name| place.contains(name)),
        }
    }
}

/// In the state D of `proc_pid_stat(5)`, in which a process takes no signal.
fn is_waiting(process: &Process) -> bool {
    process.stat().is_ok_and(|stat| stat.state == 'D')
}

fn waiting_for(file: &Path) -> Option<Process> {
    let is_attempt = |process: &Process| {
        is_waiting(process)
            && process.cmdline().is_ok_and(|words| {
                words.len() == 3 && words[1] == TRY_DISK && Path::new(&words[2]) == file
            })
    };
    all_processes().ok()?.flatten().find(is_attempt)
}
