//! A SQLite file that is gone, or emptied, although other files show that there was a database.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::beside::{
    files_beside, index_path, journal_path, migration_lock_path, wal_path, was_migrated,
};
use super::dangling::dangling_link;
use super::database_header::is_database;
use super::database_url::SqliteTarget;
use super::generated;
use super::mounts::MissingMount;
use super::nearby::found_again;
use super::ownership::{here, move_away};
use super::remedy::Remedy;
use super::secret_name::SecretName;

/// A database that is gone although other files show that there was one. SQLite would start
/// with an empty one and delete the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LostDatabase {
    path: PathBuf,
    loss: Loss,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Loss {
    /// This link, the file's own or one to a directory above it, leads to nothing.
    DanglingLink { link: PathBuf, target: PathBuf },
    /// The system's tables have a mount above the file, and it is not there.
    NotMounted(MissingMount),
    /// These files are there.
    Left(Vec<PathBuf>),
    /// The file is empty, and this log is not.
    Emptied(PathBuf),
    /// The file is empty, and the lock file says that it had tables.
    Migrated(PathBuf),
    /// The directory is gone or empty, and this one, whose name begins as its name does, has a
    /// database.
    Elsewhere(PathBuf),
}

impl LostDatabase {
    /// What to do about it.
    ///
    /// What starts with an empty database is a comment: it must not happen by pasting.
    pub(crate) fn remedy(&self) -> Remedy {
        let path = self.path.display();
        let (first, start_anew) = match &self.loss {
            Loss::DanglingLink { link, target } => (
                Remedy::note(format!(
                    "mount or restore {}, which {} leads to",
                    target.display(),
                    link.display()
                )),
                Remedy::command("rm").arg(link),
            ),
            Loss::NotMounted(mount) => {
                return mount.remedy().then(Remedy::note(format!(
                    "only if nothing is to be mounted there any more: {}",
                    mount.forgotten()
                )));
            }
            Loss::Left(found) => {
                let logs = found.iter().filter(|one| !is_kept(one, &self.path));
                let moved = logs.fold(Remedy::default(), |all, log| all.then(move_away(log)));
                (
                    Remedy::note(format!(
                        "move {path} back to where it was, or restore a backup of it"
                    ))
                    .then(found_again(&self.path)),
                    moved.then(begin_anew(&self.path)),
                )
            }
            Loss::Emptied(log) => (
                Remedy::note(format!(
                    "restore a backup of {path} and its write-ahead log"
                )),
                move_away(log),
            ),
            Loss::Migrated(_) => (
                Remedy::note(format!("restore a backup of {path}")),
                begin_anew(&self.path),
            ),
            Loss::Elsewhere(directory) => (
                moved_back(directory, here(self.path.parent().unwrap_or(&self.path))),
                Remedy::command("mkdir -p -m 700")
                    .arg(self.path.parent().unwrap_or(&self.path))
                    .then(begin_anew(&self.path)),
            ),
        };
        let commands: Vec<&str> = start_anew.commands().collect();
        first.then(Remedy::note(format!(
            "only if there was nothing in it, start with an empty database: {}",
            commands.join(" && ")
        )))
    }
}

/// Moves a directory back to where it was. An empty one is there if a mount is missing.
fn moved_back(from: &Path, to: &Path) -> Remedy {
    if to.exists() {
        return Remedy::note(format!(
            "if a mount is missing, mount it at {}; if the data was moved:",
            to.display()
        ))
        .then(Remedy::command("rmdir").arg(to))
        .then(Remedy::command("mv -n").arg(from).arg(to));
    }
    Remedy::command("mv -n").arg(from).arg(to)
}

/// Shows that an empty database is wanted: an empty file, and a lock file that does not say that
/// it had tables.
pub(crate) fn begin_anew(database: &Path) -> Remedy {
    let lock = migration_lock_path(database);
    let unmarked = was_migrated(database).then(|| Remedy::command("truncate -s 0").arg(lock));
    Remedy::default()
        .then(unmarked)
        .then(Remedy::command("touch").arg(database))
}

/// Whether a new database may use the file as well: secrets and the lock.
fn is_kept(file: &Path, database: &Path) -> bool {
    let is_own = |one| file == one;
    !is_own(wal_path(database)) && !is_own(index_path(database)) && !is_own(journal_path(database))
}

