//! What is mounted (`proc_pid_mountinfo(5)`), and what the tables of the system mount and is not there.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::privilege::as_root;
use super::remedy::Remedy;

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// What of the file system is mounted; it ends with `//deleted` where that has no name any more.
    pub(super) root: PathBuf,
    pub(super) point: PathBuf,
    pub(super) kind: String,
    /// Its device, where it has one.
    pub(super) source: PathBuf,
    /// Of this mount.
    pub(super) options: String,
    /// Of the file system, wherever it is mounted.
    pub(super) super_options: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut file_system = file_system.split(' ');
        Some(Self {
            root: decoded(mount.next()?),
            point: decoded(mount.next()?),
            options: mount.next()?.to_owned(),
            kind: file_system.next()?.to_owned(),
            source: decoded(file_system.next()?),
            super_options: file_system.next()?.to_owned(),
        })
    }

    /// The one that has `path`, which exists; `None` also where the system does not tell.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let whole = path.canonicalize().ok()?;
        let above = mounts()
            .into_iter()
            .filter(|one| whole.starts_with(&one.point));
        above.max_by_key(|one| one.point.components().count())
    }
}

/// Later ones cover earlier ones at the same point.
fn mounts() -> Vec<Mount> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(Mount::parse).collect()
}

/// Where the file system of a path is mounted; `None` also where the system does not tell.
pub(crate) fn mount_point(path: &Path) -> Option<PathBuf> {
    Mount::of(path).map(|mount| mount.point)
}

/// Whether a file system is mounted at the path itself.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    mount_point(path).is_some_and(|point| path.canonicalize().is_ok_and(|whole| whole == point))
}

/// Whether the file is mounted by itself, and was replaced since where it was mounted from: the old one
/// stays mounted.
pub(crate) fn is_replaced_outside(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|whole| {
        let is_of_deleted =
            |mount: &Mount| mount.root.as_os_str().as_bytes().ends_with(b"//deleted");
        mounts()
            .iter()
            .any(|mount| mount.point == whole && is_of_deleted(mount))
    })
}

/// A blank is `\040` in the system's tables (`getmntent(3)`).
fn decoded(word: &str) -> PathBuf {
    let mut parts = word.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                bytes.push(code);
                bytes.extend(rest.as_bytes());
            }
            _ => bytes.extend([b"\\", part.as_bytes()].concat()),
        }
    }
    OsString::from_vec(bytes).into()
}

/// Where the system is told to mount something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Planned {
    point: PathBuf,
    table: Table,
    /// Whether that happens when the system starts.
    is_automatic: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Table {
    Fstab,
    /// A file of systemd.mount(5).
    Unit(PathBuf),
}

const FSTAB: &str = "/etc/fstab";
/// Units of the administrator, and not those of packages, which most systems do not use.
const UNITS: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];

fn of_fstab(text: &str) -> impl Iterator<Item = Planned> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        Some(Planned {
            point: decoded(words.next()?),
            table: Table::Fstab,
            is_automatic: !words.nth(1)?.split(',').any(|option| option == "noauto"),
        })
    })
}

/// Whether `mount POINT` is enough.
pub(crate) fn is_in_fstab(point: &Path) -> bool {
    let text = fs::read_to_string(FSTAB).unwrap_or_default();
    of_fstab(&text).any(|one| one.point == point)
}

fn of_unit(file: PathBuf, text: &str) -> Option<Planned> {
    let mut lines = text.lines().map(str::trim);
    let point = lines.find_map(|line| line.strip_prefix("Where=")?.trim().into())?;
    Some(Planned {
        point: PathBuf::from(point),
        table: Table::Unit(file),
        is_automatic: true,
    })
}

fn units() -> impl Iterator<Item = Planned> {
    let entries = UNITS.into_iter().filter_map(|one| fs::read_dir(one).ok());
    let files = entries.flatten().flatten().map(|entry| entry.path());
    files
        .filter(|file| file.extension().is_some_and(|kind| kind == "mount"))
        .filter_map(|file| {
            let text = fs::read_to_string(&file).ok()?;
            of_unit(file, &text)
        })
}

/// A mount point above a path, or the path itself, at which nothing is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MissingMount(Planned);

impl MissingMount {
    /// The one that is nearest to the root: what is below may be in it.
    pub(crate) fn above(path: &Path) -> Option<Self> {
        let fstab = fs::read_to_string(FSTAB).unwrap_or_default();
        let planned = of_fstab(&fstab).chain(units());
        let points: Vec<PathBuf> = mounts().into_iter().map(|mount| mount.point).collect();
        // Without the list everything would seem to be missing.
        (!points.is_empty()).then(|| Self::first(path, planned, &points))?
    }

    fn first(
        path: &Path,
        planned: impl Iterator<Item = Planned>,
        mounted: &[PathBuf],
    ) -> Option<Self> {
        let whole = std::path::absolute(path).ok()?;
        let target = resolved_part(&whole);
        let missing = planned.filter(|one| {
            let is_above = whole.starts_with(&one.point) || target.starts_with(&one.point);
            let is_root = one.point.parent().is_none();
            let point = one.point.canonicalize();
            let is_mounted =
                mounted.contains(&one.point) || point.is_ok_and(|point| mounted.contains(&point));
            is_above && !is_root && !is_mounted
        });
        missing
            .min_by_key(|one| one.point.components().count())
            .map(Self)
    }

