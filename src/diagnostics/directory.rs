//! Directories that the service writes to, and how to make one writable.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::shell_word;

use super::probe::FileSystem;
use super::verdict::Verdict;

/// The directory that a file is in.
pub(super) fn of_file(file: &Path) -> &Path {
    here(file.parent().unwrap_or(file))
}

/// The parent of a relative path is empty: the working directory.
fn here(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    }
}

/// The directory, or its nearest parent that exists.
pub(super) fn nearest_existing(directory: &Path) -> &Path {
    let mut parents = directory.ancestors().map(here);
    parents.find(|one| one.exists()).unwrap_or(Path::new("."))
}

/// The user of this process, as texts name it.
pub(super) fn this_user() -> String {
    format!("user {}", rustix::process::geteuid().as_raw())
}

/// The command with which an administrator lets this user write `directory`.
///
/// Only the service's own files change their owner: a missing directory is created, and a
/// directory that others use gets a new one in it.
pub(super) fn give(directory: &Path) -> String {
    let user = rustix::process::geteuid().as_raw();
    let place = shell_word(directory);
    let Ok(found) = directory.metadata() else {
        return format!("sudo install -d -o {user} {place}");
    };
    if is_own(directory) {
        let chown = format!("sudo chown -R {user} {place}");
        return match found.uid() {
            0 => chown,
            owner => {
                format!("{chown}; or run todoctl as its owner: sudo -u '#{owner}' todoctl serve")
            }
        };
    }
    // Nobody else may look into a private directory, so it may well be todoctl's own.
    let is_private = directory.read_dir().is_err() && directory.components().count() != 2;
    if is_private {
        return format!(
            "run todoctl as its owner: sudo -u '#{}' todoctl serve; or, if it holds only todoctl's files: sudo chown -R {user} {place}",
            found.uid()
        );
    }
    let own = directory.join("todoctl");
    format!(
        "sudo install -d -o {user} {}\nDATABASE_URL=sqlite://{}/todo.db",
        shell_word(&own),
        own.display()
    )
}

/// Whether the directory holds only SQLite databases and the service's secrets.
fn is_own(directory: &Path) -> bool {
    let Ok(mut entries) = directory.read_dir() else {
        return false;
    };
    entries.all(|entry| {
        entry.is_ok_and(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name == "secrets" || name.contains(".db")
        })
    })
}

/// The command that moves a file out of the way.
pub(super) fn move_away(file: &Path) -> String {
    let place = shell_word(file);
    format!("mv -n {place} {place}.old")
}

/// What a database risks on such a file system.
pub(super) fn file_system_verdict(kind: FileSystem, directory: &Path) -> Verdict {
    let place = directory.display();
    let elsewhere = "put the database on a local disk: DATABASE_URL=sqlite:///var/lib/todoctl/todo.db; or use PostgreSQL".to_owned();
    match kind {
        FileSystem::Local => Verdict::pass("local disk"),
        FileSystem::Network(name) => Verdict::fail(
            format!(
                "{place} is on a network file system ({name}), where SQLite databases get damaged: its locks are not reliable"
            ),
            elsewhere,
        ),
        FileSystem::Shared(name) => Verdict::warn(
            format!("{place} is on {name}, whose locks may not be reliable enough for SQLite"),
            elsewhere,
        ),
        FileSystem::Temporary("overlay") => Verdict::warn(
            format!("{place} is inside the container: every task is lost when it is removed"),
            format!("mount a volume there: docker run -v todo-data:{place} …"),
        ),
        FileSystem::Temporary(name) => Verdict::warn(
            format!("{place} is in memory ({name}): every task is lost at the next restart"),
            elsewhere,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_services_own_changes_hands() {
        let user = rustix::process::geteuid().as_raw();
        assert_eq!(
            give(Path::new("/no-such-directory")),
            format!("sudo install -d -o {user} /no-such-directory")
        );
        assert_eq!(
            give(Path::new("/etc")),
            format!(
                "sudo install -d -o {user} /etc/todoctl\nDATABASE_URL=sqlite:///etc/todoctl/todo.db"
            )
        );
        let own = tempfile::tempdir().unwrap();
        std::fs::write(own.path().join("todo.db-wal"), "").unwrap();
        let chown = format!("sudo chown -R {user} {}", own.path().display());
        assert!(give(own.path()).starts_with(&chown), "{}", give(own.path()));
        std::fs::write(own.path().join("letter.odt"), "").unwrap();
        assert!(give(own.path()).starts_with("sudo install -d -o"));
        assert_eq!(
            give(Path::new("/no such")),
            format!("sudo install -d -o {user} '/no such'")
        );
    }

    #[test]
    fn the_nearest_that_exists() {
        let own = tempfile::tempdir().unwrap();
        assert_eq!(nearest_existing(&own.path().join("a/b")), own.path());
        assert_eq!(nearest_existing(Path::new("no-such/one")), Path::new("."));
    }
}
