//! The first creation of the SQLite file, and what speaks against it.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

use super::database_url::SqliteTarget;
use super::error::Problem;
use super::in_the_way::in_place_of_directory;
use super::lost_database::{LostDatabase, find_loss};
use super::nearby::writable_folder;
use super::ownership::here;

/// What the lock file says once the database has tables.
pub(crate) const MIGRATED: &str =
    "The database beside this file has tables. Where it is empty, its content was lost.\n";

/// The file cannot be created.
#[derive(Debug)]
pub(crate) enum ClaimError {
    Lost(LostDatabase),
    Io { what: String, source: io::Error },
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
                    writable_folder(&database.path)
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
    use std::path::Path;

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
