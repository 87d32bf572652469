//! The kernel's log (`/dev/kmsg`), which tells whom it killed for lack of memory.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;

use super::program::is_todoctl;

/// Longer than any record, which is read as a whole.
const RECORD: usize = 8192;

/// Whether the log tells that the kernel killed this todoctl for lack of memory; `false` where this
/// user may not read it.
pub(crate) fn was_killed_for_memory(pid: u32) -> bool {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let Ok(mut log) = options.open("/dev/kmsg") else {
        return false;
    };
    let mut record = [0; RECORD];
    loop {
        match log.read(&mut record) {
            Ok(0) => return false,
            Ok(length) if tells(&String::from_utf8_lossy(&record[..length]), pid) => return true,
            Ok(_) => {}
            // The next records were overwritten meanwhile.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(_) => return false,
        }
    }
}

/// As `Memory cgroup out of memory: Killed process 7 (todoctl) total-vm:…`.
fn tells(record: &str, pid: u32) -> bool {
    let killed = record.split_once("Killed process ");
    let name = killed.and_then(|(_, rest)| rest.strip_prefix(&format!("{pid} (")));
    name.and_then(|rest| rest.split_once(')'))
        .is_some_and(|(name, _)| is_todoctl(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let record =
            "3,1,2,-;Memory cgroup out of memory: Killed process 71 (todoctl) total-vm:9kB";
        assert!(tells(record, 71));
        for pid in [7, 1, 711] {
            assert!(!tells(record, pid), "{pid}");
        }
        assert!(!tells(
            "3,1,2,-;Out of memory: Killed process 71 (java) total",
            71
        ));
        assert!(!tells("6,1,2,-;todoctl[71]: segfault", 71));
    }
}
