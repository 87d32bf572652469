//! What is where SQLite or todoctl keeps a file of its own, and is no file.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::beside::{files_of_sqlite, migration_lock_path};
use super::ownership::move_away;
use super::remedy::Remedy;

/// In the place of the write-ahead log, of its index, of the journal, or of the lock for migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoFile {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// SQLite follows none there.
    Link(PathBuf),
    /// As a container engine makes one where a file to mount does not exist.
    EmptyDirectory,
    Other,
}

impl NoFile {
    /// The first beside `database`.
    pub(crate) fn beside(database: &Path) -> Option<Self> {
        let lock = migration_lock_path(database);
        let mut files = files_of_sqlite(database).into_iter().chain([lock]);
        files.find_map(|path| {
            let kind = Kind::of(&path)?;
            Some(Self { path, kind })
        })
    }

    pub(crate) fn remedy(&self) -> Remedy {
        match &self.kind {
            Kind::Link(_) => {
                let target = self.path.canonicalize();
                let content = target.ok().filter(|file| {
                    let found = file.metadata();
                    found.is_ok_and(|found| found.is_file() && found.len() > 0)
                });
                let copy = content.map(|file| Remedy::command("cp -p").arg(file).arg(&self.path));
                Remedy::note("if a mount is missing there, mount it first; the link goes, and what it leads to stays:")
                    .then(Remedy::command("rm").arg(&self.path))
                    .then(copy)
            }
            Kind::EmptyDirectory => Remedy::note(
                "if it is mounted there, take that mount out of the definition of the container; otherwise:",
            )
            .then(Remedy::command("rmdir").arg(&self.path)),
            Kind::Other => move_away(&self.path),
        }
    }
}

impl Kind {
    /// `None` for a file, and for nothing.
    fn of(path: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        if found.is_symlink() {
            let target = fs::read_link(path).ok()?;
            return Some(Self::Link(target));
        }
        let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if found.is_file() {
            None
        } else if found.is_dir() && is_empty() {
            Some(Self::EmptyDirectory)
        } else {
            Some(Self::Other)
        }
    }
}

impl fmt::Display for NoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.path.display();
        match &self.kind {
            Kind::Link(target) => write!(
                f,
                "{place} is a link to {}, which SQLite does not follow: it cannot open the database",
                target.display()
            ),
            Kind::EmptyDirectory => write!(f, "{place} is a directory: a file is needed there"),
            Kind::Other => write!(f, "{place} is not a file, and one is needed there"),
        }
    }
}
