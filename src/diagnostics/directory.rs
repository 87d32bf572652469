//! Directories that the service writes into, and how a user comes to own one.

use std::path::Path;

/// Directories of the system: never given to somebody, whatever lies in them.
const OF_THE_SYSTEM: [&str; 19] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/proc",
    "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var",
];

/// The directory, or the nearest above it, that exists.
pub(super) fn nearest(directory: &Path) -> Option<&Path> {
    directory
        .ancestors()
        .map(|one| {
            if one.as_os_str().is_empty() {
                Path::new(".")
            } else {
                one
            }
        })
        .find(|one| one.exists())
}

/// What lets this user write `directory`, as an administrator types it.
///
/// Only what is the service's own changes hands: a directory that is missing is made, and
/// one of the system gets a new one in it.
pub(super) fn give(directory: &Path) -> String {
    let user = rustix::process::geteuid().as_raw();
    let place = directory.display();
    if !directory.exists() {
        return format!("sudo install -d -o {user} {place}");
    }
    let whole = directory.canonicalize();
    let whole = whole.as_deref().unwrap_or(directory);
    if OF_THE_SYSTEM.iter().any(|one| whole == Path::new(one)) {
        let own = directory.join("todoctl");
        let own = own.display();
        return format!("sudo install -d -o {user} {own}\nDATABASE_URL=sqlite://{own}/todo.db");
    }
    format!("sudo chown -R {user} {place}")
}

/// What makes room for a directory where a file is.
pub(super) fn move_away(file: &Path) -> String {
    format!("mv {0} {0}.old", file.display())
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
        assert_eq!(
            give(own.path()),
            format!("sudo chown -R {user} {}", own.path().display())
        );
    }

    #[test]
    fn the_nearest_that_exists() {
        let own = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&own.path().join("a/b")), Some(own.path()));
        assert_eq!(nearest(Path::new("no-such/one")), Some(Path::new(".")));
    }
}
