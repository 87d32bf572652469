//! Users in a user namespace, as in a rootless container (`user_namespaces(7)`).

use std::fs;
use std::path::Path;

use super::remedy::Remedy;

/// What the kernel shows where a file's owner has no number in the namespace.
const OVERFLOW: &str = "/proc/sys/kernel/overflowuid";

/// How a directory gets an owner who has a number here: only outside of the namespace. `None` where
/// `owner` is a user of this namespace.
pub(super) fn mapped(directory: &Path, owner: u32, user: u32) -> Option<Remedy> {
    let overflow: u32 = fs::read_to_string(OVERFLOW).ok()?.trim().parse().ok()?;
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let outside = outside(&map, user)?;
    (owner == overflow && owner != user).then(|| given(directory, user, outside))
}

fn given(directory: &Path, user: u32, outside: u32) -> Remedy {
    let place = directory.display();
    Remedy::note(format!(
        "{place} belongs to a user who has no number in this user namespace, as in a rootless container, so nobody may change that in here; user {user} in here is user {outside} outside"
    ))
    .then(Remedy::note(format!(
        "as root, outside of the container: chown -R {outside} DIRECTORY, with the path there of what is mounted at {place} in here"
    )))
}

/// The number of `user` outside of the namespace of this map; `None` where all are the same.
fn outside(map: &str, user: u32) -> Option<u32> {
    let ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some((next()?, next()?, next()?))
    });
    let ranges: Vec<(u32, u32, u32)> = ranges.collect();
    if matches!(ranges[..], [(0, 0, u32::MAX)]) {
        return None;
    }
    ranges.into_iter().find_map(|(inside, outside, count)| {
        let offset = user.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside() {
        let whole = "         0          0 4294967295\n";
        assert_eq!(outside(whole, 1000), None);
        let own = "         0       4134          1\n";
        assert_eq!(outside(own, 0), Some(4134));
        assert_eq!(outside(own, 1), None);
        let podman = "0 1000 1\n1 100000 65536\n";
        assert_eq!(outside(podman, 0), Some(1000));
        assert_eq!(outside(podman, 999), Some(100_998));
        let remedy = given(Path::new("/data"), 0, 4134).to_string();
        assert!(remedy.contains("chown -R 4134 "), "{remedy}");
    }
}
