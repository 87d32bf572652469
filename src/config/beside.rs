//! The files beside a SQLite database.

use std::path::{Path, PathBuf};

const LOG_SUFFIX: &str = "-wal";
const INDEX_SUFFIX: &str = "-shm";
const JOURNAL_SUFFIX: &str = "-journal";
const LOCK_SUFFIX: &str = "-migrate.lock";

/// The files that SQLite and todoctl keep beside a database, as far as they exist.
pub(crate) fn files_beside(database: &Path) -> impl Iterator<Item = PathBuf> {
    [LOG_SUFFIX, INDEX_SUFFIX, JOURNAL_SUFFIX, LOCK_SUFFIX]
        .map(|suffix| with_suffix(database, suffix))
        .into_iter()
        .filter(|file| file.exists())
}

/// The write-ahead log of a SQLite file.
pub(crate) fn wal_path(database: &Path) -> PathBuf {
    with_suffix(database, LOG_SUFFIX)
}

/// The index of the write-ahead log, in shared memory.
pub(crate) fn index_path(database: &Path) -> PathBuf {
    with_suffix(database, INDEX_SUFFIX)
}

/// Where SQLite keeps what it changes in a file without a write-ahead log.
pub(super) fn journal_path(database: &Path) -> PathBuf {
    with_suffix(database, JOURNAL_SUFFIX)
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

/// The path with more at the end of its name, as SQLite names its files.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
