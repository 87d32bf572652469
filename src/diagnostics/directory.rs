//! Directories that the service writes into, and how a user comes to own one.

use std::borrow::Cow;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The directory that a file is in.
pub(super) fn of_file(file: &Path) -> &Path {
    here(file.parent().unwrap_or(file))
}

/// The empty path, which relative ones end in, is this directory.
fn here(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    }
}

/// The directory, or the nearest above it, that exists.
pub(super) fn nearest(directory: &Path) -> Option<&Path> {
    directory.ancestors().map(here).find(|one| one.exists())
}

/// What lets this user write `directory`, as an administrator types it.
///
/// Only what is the service's own changes hands: a directory that is missing is made, and
/// one that others use as well gets a new one in it.
pub(super) fn give(directory: &Path) -> String {
    let user = rustix::process::geteuid().as_raw();
    let place = quoted(directory);
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
    let own = directory.join("todoctl");
    format!(
        "sudo install -d -o {user} {}\nDATABASE_URL=sqlite://{}/todo.db",
        quoted(&own),
        own.display()
    )
}

/// Whether nothing lies there but databases of SQLite and the service's secrets.
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

/// As a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    // Only a NUL cannot be quoted, and no path holds one.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), Cow::into_owned)
}

/// What makes room for a directory where a file is.
pub(super) fn move_away(file: &Path) -> String {
    let place = quoted(file);
    format!("mv -n {place} {place}.old")
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
        assert_eq!(nearest(&own.path().join("a/b")), Some(own.path()));
        assert_eq!(nearest(Path::new("no-such/one")), Some(Path::new(".")));
    }
}
