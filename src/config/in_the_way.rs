//! What is where the database or its directory should be, and is something else.
//!
//! It may be the data of the service, or have it: then the configuration is led there, and nothing is
//! moved out of the way.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::beside::{secrets_directory, wal_path, was_migrated};
use super::database_header::is_database;
use super::mounts::is_mount_point;
use super::other_places::url;
use super::ownership::{here, install_for, move_away, unused_name};
use super::remedy::Remedy;
use super::secret_name::SecretName;

const DATABASE_URL: &str = "DATABASE_URL";

/// How files of SQLite are mostly named.
const EXTENSIONS: [&str; 4] = ["db", "sqlite", "sqlite3", "db3"];

/// What a directory may have that was made for a database: that of secrets, and what a new file
/// system has.
pub(super) const OF_SERVICE: [&str; 2] = ["secrets", "lost+found"];

/// What to do about a directory, or a file that is no database, where the database `path` should be.
/// `None` where it may be moved away for a new one.
pub(crate) fn in_place_of_database(path: &Path) -> Option<Remedy> {
    if path.is_dir() {
        return Some(directory_as_database(path));
    }
    if has_name_of_database(path) {
        return None;
    }
    let kept = format!(
        "{} is no database, and other programs may use it: it stays where it is",
        path.display()
    );
    let directory = path.parent().unwrap_or(path);
    let mut around = databases_in(directory);
    around.extend(databases_in(&directory.join("data")));
    Some(Remedy::note(kept).then(named(&around)))
}

/// The configuration names a directory, most often that of the database.
fn directory_as_database(path: &Path) -> Remedy {
    let place = path.display();
    let inside = databases_in(path);
    if !inside.is_empty() {
        return Remedy::note(format!("{place} is a directory, and stays where it is"))
            .then(named(&inside));
    }
    let entries: Vec<PathBuf> = path
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| PathBuf::from(entry.file_name()))
        .collect();
    let is_of_service = |one: &PathBuf| OF_SERVICE.iter().any(|name| one == Path::new(name));
    if entries.is_empty() && !is_mount_point(path) {
        let removed = Remedy::command("rmdir").arg(path);
        let is_left =
            was_migrated(path) || wal_path(path).exists() || has_secret(&secrets_directory(path));
        return if is_left {
            Remedy::note(format!(
                "files of a database are beside {place}, as where a container engine has made a directory for a file that was not there: move the database back there, or restore a backup of it, before the daemon starts"
            ))
            .then(removed)
        } else {
            let owner = path.parent().and_then(|one| here(one).metadata().ok());
            let install = install_for(owner.map_or(0, |found| found.uid()), "-m 600");
            removed
                .then(Remedy::command(install).arg("/dev/null").arg(path))
                .then(Remedy::command("todoctl migrate up"))
        };
    }
    let file = url(&path.join("todo.db"));
    if entries.iter().all(is_of_service) {
        Remedy::note(format!(
            "{place} is a directory, and stays where it is; this names a file in it:"
        ))
        .then(Remedy::set(DATABASE_URL, file))
    } else {
        Remedy::note(format!(
            "{place} is a directory with files in it, and stays where it is; name the file of the database, as in: todoctl config set DATABASE_URL={file}"
        ))
    }
}

/// Names the one of `databases` that is meant, as far as that is clear.
fn named(databases: &[PathBuf]) -> Remedy {
    let usual = databases.iter().find(|one| one.ends_with("todo.db"));
    match (usual, databases) {
        (Some(one), _) | (None, [one]) => {
            Remedy::note("a database is there:").then(Remedy::set(DATABASE_URL, url(one)))
        }
        (None, []) => Remedy::note(
            "name the file of the database in DATABASE_URL, as in: todoctl config set DATABASE_URL=sqlite://data/todo.db",
        ),
        (None, several) => {
            let names: Vec<String> = several.iter().map(|one| url(one)).collect();
            Remedy::note(format!(
                "name the right one of these databases with todoctl config set DATABASE_URL=URL: {}",
                names.join(", ")
            ))
        }
    }
}

/// What to do about the file that is where the directory of `database`, or one above it, should be.
pub(crate) fn in_place_of_directory(file: &Path, database: &Path) -> Remedy {
    let place = file.display();
    if !is_database(file) {
        if file.metadata().is_ok_and(|found| found.len() == 0) {
            return move_away(file);
        }
        return Remedy::note(format!(
            "a directory is needed there: name another one in DATABASE_URL or TODOCTL_DATA_DIR; only if no program needs the file: {}",
            move_away(file)
        ));
    }
    if has_name_of_database(file) || database.parent() != Some(file) {
        return Remedy::note(format!("{place} is a database; this names it:"))
            .then(Remedy::set(DATABASE_URL, url(file)));
    }
    let directory = unused_name(file, ".new");
    let (Some(name), log) = (database.file_name(), wal_path(file)) else {
        return Remedy::default();
    };
    let inside = directory.join(name);
    let log = log
        .exists()
        .then(|| Remedy::command("mv -n").arg(&log).arg(wal_path(&inside)));
    Remedy::note(format!(
        "{place} is a database, such as a backup that was restored under the name of the directory; this puts it into one"
    ))
    .then(Remedy::note(format!(
        "restore {place}/secrets as well before the daemon starts, unless the .env file has all secrets: new ones would be generated"
    )))
    .then(Remedy::command("mkdir -m 700").arg(&directory))
    .then(log)
    .then(Remedy::command("mv -n").arg(file).arg(&inside))
    .then(Remedy::command("mv -n").arg(&directory).arg(file))
}

fn has_name_of_database(file: &Path) -> bool {
    let extension = file.extension().unwrap_or_default();
    EXTENSIONS.iter().any(|one| extension == *one)
}

fn databases_in(directory: &Path) -> Vec<PathBuf> {
    let entries = here(directory).read_dir().into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| directory.join(entry.file_name()))
        .filter(|file| is_database(file))
        .collect();
    found.sort();
    found
}

/// Whether a directory has files that are named as generated secrets are.
pub(crate) fn has_secret(directory: &Path) -> bool {
    let mut names = SecretName::ALL.iter();
    names.any(|name| directory.join(name.as_str()).is_file())
}