impl fmt::Display for LostDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.loss {
            Loss::DanglingLink { link, target } if *link == self.path => write!(
                f,
                "the database file is a link to {}, which does not exist",
                target.display()
            ),
            Loss::DanglingLink { link, target } => write!(
                f,
                "the database file is missing: {} is a link to {}, which does not exist",
                link.display(),
                target.display()
            ),
            Loss::NotMounted(mount) => write!(f, "the database file is missing: {mount}"),
            Loss::Left(found) => {
                let found: Vec<String> =
                    found.iter().map(|one| one.display().to_string()).collect();
                write!(
                    f,
                    "the database file is missing, but files of a database are there: {}",
                    found.join(", ")
                )
            }
            Loss::Migrated(lock) => write!(
                f,
                "the database file is empty, but {} says that it had tables",
                lock.display()
            ),
            Loss::Elsewhere(directory) => write!(
                f,
                "the database file is missing, but {} has a database of this name",
                directory.display()
            ),
            Loss::Emptied(log) => write!(
                f,
                "the database file is empty, but its write-ahead log {} is not",
                log.display()
            ),
        }
    }
}

/// What shows that a database was lost. Changes nothing.
pub(crate) fn find_loss(database: &SqliteTarget) -> Option<LostDatabase> {
    let path = &database.path;
    let lost = |loss| {
        Some(LostDatabase {
            path: path.clone(),
            loss,
        })
    };
    let is_closed = match std::fs::metadata(path) {
        Ok(file) if file.is_file() && file.len() == 0 => {
            let log = wal_path(path);
            return if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
                lost(Loss::Emptied(log))
            } else if was_migrated(path) {
                lost(Loss::Migrated(migration_lock_path(path)))
            } else {
                None
            };
        }
        // It exists.
        Ok(_) => return None,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => false,
            // Root alone may look into the mount points of some systems.
            io::ErrorKind::PermissionDenied => true,
            // A link that leads to itself. Of the rest opening it tells more.
            _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => false,
            _ => return None,
        },
    };
    if let Some(away) = away(path) {
        return Some(away);
    }
    if is_closed {
        return None;
    }
    let secrets = SecretName::ALL.map(|name| generated::path(database, name.as_str()));
    let secrets = secrets.into_iter().filter(|one| one.exists());
    // The database has a write-ahead log and no journal, except while SQLite creates it. What a loss
    // of power leaves of that is deleted by SQLite.
    let journal = journal_path(path);
    let beside = files_beside(path).filter(|file| *file != journal);
    let found: Vec<PathBuf> = beside.chain(secrets).collect();
    // Another process may have created the database, and then the other files, in between.
    if path.exists() {
        None
    } else if found.is_empty() {
        moved_directory(path).and_then(|directory| lost(Loss::Elsewhere(directory)))
    } else {
        lost(Loss::Left(found))
    }
}

/// What is in the way to a file that does not exist: a link that leads to nothing, or a mount that is
/// missing. What is below may be there again with it, so nothing is created in its place.
pub(crate) fn away(path: &Path) -> Option<LostDatabase> {
    let mount = || MissingMount::above(path).map(Loss::NotMounted);
    let link = dangling_link(path).map(|(link, target)| {
        // The mount is the reason for the link.
        let mount = MissingMount::above(&link.with_file_name(&target));
        mount.map_or(Loss::DanglingLink { link, target }, Loss::NotMounted)
    });
    Some(LostDatabase {
        path: path.to_owned(),
        loss: link.or_else(mount)?,
    })
}

/// The directory beside the one of `path`, with a longer name that begins as its name does, that
/// has a database of the same name, if there is one such directory.
fn moved_directory(path: &Path) -> Option<PathBuf> {
    let (directory, name) = (path.parent()?, path.file_name()?);
    let begin = directory.file_name()?.as_encoded_bytes();
    let around = here(directory.parent()?).read_dir().ok()?;
    let mut found = around.flatten().filter_map(|one| {
        let other = one.file_name();
        let is_longer = other.len() > begin.len() && other.as_encoded_bytes().starts_with(begin);
        let moved = directory.with_file_name(other);
        (is_longer && is_database(&moved.join(name))).then_some(moved)
    });
    // Of several, a person has to choose.
    found.next().filter(|_| found.next().is_none())
}
