//! What the control groups of this process allow (`cgroups(7)`).

use std::path::Path;

/// Of version 1 for any amount: the largest number of whole pages.
const UNLIMITED: u64 = 1 << 60;

/// How many bytes of memory its group, and those around it, may have; `None` for any number.
pub(super) fn max_memory() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups
        .lines()
        .filter_map(|line| smallest(line, Path::new("/sys/fs/cgroup")))
        .min()
}

/// The smallest limit of the group in a line such as `0::/system.slice/todoctl.service`. In a
/// container the path may be that of the host, and then only the last of its parents is there.
fn smallest(line: &str, mount: &Path) -> Option<u64> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let (mount, file) = if controllers.is_empty() {
        (mount.to_owned(), "memory.max")
    } else if controllers.split(',').any(|one| one == "memory") {
        (mount.join("memory"), "memory.limit_in_bytes")
    } else {
        return None;
    };
    let groups = Path::new(path.trim_start_matches('/')).ancestors();
    groups
        .filter_map(|group| std::fs::read_to_string(mount.join(group).join(file)).ok())
        .filter_map(|text| text.trim().parse().ok())
        .filter(|limit| *limit < UNLIMITED)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions() {
        let mount = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = mount.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("a.slice/memory.max", "4096\n");
        write("a.slice/b.service/memory.max", "max\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/c/memory.limit_in_bytes", "8192\n");
        for (line, expected) in [
            ("0::/a.slice/b.service", Some(4096)),
            ("0::/a.slice", Some(4096)),
            ("0::/", None),
            ("4:memory:/c/d", Some(8192)),
            ("4:cpu,memory:/docker/0123", None),
            ("5:pids:/c", None),
            ("", None),
        ] {
            assert_eq!(smallest(line, mount.path()), expected, "{line}");
        }
    }
}
