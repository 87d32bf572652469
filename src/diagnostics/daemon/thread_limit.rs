//! How many threads a running daemon, its user and its control group may have.

use std::path::Path;

use procfs::process::{LimitValue, Process, all_processes};

use crate::config::Remedy;
use crate::diagnostics::collected::Collected;
use crate::diagnostics::process_limit::ProcessLimit;

/// The threads that the daemon may still start when the database is slow: for connections of its
/// pools, and for large bodies.
const LEFT: u64 = 8;

/// A limit, and how much of it is used.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    used: u64,
    max: u64,
}

impl Limit {
    fn is_near(&self) -> bool {
        self.max.saturating_sub(self.used) < LEFT
    }
}

/// Warns if nearly all threads run that may.
pub(super) fn check_thread_limits(collected: &mut Collected, process: &Process) {
    if let Some(limit) = of_user(process).filter(Limit::is_near) {
        let more = (limit.max * 2).max(4096);
        let wanted = ProcessLimit {
            option: "nproc",
            hard: |limits| limits.max_processes.hard_limit,
            wanted: LimitValue::Value(more),
            later: format!(
                "LimitNPROC={more} in the unit file, docker run --ulimit nproc={more}, or no ulimit -u in the script that starts it"
            ),
        };
        collected.warn(
            format!(
                "{} of {} threads that its user may have (ulimit -u): without more, changes and searches fail",
                limit.used, limit.max
            ),
            wanted.raised(process.pid),
        );
    }
    if let Some(limit) = of_group(process, Path::new("/sys/fs/cgroup")).filter(Limit::is_near) {
        collected.warn(
            format!(
                "{} of {} threads that its unit or container may have: without more, changes and searches fail",
                limit.used, limit.max
            ),
            Remedy::note(
                "raise the limit where it is set: TasksMax=512 in the unit file, or docker update --pids-limit 512 with the container's name; then restart the daemon",
            ),
        );
    }
}

/// `setrlimit(2)`, `RLIMIT_NPROC`: the threads of a user. Root has any number.
fn of_user(process: &Process) -> Option<Limit> {
    let user = process.status().ok()?.ruid;
    let LimitValue::Value(max) = process.limits().ok()?.max_processes.soft_limit else {
        return None;
    };
    if user == 0 {
        return None;
    }
    let threads = |one: Process| {
        let status = one.status().ok()?;
        (status.ruid == user).then_some(status.threads)
    };
    let used = all_processes().ok()?.flatten().filter_map(threads).sum();
    Some(Limit { used, max })
}

/// The limit of the control group with the fewest threads left, of the process's and of those around
/// it (`pids.max` of both versions).
fn of_group(process: &Process, mount: &Path) -> Option<Limit> {
    let groups = process.cgroups().ok()?.0;
    let limits = groups.iter().flat_map(|group| {
        let mount = if group.hierarchy == 0 {
            mount.to_owned()
        } else {
            mount.join("pids")
        };
        let has_pids = group.hierarchy == 0 || group.controllers.iter().any(|name| name == "pids");
        let path = Path::new(group.pathname.trim_start_matches('/'));
        let around = path.ancestors().filter(move |_| has_pids);
        around.filter_map(move |one| limit_of(&mount.join(one)))
    });
    limits.min_by_key(|limit| limit.max.saturating_sub(limit.used))
}

/// `None` for a group without a limit.
fn limit_of(group: &Path) -> Option<Limit> {
    let number = |file| -> Option<u64> {
        let text = std::fs::read_to_string(group.join(file)).ok()?;
        text.trim().parse().ok()
    };
    Some(Limit {
        used: number("pids.current")?,
        max: number("pids.max")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_group() {
        let group = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            std::fs::write(group.path().join(file), text).unwrap();
        };
        assert_eq!(limit_of(group.path()), None);
        write("pids.current", "20\n");
        write("pids.max", "max\n");
        assert_eq!(limit_of(group.path()), None);
        write("pids.max", "27\n");
        assert!(limit_of(group.path()).unwrap().is_near());
        write("pids.max", "100\n");
        assert!(!limit_of(group.path()).unwrap().is_near());
    }
}
