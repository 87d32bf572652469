//! What keeps every user from writing to a file or directory, root too and whatever its mode.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, Mode, OFlags, StatVfsMountFlags, ioctl_getflags, open, statvfs};

use super::privilege::as_root;
use super::remedy::Remedy;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// Where the file system is mounted, read-only.
    Mount(PathBuf),
    /// A flag of `chattr(1)`.
    Flag { path: PathBuf, flag: char },
}

impl Barrier {
    /// Of a path that exists; `None` also where the system does not tell.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        read_only_mount(path).map(Self::Mount).or_else(|| {
            let flag = flag(path)?;
            Some(Self::Flag {
                path: path.to_owned(),
                flag,
            })
        })
    }

    pub(crate) fn remedy(&self) -> Remedy {
        let (reason, command) = match self {
            Self::Mount(point) => (
                "the kernel's log (dmesg) says whether errors of the disk are the reason: then copy the data elsewhere instead; a volume of a container is mounted without :ro, and a unit of systemd names it in ReadWritePaths=",
                Remedy::command("mount -o remount,rw").arg(point),
            ),
            Self::Flag { path, flag } => (
                "unless somebody has frozen it on purpose, as for a copy:",
                Remedy::command(format!("chattr -{flag}")).arg(path),
            ),
        };
        Remedy::note(reason)
            .then(as_root())
            .then(command)
            .then(Remedy::note(
                "then restart a daemon that was started meanwhile: it has opened the file to read alone",
            ))
    }
}

impl fmt::Display for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(point) => write!(
                f,
                "is on a file system that is mounted read-only at {}",
                point.display()
            ),
            Self::Flag { flag: 'a', .. } => {
                f.write_str("has the flag a (chattr): it can only be appended to")
            }
            Self::Flag { flag, .. } => {
                write!(f, "has the flag {flag} (chattr): nobody may change it")
            }
        }
    }
}

fn read_only_mount(path: &Path) -> Option<PathBuf> {
    let disk = statvfs(path).ok()?;
    disk.f_flag
        .contains(StatVfsMountFlags::RDONLY)
        .then(|| mount_point(path))?
}

/// Where the file system of a path is mounted; `None` also where the system does not tell.
pub(crate) fn mount_point(path: &Path) -> Option<PathBuf> {
    // proc(5): the mount point is the fifth field.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let whole = path.canonicalize().ok()?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .map(PathBuf::from)
        .filter(|point| whole.starts_with(point))
        .max_by_key(|point| point.components().count())
}

/// Whether the file is mounted by itself, and was replaced since where it was mounted from: the old one
/// stays mounted.
pub(crate) fn is_replaced_outside(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Ok(whole) = path.canonicalize() else {
        return false;
    };
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(3);
        // The root of the mount in its file system has this end when it has no name any more.
        fields
            .next()
            .is_some_and(|root| root.ends_with("//deleted"))
            && fields.next().is_some_and(|point| Path::new(point) == whole)
    })
}

/// Not every file system has such flags.
fn flag(path: &Path) -> Option<char> {
    // A named pipe would wait for its other end.
    let how = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = ioctl_getflags(open(path, how, Mode::empty()).ok()?).ok()?;
    [(IFlags::IMMUTABLE, 'i'), (IFlags::APPEND, 'a')]
        .into_iter()
        .find_map(|(flag, sign)| flags.contains(flag).then_some(sign))
}
