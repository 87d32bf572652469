//! What keeps every user from writing to a file or directory, root too and whatever its mode.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, Mode, OFlags, StatVfsMountFlags, ioctl_getflags, open, statvfs};

use super::mounts::{Mount, is_in_fstab};
use super::privilege::as_root;
use super::remedy::Remedy;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// Where the file system is mounted, read-only.
    Mount(PathBuf),
    /// The kernel has made a file system read-only that was mounted to be written, as ext4 with
    /// `errors=remount-ro` does after an error of the disk.
    Failed(Box<Mount>),
    /// A flag of `chattr(1)`.
    Flag { path: PathBuf, flag: char },
}

impl Barrier {
    /// Of a path that exists; `None` also where the system does not tell.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        read_only(path).or_else(|| {
            let flag = flag(path)?;
            Some(Self::Flag {
                path: path.to_owned(),
                flag,
            })
        })
    }

    pub(crate) fn remedy(&self) -> Remedy {
        let (reason, command) = match self {
            Self::Failed(mount) => return checked_and_mounted(mount),
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
            Self::Failed(mount) => write!(
                f,
                "is on the file system at {}, which the kernel has made read-only, as after an error of its disk",
                mount.point.display()
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

fn read_only(path: &Path) -> Option<Barrier> {
    let has_flag = statvfs(path).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY));
    let mount = Mount::of(path)?;
    if was_failed(&mount) {
        return Some(Barrier::Failed(Box::new(mount)));
    }
    has_flag.then_some(Barrier::Mount(mount.point))
}

/// A file system that was mounted read-only has that option for the mount as well.
fn was_failed(mount: &Mount) -> bool {
    let has = |options: &str, wanted: &str| options.split(',').any(|option| option == wanted);
    // ext4 since Linux 6.15, which goes on to show rw.
    let is_shut =
        has(&mount.super_options, "emergency_ro") || has(&mount.super_options, "shutdown");
    let has_device = mount.source.starts_with("/dev");
    is_shut || has_device && has(&mount.options, "rw") && has(&mount.super_options, "ro")
}

/// A file system with errors cannot be mounted to be written again before it was checked.
fn checked_and_mounted(mount: &Mount) -> Remedy {
    let reason = Remedy::note(
        "the kernel's log says which error it was: dmesg | tail -50; if the disk itself fails (I/O error), copy the data to another disk before anything else",
    );
    let point = &mount.point;
    if point.parent().is_none() {
        return reason.then(Remedy::note(
            "restart the machine: it checks this file system when it starts",
        ));
    }
    let device = image_of(&mount.source).unwrap_or_else(|| mount.source.clone());
    let check = match mount.kind.as_str() {
        "ext2" | "ext3" | "ext4" => Remedy::command("fsck -p").arg(&device).then(Remedy::note(
            "if it says that a person has to decide (UNEXPECTED INCONSISTENCY), copy the disk first, then run it without -p",
        )),
        "xfs" => Remedy::command("xfs_repair").arg(&device),
        kind => Remedy::note(format!(
            "check {} with the tool of {kind}",
            device.display()
        )),
    };
    let mount_again = if is_in_fstab(point) {
        Remedy::command("mount").arg(point)
    } else {
        Remedy::command("mount").arg(&device).arg(point)
    };
    reason
        .then(Remedy::note(
            "stop the daemon and whatever else uses the file system (fuser -vm shows it)",
        ))
        .then(as_root())
        .then(Remedy::command("umount").arg(point))
        .then(check)
        .then(mount_again)
        .then(Remedy::note("then start the daemon"))
}

/// The file behind a loop device, which is let go when the file system is unmounted.
fn image_of(device: &Path) -> Option<PathBuf> {
    let name = device
        .file_name()?
        .to_str()
        .filter(|name| name.starts_with("loop"))?;
    let path = std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    Some(PathBuf::from(path.trim_end_matches('\n')))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_has_failed() {
        let mount = |source: &str, options: &str, super_options: &str| Mount {
            root: "/".into(),
            point: PathBuf::from("/srv/todo"),
            kind: "ext4".to_owned(),
            source: PathBuf::from(source),
            options: options.to_owned(),
            super_options: super_options.to_owned(),
        };
        for (source, options, super_options, expected) in [
            (
                "/dev/sdb1",
                "rw,relatime",
                "rw,errors=remount-ro,emergency_ro",
                true,
            ),
            ("/dev/sdb1", "rw,relatime", "ro,errors=remount-ro", true),
            ("/dev/sdb1", "rw", "rw,errors=remount-ro", false),
            // By mount -o ro, by mount -o remount,ro, and by a bind mount.
            ("/dev/sdb1", "ro,relatime", "ro", false),
            ("/dev/sdb1", "ro,relatime", "rw", false),
            // What the kernel itself has no disk for.
            ("proc", "rw", "ro", false),
        ] {
            let one = mount(source, options, super_options);
            assert_eq!(was_failed(&one), expected, "{one:?}");
        }
        let remedy = Barrier::Failed(Box::new(mount("/dev/sdb1", "rw", "ro"))).remedy();
        let commands: Vec<&str> = remedy.commands().collect();
        assert_eq!(
            commands,
            [
                "umount /srv/todo",
                "fsck -p /dev/sdb1",
                "mount /dev/sdb1 /srv/todo"
            ]
        );
        assert!(remedy.to_string().contains("dmesg"), "{remedy}");
        let root = Mount {
            point: PathBuf::from("/"),
            ..mount("/dev/sdb1", "rw", "ro")
        };
        assert_eq!(
            Barrier::Failed(Box::new(root)).remedy().commands().count(),
            0
        );
    }
}
