//! Where a database is that is not where it should be.

use std::path::{Path, PathBuf};

use super::beside::wal_path;
use super::database_header::is_database;
use super::other_places::url;
use super::ownership::{here, writable};
use super::remedy::Remedy;

/// How the folder of the database at `path` gets to be writable. Where it does not exist, `DATABASE_URL`
/// may lead to the wrong one, and then nothing that can be pasted makes an empty database.
pub(crate) fn writable_folder(path: &Path) -> Remedy {
    let folder = here(path.parent().unwrap_or(path));
    let remedy = writable(folder);
    let is_created = remedy.commands().any(|one| one.starts_with("install -d"));
    let (Ok(whole), Ok(current)) = (std::path::absolute(path), std::env::current_dir()) else {
        return remedy;
    };
    if folder.exists() || !is_created {
        return remedy;
    }
    let near = beside_folder(&whole);
    let meant = near.as_ref().map(|found| {
        Remedy::note(format!(
            "{} is a database: if it is that of the service, correct DATABASE_URL: todoctl config set DATABASE_URL={}",
            found.display(),
            url(found)
        ))
    });
    let of_working_directory = folder.is_relative().then(|| {
        Remedy::note(format!(
            "the path in DATABASE_URL is relative, and the working directory is {}: {} is meant here; start the daemon in the folder of the service (WorkingDirectory= in a unit), or name the whole path",
            current.display(),
            whole.display()
        ))
    });
    let is_doubtful = near.is_some() || (folder.is_relative() && current == Path::new("/"));
    let create = if is_doubtful {
        let folder = whole.parent().unwrap_or(&whole);
        let commands = writable(folder);
        let commands: Vec<&str> = commands.commands().collect();
        Remedy::note(format!(
            "only for a new service, as root: {}",
            commands.join(" && ")
        ))
    } else {
        Remedy::note("if the service had tasks, correct DATABASE_URL; for a new one:").then(remedy)
    };
    Remedy::default()
        .then(of_working_directory)
        .then(meant)
        .then(create)
}

/// A database of the same name in a folder beside that of `path`, which does not exist.
fn beside_folder(path: &Path) -> Option<PathBuf> {
    let (folder, name) = (path.parent()?, path.file_name()?);
    let around = folder.parent()?.read_dir().ok()?.flatten();
    let mut found = around
        .map(|entry| entry.path().join(name))
        .filter(|file| is_database(file));
    found.next()
}

/// How the database at `path`, which is missing, gets there, as far as others are near.
pub(crate) fn found_again(path: &Path) -> Option<Remedy> {
    let directory = path.parent()?;
    let name = path.file_name()?;
    let around: Vec<PathBuf> = here(directory)
        .read_dir()
        .ok()?
        .flatten()
        .map(|entry| directory.join(entry.file_name()))
        .collect();
    // As after `cp -r backup/data data`, where data exists.
    let mut below = around
        .iter()
        .map(|one| one.join(name))
        .filter(|one| is_database(one));
    if let (Some(found), None) = (below.next(), below.next())
        && !wal_path(path).exists()
    {
        let log = wal_path(&found);
        let has_log = log.exists();
        let log = has_log.then(|| Remedy::command("mv -n").arg(log).arg(wal_path(path)));
        return Some(
            Remedy::note("a database of this name is in a directory below it:")
                .then(log)
                .then(Remedy::command("mv -n").arg(&found).arg(path)),
        );
    }
    let changed = |file: &&PathBuf| file.metadata().and_then(|found| found.modified()).ok();
    let newest = around
        .iter()
        .filter(|file| is_database(file))
        .max_by_key(changed)?;
    Some(Remedy::note(format!(
        "the newest database beside it; if it is a backup of it: {}",
        Remedy::command("cp -p").arg(newest).arg(path)
    )))
}
