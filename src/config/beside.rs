//! The files beside a SQLite database.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

const LOG_SUFFIX: &str = "-wal";
const INDEX_SUFFIX: &str = "-shm";
const JOURNAL_SUFFIX: &str = "-journal";
const LOCK_SUFFIX: &str = "-migrate.lock";

/// The files that SQLite and todoctl keep beside a database, as far as they exist.
pub(crate) fn files_beside(database: &Path) -> impl Iterator<Item = PathBuf> {
    files_of_sqlite(database)
        .into_iter()
        .chain([migration_lock_path(database)])
        .filter(|file| file.exists())
}

/// Where SQLite keeps its own files beside a database, whether they exist or not.
pub(super) fn files_of_sqlite(database: &Path) -> [PathBuf; 3] {
    [LOG_SUFFIX, INDEX_SUFFIX, JOURNAL_SUFFIX].map(|suffix| beside(database, suffix))
}

/// The write-ahead log of a SQLite file.
pub(crate) fn wal_path(database: &Path) -> PathBuf {
    beside(database, LOG_SUFFIX)
}

/// The index of the write-ahead log, in shared memory.
pub(crate) fn index_path(database: &Path) -> PathBuf {
    beside(database, INDEX_SUFFIX)
}

/// Where SQLite keeps what it changes in a file without a write-ahead log.
pub(super) fn journal_path(database: &Path) -> PathBuf {
    beside(database, JOURNAL_SUFFIX)
}

/// Whether a change was interrupted that SQLite has to undo ("Atomic Commit In SQLite", section
/// 4.2). A journal that is kept has no header between two changes.
pub(crate) fn has_hot_journal(database: &Path) -> bool {
    let mut first = [0];
    let journal = File::open(journal_path(database));
    let read = journal.and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && first != [0]
}

/// Whether this process has a file open. To open and close it once more would end SQLite's locks
/// (`fcntl_locking(2)`). So it is said where the system does not tell.
pub(crate) fn is_open_here(file: &Path) -> bool {
    let Ok(whole) = file.canonicalize() else {
        return false;
    };
    let leads_there = |open: PathBuf| std::fs::read_link(open).is_ok_and(|to| to == whole);
    match std::fs::read_dir("/proc/self/fd") {
        Ok(open) => open.flatten().any(|one| leads_there(one.path())),
        Err(_) => true,
    }
}

/// The file that todoctl locks while it migrates.
pub(crate) fn migration_lock_path(database: &Path) -> PathBuf {
    with_suffix(database, LOCK_SUFFIX)
}

/// The folder of the secrets that todoctl generates.
pub(crate) fn secrets_directory(database: &Path) -> PathBuf {
    database.with_file_name("secrets")
}

/// What a running daemon locks, and deletes when it ends by itself.
pub(crate) fn run_record_path(database: &Path) -> PathBuf {
    with_suffix(database, "-daemon")
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    with_suffix(&resolved(database), suffix)
}

/// Where the database is. SQLite follows a link before it names its files.
pub(crate) fn resolved(database: &Path) -> Cow<'_, Path> {
    let target = database.is_symlink().then(|| database.canonicalize());
    match target {
        Some(Ok(target)) => Cow::Owned(target),
        _ => Cow::Borrowed(database),
    }
}

/// The path with more at the end of its name, as SQLite names its files.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
