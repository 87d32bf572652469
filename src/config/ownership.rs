//! What is in the way of reading or writing a file, and how that changes.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::barrier::Barrier;
use super::beside::{files_beside, secrets_directory, with_suffix};
use super::closed::Closed;
use super::privilege::{Capability, as_root};
use super::remedy::Remedy;
use super::user_namespace::mapped;

/// How this user gets to read the file, and only this one: by its mode if the file is its own,
/// otherwise by another owner, which only root can give it. What another user's daemon reads is
/// not taken from it.
pub(crate) fn readable(file: &Path) -> Remedy {
    if let Some(closed) = Closed::to_this_process(file) {
        return closed.remedy();
    }
    let mode = Remedy::command("chmod 600").arg(file);
    let user = rustix::process::geteuid().as_raw();
    let directory = file
        .parent()
        .and_then(|parent| here(parent).metadata().ok());
    let is_placed_by_user = directory.is_some_and(|found| found.uid() == user);
    match file.metadata() {
        Ok(found) if found.uid() == user => mode,
        Ok(found) if found.uid() != 0 && !is_placed_by_user => run_by(found.uid()),
        Ok(found) if found.gid() != 0 && found.mode() & 0o040 != 0 && !is_placed_by_user => {
            Remedy::note(format!(
                "the members of group {} may read it: run todoctl as one of them, or as root",
                found.gid()
            ))
        }
        _ => as_root()
            .then(Remedy::command(format!("chown {user}")).arg(file))
            .then(mode),
    }
}

/// That commands are for the owner of a file, as whom the daemon probably runs, or for root.
pub(crate) fn run_by(owner: u32) -> Remedy {
    Remedy::note(format!(
        "the daemon probably runs as user {owner}, who owns the file: run todoctl as that user or as root, as in: sudo -u '#{owner}' todoctl doctor"
    ))
}

/// How this user gets the database and the files beside it that another one owns, as after a restore by
/// root; `None` if none is closed, or if their directory is not this user's either.
pub(crate) fn taken_over(database: &Path) -> Option<Remedy> {
    let user = hindered_user()?;
    let directory = here(database.parent()?).metadata().ok()?;
    let is_closed = |file: &PathBuf| {
        let is_of_other = file.metadata().is_ok_and(|found| found.uid() != user);
        let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
        let flags = rustix::fs::AtFlags::EACCESS;
        is_of_other && rustix::fs::accessat(rustix::fs::CWD, file, access, flags).is_err()
    };
    let files = std::iter::once(database.to_owned()).chain(files_beside(database));
    let files: Vec<PathBuf> = files.filter(is_closed).collect();
    let all = |command: String| files.iter().fold(Remedy::command(command), Remedy::arg);
    (directory.uid() == user && !files.is_empty()).then(|| {
        as_root()
            .then(all(format!("chown {user}")))
            .then(all("chmod u+rw".to_owned()))
    })
}

/// How this user gets to write into the directory.
///
/// Only the service's own files change their owner: a missing directory is created, and in a
/// directory that others use a new one is made for the database.
pub(crate) fn writable(directory: &Path) -> Remedy {
    let directory = here(directory);
    if let Some(closed) = Closed::to_this_process(directory) {
        return closed.remedy();
    }
    match hindered_user() {
        Some(user) => writable_for(user, directory),
        None => not_by_modes(directory),
    }
}

/// This process's user, unless that is root with its rights: owners and modes hinder others alone, and
/// the daemon may well be one of them, so root is given nothing.
fn hindered_user() -> Option<u32> {
    let user = rustix::process::geteuid().as_raw();
    (user != 0 || !Capability::Files.is_held()).then_some(user)
}

/// What else may refuse that files are made.
fn not_by_modes(directory: &Path) -> Remedy {
    let existing = directory.ancestors().map(here).find(|one| one.exists());
    let existing = existing.unwrap_or(directory);
    if let Some(barrier) = Barrier::of(existing) {
        return barrier.remedy();
    }
    let owner = existing.metadata().map(|found| found.uid());
    if let Some(remedy) = owner.ok().and_then(|owner| mapped(existing, owner, 0)) {
        return remedy;
    }
    Remedy::note("owners and modes allow that: no more files may be possible there (df -i), or a security module refuses it (dmesg):")
        .then(Remedy::command("df -i").arg(existing))
}

/// The same for another user, who may enter the directories above it.
pub(crate) fn writable_for(user: u32, directory: &Path) -> Remedy {
    let create = |path: &Path| {
        as_root().then(Remedy::command(format!("install -d -m 700 -o {user}")).arg(path))
    };
    let Ok(found) = directory.metadata() else {
        return create(directory);
    };
    if !found.is_dir() {
        return Remedy::note(format!(
            "{} is a file: a directory is needed there, and what the file has may be needed as well",
            directory.display()
        ));
    }
    if let Some(barrier) = Barrier::of(directory) {
        return barrier.remedy();
    }
    if let Some(remedy) = mapped(directory, found.uid(), user) {
        return remedy;
    }
    if found.uid() == user {
        if found.mode() & 0o700 == 0o700 {
            return not_by_modes(directory);
        }
        return Remedy::command("chmod u+rwx").arg(directory);
    }
    if is_own(directory) {
        let chown = Remedy::command(format!("chown -R {user}")).arg(directory);
        let is_closed = found.mode() & 0o700 != 0o700;
        let chmod = is_closed.then(|| Remedy::command("chmod -R u+rwX").arg(directory));
        let is_empty = directory
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_none());
        // As a mount point is without its mount.
        let mount = (is_empty && found.uid() == 0).then(|| {
            Remedy::note(format!(
                "only for a new, empty database: if a volume, an encrypted disk or a network share belongs at {}, mount it instead (findmnt -T shows what is there now)",
                directory.display()
            ))
        });
        return Remedy::default()
            .then(mount)
            .then(as_root())
            .then(chown)
            .then(chmod);
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
    if has_database(directory) {
        return Remedy::note(format!(
            "{} has a database and files of others: stop the daemon, move the database with the files beside it and the folder secrets into a directory that belongs to user {user} (install -d -m 700 -o {user}), give them to that user, and name the file there in DATABASE_URL",
            directory.display()
        ));
    }
    let own = directory.join("todoctl");
    let url = format!("sqlite://{}/todo.db", own.display());
    create(&own).then(Remedy::set("DATABASE_URL", url))
}

