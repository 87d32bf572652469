//! How often the kernel has killed in a control group for lack of memory (`cgroups(7)`).

use std::fs;
use std::path::{Path, PathBuf};

use procfs::process::Process;
use serde::{Deserialize, Serialize};

const MOUNT: &str = "/sys/fs/cgroup";
/// Of version 1 for any amount: the largest number of whole pages.
const UNLIMITED: u64 = 1 << 60;

/// The control group of a process, and how many of its processes were killed so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemoryKills {
    /// The file that counts.
    file: PathBuf,
    pub(crate) count: u64,
}

impl MemoryKills {
    /// In the group of a process; `None` where nothing counts for it alone.
    pub(crate) fn of(process: &Process) -> Option<Self> {
        let groups = process.cgroups().ok()?.0;
        groups.iter().find_map(|group| {
            let path = group.pathname.trim_start_matches('/');
            Self::in_group(group.hierarchy, &group.controllers, path, Path::new(MOUNT))
        })
    }

    fn in_group(hierarchy: u32, controllers: &[String], path: &str, mount: &Path) -> Option<Self> {
        let file = if hierarchy == 0 {
            mount.join(path).join("memory.events")
        } else if controllers.iter().any(|one| one == "memory") {
            let group = mount.join("memory").join(path);
            // That of the whole system counts for all programs; a container's has a limit.
            if path.is_empty() && number(&group.join("memory.limit_in_bytes"))? >= UNLIMITED {
                return None;
            }
            group.join("memory.oom_control")
        } else {
            return None;
        };
        let count = count(&file)?;
        Some(Self { file, count })
    }

    /// How many there were since; `None` where the group is gone.
    pub(crate) fn since(&self) -> Option<u64> {
        Some(count(&self.file)?.saturating_sub(self.count))
    }
}

fn count(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let mut counts = text
        .lines()
        .filter_map(|line| line.strip_prefix("oom_kill "));
    counts.next()?.trim().parse().ok()
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions() {
        let mount = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = mount.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("a/memory.events", "low 0\noom 2\noom_kill 1\n");
        let found = MemoryKills::in_group(0, &[], "a", mount.path()).unwrap();
        assert_eq!((found.count, found.since()), (1, Some(0)));
        write("a/memory.events", "oom 2\noom_kill 3\noom_group_kill 0\n");
        assert_eq!(found.since(), Some(2));
        let memory = ["memory".to_owned()];
        for limit in ["9223372036854771712", "4096"] {
            write("memory/memory.limit_in_bytes", limit);
            write("memory/memory.oom_control", "under_oom 0\noom_kill 4\n");
            let found = MemoryKills::in_group(4, &memory, "", mount.path());
            assert_eq!(found.map(|one| one.count), (limit == "4096").then_some(4));
        }
        assert_eq!(MemoryKills::in_group(0, &[], "", mount.path()), None);
    }
}
