//! The first creation of the SQLite file, and what speaks against it.

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::beside::{
    files_beside, index_path, journal_path, migration_lock_path, wal_path, was_migrated,
};
use super::database_header::is_database;
use super::database_url::SqliteTarget;
use super::error::Problem;
use super::generated;
use super::in_the_way::in_place_of_directory;
use super::nearby::found_again;
use super::ownership::{here, move_away, writable};
use super::remedy::Remedy;
use super::secret_name::SecretName;

/// What the lock file says once the database has tables.
pub(crate) const MIGRATED: &str =
    "The database beside this file has tables. Where it is empty, its content was lost.\n";

/// A database that is gone although other files show that there was one. SQLite would start
/// with an empty one and delete the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LostDatabase {
    path: PathBuf,
    loss: Loss,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Loss {
    /// The link's destination does not exist.
    DanglingLink(PathBuf),
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

/// The file cannot be created.
#[derive(Debug)]
pub(crate) enum ClaimError {
    Lost(LostDatabase),
    Io { what: String, source: io::Error },
}

impl LostDatabase {
    /// What to do about it.
    ///
    /// What starts with an empty database is a comment: it must not happen by pasting.
    pub(crate) fn remedy(&self) -> Remedy {
        let path = self.path.display();
        let (first, start_anew) = match &self.loss {
            Loss::DanglingLink(target) => (
                Remedy::note(format!(
                    "mount or restore {}, which {path} leads to",
                    target.display()
                )),
                Remedy::command("rm").arg(&self.path),
            ),
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
            Loss::DanglingLink(target) => write!(
                f,
                "the database file is a link to {}, which does not exist",
                target.display()
            ),
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

impl ClaimError {
    pub(super) fn problem(&self, database: &SqliteTarget) -> Problem {
        let (message, remedy) = match self {
            Self::Lost(lost) => (lost.to_string(), lost.remedy()),
            Self::Io { what, source } => {
                let directory = database.path.parent().unwrap_or(&database.path);
                let remedy = if here(directory).is_file() {
                    in_place_of_directory(directory, &database.path)
                } else {
                    writable(directory)
                };
                (format!("{what}: {source}"), remedy)
            }
        };
        Problem {
            variable: format!("{}:", database.path.display()),
            message,
            remedy,
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
    match std::fs::metadata(path) {
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
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // A link that leads to itself.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {}
        // It exists, or opening it tells more.
        _ => return None,
    }
    if let Ok(target) = std::fs::read_link(path) {
        return lost(Loss::DanglingLink(target));
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

/// Creates the file, empty, and its directory, unless they exist. Fails where a database was
/// lost.
///
/// Everything else that todoctl keeps beside the file is created later, so that a start that
/// is killed in between is not taken for a loss.
pub(crate) fn claim(database: &SqliteTarget) -> Result<(), ClaimError> {
    if let Some(lost) = find_loss(database) {
        return Err(ClaimError::Lost(lost));
    }
    let path = &database.path;
    if path.exists() {
        return Ok(());
    }
    if let Some(directory) = path.parent().filter(|one| !one.as_os_str().is_empty()) {
        let created = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        created.map_err(|source| ClaimError::Io {
            what: format!("cannot create the directory {}", directory.display()),
            source,
        })?;
    }
    // SQLite gives the mode to its log as well.
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(ClaimError::Io {
            what: format!("cannot create {}", path.display()),
            source: error,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn target(directory: &tempfile::TempDir) -> SqliteTarget {
        SqliteTarget {
            path: directory.path().join("data/todo.db"),
        }
    }

    fn loss_with(file: &str) -> Option<LostDatabase> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "x").unwrap();
        let found = find_loss(&target(&directory));
        assert_eq!(claim(&target(&directory)).is_err(), found.is_some());
        found
    }

    #[test]
    fn what_shows_a_loss() {
        for file in [
            "todo.db-wal",
            "todo.db-shm",
            "todo.db-migrate.lock",
            "secrets/SERVICE_AUTH_TOKEN",
            "secrets/ENCRYPTION_KEY",
        ] {
            let lost = loss_with(file).unwrap_or_else(|| panic!("{file} shows nothing"));
            assert!(lost.to_string().contains(file), "{lost}");
            assert!(
                lost.remedy().to_string().ends_with("todo.db"),
                "{}",
                lost.remedy()
            );
        }
        for file in [
            "other.db",
            "todo.db.old",
            "todo.db-journal",
            "secrets/other",
        ] {
            assert_eq!(loss_with(file), None, "{file}");
        }
    }

    #[test]
    fn a_dangling_link_and_an_emptied_file() {
        let directory = tempfile::tempdir().unwrap();
        let database = target(&directory);
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink("/nowhere/todo.db", &database.path).unwrap();
        let lost = find_loss(&database).unwrap();
        assert!(lost.to_string().contains("/nowhere/todo.db"), "{lost}");
        std::fs::remove_file(&database.path).unwrap();
        std::os::unix::fs::symlink("todo.db", &database.path).unwrap();
        assert!(find_loss(&database).is_some());
        std::fs::remove_file(&database.path).unwrap();
        std::fs::write(&database.path, "").unwrap();
        assert_eq!(find_loss(&database), None);
        std::fs::write(data.join("todo.db-wal"), "x").unwrap();
        assert!(find_loss(&database).is_some());
    }

    #[test]
    fn created_for_the_owner_alone_and_not_twice() {
        let directory = tempfile::tempdir().unwrap();
        let database = target(&directory);
        claim(&database).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&database.path), 0o600);
        assert_eq!(mode(database.path.parent().unwrap()), 0o700);
        std::fs::write(&database.path, "tasks").unwrap();
        claim(&database).unwrap();
        assert_eq!(std::fs::read(&database.path).unwrap(), b"tasks");
    }
}