/// How this user gets to read and write the secrets beside `database`: with the whole directory, where
/// that is todoctl's own, as after a copy by root.
pub(super) fn usable_secrets(database: &Path) -> Remedy {
    let Some(user) = hindered_user() else {
        return writable(&secrets_directory(database));
    };
    let owner = |path: &Path| path.metadata().ok().map(|found| found.uid());
    let secrets = secrets_directory(database);
    let directory = here(database.parent().unwrap_or(database));
    match owner(database) {
        Some(other) if other != 0 && other != user => return run_by(other),
        _ => {}
    }
    let is_of_other = |path: &Path| owner(path).is_some_and(|one| one != user);
    let brought = [directory, secrets.as_path()]
        .into_iter()
        .find(|path| is_of_other(path) && (*path == secrets || is_own(path)));
    match brought {
        Some(path) if Closed::to_this_process(&secrets).is_none() => {
            as_root().then(Remedy::command(format!("chown -R {user}")).arg(path))
        }
        _ => writable(&secrets),
    }
}

/// The command `install` for what `owner` gets, also where root types what was printed for that user.
pub(crate) fn install_for(owner: u32, options: &str) -> String {
    let user = rustix::process::geteuid().as_raw();
    // Other users cannot give files away.
    let is_given = owner != 0 && (user == 0 || user == owner);
    if is_given {
        format!("install {options} -o {owner}")
    } else {
        format!("install {options}")
    }
}

/// Makes a directory for the owner of `database` alone, also when another user runs the command.
pub(crate) fn private_directory(directory: &Path, database: &Path) -> Remedy {
    let user = rustix::process::geteuid().as_raw();
    match database.metadata().map(|found| found.uid()) {
        Ok(owner) if owner != user => {
            as_root().then(Remedy::command(format!("install -d -m 700 -o {owner}")).arg(directory))
        }
        _ => Remedy::command("mkdir -p -m 700").arg(directory),
    }
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

fn has_database(directory: &Path) -> bool {
    let entries = directory.read_dir().into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|entry| Path::new(&entry.file_name()).extension() == Some(OsStr::new("db")))
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
            // The second is in the root directory of a disk.
            name == "secrets" || name == "lost+found" || name.contains(".db")
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    fn commands(user: u32, directory: &Path) -> Vec<String> {
        let remedy = writable_for(user, directory);
        remedy.commands().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_is_the_services_own_changes_hands() {
        let user = rustix::process::geteuid().as_raw();
        assert_eq!(
            commands(user, Path::new("/no such")),
            [format!("install -d -m 700 -o {user} '/no such'")]
        );
        let own = tempfile::tempdir().unwrap();
        std::fs::write(own.path().join("todo.db-wal"), "").unwrap();
        let place = own.path().display();
        assert_eq!(commands(user, own.path()), [format!("df -i {place}")]);
        let no_entries = std::fs::Permissions::from_mode(0o500);
        std::fs::set_permissions(own.path(), no_entries).unwrap();
        assert_eq!(commands(user, own.path()), [format!("chmod u+rwx {place}")]);
        let whole = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(own.path(), whole).unwrap();
        if !rustix::process::geteuid().is_root() {
            return;
        }
        // Root may write there as it is, and its user is not the daemon's.
        chown(own.path(), Some(4242), None).unwrap();
        let of_root = writable(own.path())
            .commands()
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(of_root, format!("df -i {place}"));
        let user = 4243;
        assert_eq!(
            commands(user, own.path()),
            [format!("chown -R {user} {place}")]
        );
        let closed = std::fs::Permissions::from_mode(0o555);
        std::fs::set_permissions(own.path(), closed).unwrap();
        assert_eq!(
            commands(user, own.path()),
            [
                format!("chown -R {user} {place}"),
                format!("chmod -R u+rwX {place}")
            ]
        );
        std::fs::write(own.path().join("letter.odt"), "").unwrap();
        let remedy = writable_for(user, own.path()).to_string();
        assert_eq!(
            remedy,
            format!(
                "install -d -m 700 -o {user} {place}/todoctl\ntodoctl config set DATABASE_URL=sqlite://{place}/todoctl/todo.db"
            )
        );
        // Nothing that begins with an empty database.
        std::fs::write(own.path().join("todo.db"), "").unwrap();
        assert_eq!(commands(user, own.path()), Vec::<String>::new());
    }
}