    /// Whether the system mounts it by itself when it starts.
    pub(crate) fn is_automatic(&self) -> bool {
        self.0.is_automatic
    }

    pub(crate) fn remedy(&self) -> Remedy {
        let Planned { point, table, .. } = &self.0;
        let directory = (!point.exists()).then(|| Remedy::command("mkdir -p").arg(point));
        let mount = match table {
            Table::Fstab => Remedy::command("mount").arg(point),
            Table::Unit(file) => {
                let name = file.file_name().unwrap_or_default();
                Remedy::command("systemctl start").arg(name)
            }
        };
        as_root().then(directory).then(mount).then(Remedy::note(
            "if that fails, its disk or its server is not there: lsblk -f lists the disks; a daemon of systemd waits for it with RequiresMountsFor= in its unit",
        ))
    }

    /// What to do where nothing is mounted there any more.
    pub(crate) fn forgotten(&self) -> String {
        match &self.0.table {
            Table::Fstab => format!("remove the line of {} from {FSTAB}", self.0.point.display()),
            Table::Unit(file) => format!("remove {}", file.display()),
        }
    }
}

impl fmt::Display for MissingMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = match &self.0.table {
            Table::Fstab => Path::new(FSTAB),
            Table::Unit(file) => file,
        };
        write!(
            f,
            "{} is a mount point in {}, and nothing is mounted there",
            self.0.point.display(),
            table.display()
        )
    }
}

/// The path with the links resolved in that part of it which exists.
fn resolved_part(path: &Path) -> PathBuf {
    let existing = path
        .ancestors()
        .find_map(|one| Some((one, one.canonicalize().ok()?)));
    match existing {
        Some((one, whole)) => match path.strip_prefix(one) {
            Ok(rest) if !rest.as_os_str().is_empty() => whole.join(rest),
            _ => whole,
        },
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# /dev/sdz /srv/old ext4 defaults 0 0
UUID=1-2 / ext4 defaults 0 1
  UUID=3-4 /srv/todo\\040data ext4 defaults,nofail 0 2
/dev/sdc1\t/backup\text4\tnoauto,user\t0 0
server:/export /srv/todo\\040data/secrets nfs _netdev 0 0
UUID=5-6 none swap sw 0 0
";

    fn missing(path: &str, mounted: &[&str]) -> Option<MissingMount> {
        let mounted: Vec<PathBuf> = mounted.iter().map(PathBuf::from).collect();
        MissingMount::first(Path::new(path), of_fstab(TABLE), &mounted)
    }

    #[test]
    fn what_a_table_mounts_and_is_not_there() {
        let file = "/srv/todo data/sub/todo.db";
        let found = missing(file, &["/"]).unwrap();
        assert!(
            found
                .to_string()
                .starts_with("/srv/todo data is a mount point in /etc/fstab")
        );
        assert!(found.is_automatic());
        let commands: Vec<String> = found.remedy().commands().map(str::to_owned).collect();
        assert_eq!(
            commands,
            ["mkdir -p '/srv/todo data'", "mount '/srv/todo data'"]
        );
        assert_eq!(missing(file, &["/", "/srv/todo data"]), None);
        let secrets = missing("/srv/todo data/secrets", &["/", "/srv/todo data"]).unwrap();
        assert!(secrets.to_string().starts_with("/srv/todo data/secrets is"));
        // The outer one comes first.
        let outer = missing("/srv/todo data/secrets", &["/"]).unwrap();
        assert_eq!(outer, found);
        assert!(!missing("/backup/todo.db", &["/"]).unwrap().is_automatic());
        for other in [
            "/srv/old/todo.db",
            "/srv/todo",
            "/srv/todo database/todo.db",
            "/none/x",
        ] {
            assert_eq!(missing(other, &["/"]), None, "{other}");
        }
    }

    #[test]
    fn a_path_that_leads_there_by_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let [volume, data] = ["volume", "data"].map(|name| directory.path().join(name));
        fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink(&volume, &data).unwrap();
        let text = format!("[Mount]\nWhat=/dev/sdb1\nWhere={}\n", volume.display());
        let unit = || of_unit(PathBuf::from("/etc/systemd/system/volume.mount"), &text);
        let found = MissingMount::first(&data.join("a/todo.db"), unit().into_iter(), &[]);
        let commands = found
            .unwrap()
            .remedy()
            .commands()
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(commands, "systemctl start volume.mount");
    }

    #[test]
    fn lines_of_the_kernel() {
        let line = "36 35 8:1 / /srv/a\\040b rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro,emergency_ro";
        let mount = Mount::parse(line).unwrap();
        assert_eq!(mount.point, Path::new("/srv/a b"));
        assert_eq!(mount.source, Path::new("/dev/sda1"));
        assert_eq!(mount.kind, "ext4");
        assert_eq!(mount.options, "rw,noatime");
        assert!(mount.super_options.ends_with("emergency_ro"));
        assert_eq!(
            mount_point(Path::new("/proc/self/fd")).unwrap(),
            Path::new("/proc")
        );
    }
}
