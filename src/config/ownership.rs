//! What is in the way of reading or writing a file, and how that changes.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::barrier::Barrier;
use super::beside::{files_beside, with_suffix};
use super::privilege::as_root;
use super::remedy::Remedy;

/// How this user gets to read the file, and only this one: by its mode if the file is its own,
/// otherwise by another owner, which only root can give it.
pub(crate) fn readable(file: &Path) -> Remedy {
    let mode = Remedy::command("chmod 600").arg(file);
    let user = rustix::process::geteuid().as_raw();
    match file.metadata() {
        Ok(found) if found.uid() == user => mode,
        _ => as_root()
            .then(Remedy::command(format!("chown {user}")).arg(file))
            .then(mode),
    }
}

/// The files beside `database` that only another user than its owner may use, such as what a
/// command of root's has left.
pub(crate) fn files_of_others(database: &Path) -> Vec<PathBuf> {
    let Ok(owner) = database.metadata().map(|found| found.uid()) else {
        return Vec::new();
    };
    let is_closed = |file: &PathBuf| {
        let found = file.metadata();
        found.is_ok_and(|found| found.uid() != owner && found.mode() & 0o006 != 0o006)
    };
    // Root may use all.
    if owner == 0 {
        Vec::new()
    } else {
        files_beside(database).filter(is_closed).collect()
    }
}

/// How the owner of the database gets `files`.
pub(crate) fn hand_over(files: &[PathBuf], database: &Path) -> Remedy {
    let owner = database.metadata().map(|found| found.uid());
    let chown = Remedy::command(format!("chown {}", owner.unwrap_or_default()));
    as_root().then(files.iter().fold(chown, Remedy::arg))
}

/// How this user gets to write into the directory.
///
/// Only the service's own files change their owner: a missing directory is created, and in a
/// directory that others use a new one is made for the database.
pub(crate) fn writable(directory: &Path) -> Remedy {
    let user = rustix::process::geteuid().as_raw();
    let directory = here(directory);
    let create = |path: &Path| {
        as_root().then(Remedy::command(format!("install -d -m 700 -o {user}")).arg(path))
    };
    let Ok(found) = directory.metadata() else {
        return create(directory);
    };
    if !found.is_dir() {
        return move_away(directory);
    }
    if let Some(barrier) = Barrier::of(directory) {
        return barrier.remedy();
    }
    if found.uid() == user {
        return Remedy::command("chmod u+rwx").arg(directory);
    }
    if is_own(directory) {
        let chown = Remedy::command(format!("chown -R {user}")).arg(directory);
        let is_closed = found.mode() & 0o700 != 0o700;
        let chmod = is_closed.then(|| Remedy::command("chmod -R u+rwX").arg(directory));
        return as_root().then(chown).then(chmod);
    }
    // Nobody else may look into a private directory, so it may well be todoctl's own.
    let is_private = directory.read_dir().is_err() && directory.components().count() != 2;
    if is_private {
        return Remedy::note(format!(
            "run todoctl as user {}, who owns the directory; if it holds only todoctl's files, as root: chown -R {user} {}",
            found.uid(),
            directory.display()
        ));
    }
    let own = directory.join("todoctl");
    let url = format!("sqlite://{}/todo.db", own.display());
    create(&own).then(Remedy::set("DATABASE_URL", url))
}

/// The command that moves a file out of the way. It never replaces another one.
pub(crate) fn move_away(file: &Path) -> Remedy {
    let old = unused_name(file, ".old");
    Remedy::command("mv -n").arg(file).arg(old)
}

/// The path with this suffix, and with a number if that exists: where a name is taken, `mv -n`
/// does nothing, and succeeds.
pub(crate) fn unused_name(path: &Path, suffix: &str) -> PathBuf {
    let name = |number: String| with_suffix(path, &format!("{suffix}{number}"));
    let mut numbers = (2..).map(|number| name(format!("-{number}")));
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
    let first = name(String::new());
    if is_free(&first) {
        return first;
    }
    numbers.find(is_free).unwrap_or(first)
}

/// The parent of a relative path is empty: the working directory.
pub(crate) fn here(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    /// Tests run as root or as another user; what root types is the same.
    fn commands(directory: &Path) -> Vec<String> {
        writable(directory).commands().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_is_the_services_own_changes_hands() {
        let user = rustix::process::geteuid().as_raw();
        assert_eq!(
            commands(Path::new("/no such")),
            [format!("install -d -m 700 -o {user} '/no such'")]
        );
        let own = tempfile::tempdir().unwrap();
        std::fs::write(own.path().join("todo.db-wal"), "").unwrap();
        let place = own.path().display();
        assert_eq!(commands(own.path()), [format!("chmod u+rwx {place}")]);
        if !rustix::process::geteuid().is_root() {
            return;
        }
        chown(own.path(), Some(65_534), None).unwrap();
        assert_eq!(commands(own.path()), [format!("chown -R {user} {place}")]);
        let closed = std::fs::Permissions::from_mode(0o555);
        std::fs::set_permissions(own.path(), closed).unwrap();
        assert_eq!(
            commands(own.path()),
            [
                format!("chown -R {user} {place}"),
                format!("chmod -R u+rwX {place}")
            ]
        );
        std::fs::write(own.path().join("letter.odt"), "").unwrap();
        let remedy = writable(own.path()).to_string();
        assert_eq!(
            remedy,
            format!(
                "install -d -m 700 -o {user} {place}/todoctl\ntodoctl config set DATABASE_URL=sqlite://{place}/todoctl/todo.db"
            )
        );
    }
}
