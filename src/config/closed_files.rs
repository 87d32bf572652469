//! The service's files that the owner of the database may not use.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::beside::{files_beside, secrets_directory};
use super::privilege::as_root;
use super::remedy::Remedy;

/// What a user needs of a file, as the last three bits of its mode.
const READ: u32 = 0o4;
const READ_AND_WRITE: u32 = 0o6;
const ENTER: u32 = 0o1;

/// The files beside `database`, and of the files with `secrets`, that its owner may not use, such as
/// what a command of root's has left.
pub(crate) fn files_of_others(database: &Path, secrets: &[PathBuf]) -> Vec<PathBuf> {
    let Ok(of_database) = database.metadata() else {
        return Vec::new();
    };
    // Root may use all.
    if of_database.uid() == 0 {
        return Vec::new();
    }
    let folder = secrets_directory(database);
    let has_generated = secrets.iter().any(|file| file.starts_with(&folder));
    let beside = files_beside(database).map(|file| (file, READ_AND_WRITE));
    let folder = has_generated.then_some((folder, ENTER));
    let secrets = secrets.iter().map(|file| (file.clone(), READ));
    let is_closed = |file: &Path, needed: u32| {
        file.metadata().is_ok_and(|found| {
            let is_granted = |bits: u32| bits & needed == needed;
            let is_of_group = found.gid() == of_database.gid();
            found.uid() != of_database.uid()
                && !is_granted(found.mode())
                && !(is_of_group && is_granted(found.mode() >> 3))
        })
    };
    beside
        .chain(folder)
        .chain(secrets)
        .filter(|(file, needed)| is_closed(file, *needed))
        .map(|(file, _)| file)
        .collect()
}

/// The database, the files beside it, and the directory of secrets, that `user` owns and may not read
/// and write.
pub(crate) fn closed_to_owner(user: u32, database: &Path) -> Vec<PathBuf> {
    let files = std::iter::once(database.to_owned()).chain(files_beside(database));
    let is_closed = |file: &PathBuf| {
        file.metadata().is_ok_and(|found| {
            let needed = if found.is_dir() { 0o700 } else { 0o600 };
            user != 0 && found.uid() == user && found.mode() & needed != needed
        })
    };
    let all = files.chain([secrets_directory(database)]);
    all.filter(is_closed).collect()
}

/// How their owner gets to read and write them.
pub(crate) fn opened_to_owner(files: &[PathBuf]) -> Remedy {
    // A directory has to be entered too.
    let modes = if files.iter().any(|file| file.is_dir()) {
        "chmod u+rwX"
    } else {
        "chmod u+rw"
    };
    files.iter().fold(Remedy::command(modes), Remedy::arg)
}

/// How the owner of the database gets `files`.
pub(crate) fn hand_over(files: &[PathBuf], database: &Path) -> Remedy {
    let owner = database.metadata().map(|found| found.uid());
    let chown = Remedy::command(format!("chown {}", owner.unwrap_or_default()));
    as_root().then(files.iter().fold(chown, Remedy::arg))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn what_the_owner_of_the_database_may_not_use() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("todo.db");
        let folder = directory.path().join("secrets");
        let secret = folder.join("JWT_SECRET");
        let log = directory.path().join("todo.db-wal");
        std::fs::create_dir(&folder).unwrap();
        for file in [&database, &secret, &log] {
            std::fs::write(file, "x").unwrap();
        }
        chown(&database, Some(65_534), Some(65_534)).unwrap();
        let set = |file: &Path, mode| {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let found = || files_of_others(&database, std::slice::from_ref(&secret));
        set(&folder, 0o700);
        set(&secret, 0o600);
        set(&log, 0o644);
        assert_eq!(found(), [log.clone(), folder.clone(), secret.clone()]);
        assert_eq!(files_of_others(&database, &[]).len(), 1);
        set(&folder, 0o711);
        set(&secret, 0o604);
        set(&log, 0o666);
        assert_eq!(found(), Vec::<PathBuf>::new());
        // A group that both belong to.
        set(&secret, 0o640);
        set(&log, 0o660);
        assert_eq!(found(), [log.clone(), secret.clone()]);
        chown(&secret, None, Some(65_534)).unwrap();
        chown(&log, None, Some(65_534)).unwrap();
        assert_eq!(found(), Vec::<PathBuf>::new());
    }
}
