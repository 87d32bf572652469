//! Where a database is that is not where it should be.

use std::path::{Path, PathBuf};

use super::beside::wal_path;
use super::database_header::is_database;
use super::ownership::here;
use super::remedy::Remedy;

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
