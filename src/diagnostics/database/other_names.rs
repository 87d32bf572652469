//! Other names of a SQLite file.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Remedy, here};
use crate::diagnostics::verdict::Verdict;

/// Hard links. SQLite names its log after the name by which it opens the file.
pub(super) fn hard_links(file: &Path) -> Option<Verdict> {
    let names = fs::metadata(file)
        .ok()
        .filter(fs::Metadata::is_file)?
        .nlink();
    let directory = here(file.parent()?);
    (names > 1).then(|| {
        Verdict::warn(
            format!(
                "{} has {names} names (hard links): another name is no copy, because its content changes too, and without the write-ahead log; a program that opens it by another name damages it",
                file.display()
            ),
            Remedy::note("remove the other names, which loses nothing; VACUUM INTO of sqlite3 makes a copy; this finds the names on the same file system:").then(
                Remedy::command("find")
                    .arg(mount_of(directory))
                    .joined(" -xdev -samefile")
                    .arg(file),
            ),
        )
    })
}

/// The highest directory on the same file system.
fn mount_of(directory: &Path) -> PathBuf {
    let whole = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    let own = device(&whole);
    let same = whole.ancestors().take_while(|path| device(path) == own);
    same.last().unwrap_or(&whole).to_owned()
}
