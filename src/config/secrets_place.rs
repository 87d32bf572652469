//! What is where the directory of generated secrets should be, and cannot be used.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::beside::{secrets_directory, was_migrated};
use super::closed::Closed;
use super::database_header::is_database;
use super::in_the_way::has_secret;
use super::mounts::MissingMount;
use super::ownership::{here, move_away, usable_secrets};
use super::remedy::Remedy;

/// What is wrong there, and what to do. `None` where nothing is there, as before the first start.
///
/// Where the database has tables, nothing leads to new secrets: with them sessions and provider
/// keys of the old ones would be refused.
pub(super) fn fault(database: &Path) -> Option<(String, Remedy)> {
    let directory = secrets_directory(database);
    let place = directory.display();
    if !has_secret(&directory)
        && let Some(mount) = MissingMount::above(&directory)
    {
        let forgotten = format!(
            "only if nothing is to be mounted there any more: {}",
            mount.forgotten()
        );
        let remedy = mount.remedy().then(Remedy::note(forgotten));
        return Some((mount.to_string(), remedy));
    }
    let is_link = fs::symlink_metadata(&directory).ok()?.is_symlink();
    match fs::metadata(&directory) {
        Ok(found) if found.is_dir() => {
            // Any file in it.
            let closed = Closed::to_this_process(&directory.join("x"))?;
            let is_own = found.uid() == rustix::process::geteuid().as_raw();
            let remedy = if is_own {
                Remedy::command("chmod u+rwx").arg(&directory)
            } else {
                usable_secrets(database)
            };
            Some((closed.to_string(), remedy))
        }
        Ok(_) => Some((
            format!("{place} is not a directory"),
            directory_back(database, &directory, None),
        )),
        Err(error) if is_link && error.kind() != ErrorKind::PermissionDenied => {
            let target = fs::read_link(&directory).ok()?;
            Some((
                format!(
                    "{place} is a link to {}, which does not exist",
                    target.display()
                ),
                directory_back(database, &directory, Some(&target)),
            ))
        }
        Err(_) => None,
    }
}

fn directory_back(database: &Path, directory: &Path, target: Option<&Path>) -> Remedy {
    let moved = move_away(directory);
    let place = directory.display();
    let mount = target.map(|target| {
        Remedy::note(format!(
            "if {} is on a disk that is not mounted, mount it instead",
            target.display()
        ))
    });
    let mount = Remedy::default().then(mount);
    if !was_migrated(database) && !is_database(database) {
        return mount.then(moved);
    }
    match &other_directories(database)[..] {
        [found] => mount
            .then(Remedy::note(format!(
                "{} has secrets of these names:",
                found.display()
            )))
            .then(moved)
            .then(Remedy::command("mv -n").arg(found).arg(directory)),
        _ => mount.then(Remedy::note(format!(
            "put the directory {place} back from where it was moved, or from a backup, before the daemon starts: with new secrets sessions and provider keys are refused; only if it is gone for good: {moved}"
        ))),
    }
}

/// Directories beside the database that have files of generated secrets.
fn other_directories(database: &Path) -> Vec<PathBuf> {
    let around = database.parent().unwrap_or(database);
    let entries = here(around).read_dir().into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| around.join(entry.file_name()))
        .filter(|one| has_secret(one))
        .collect();
    found.sort();
    found
}
