//! Whether the SQLite file and its write-ahead log are still those that were opened.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::{DatabaseTarget, SqliteTarget};

use super::connect::wal_path;
use super::connect_error::ConnectError;
use super::error::StoreError;

/// The files that a process has open (Linux, `proc_pid_fd(5)`).
const OPEN_FILES: &str = "/proc/self/fd";

/// A SQLite file, as it was when it was opened.
pub(super) struct OpenFile {
    path: PathBuf,
    inode: (u64, u64),
    is_log_deleted: AtomicBool,
    is_reported: AtomicBool,
}

impl OpenFile {
    pub fn of(target: &SqliteTarget) -> Result<Self, ConnectError> {
        let found = std::fs::metadata(&target.path).map_err(|error| {
            let named = DatabaseTarget::Sqlite(target.clone());
            ConnectError::from_io(&named, "cannot look at the file", &error)
        })?;
        Ok(Self {
            path: target.path.clone(),
            inode: inode(&found),
            is_log_deleted: AtomicBool::new(false),
            is_reported: AtomicBool::new(false),
        })
    }

    /// Fails if the path leads to no file, to another one, or to one that was emptied, and after
    /// [`Self::find_deleted_log`]. The first failure is logged.
    pub fn check(&self) -> Result<(), StoreError> {
        // A system call of about a microsecond, so it is made for each write. A database has a
        // header from the start.
        let is_same = std::fs::metadata(&self.path)
            .is_ok_and(|found| inode(&found) == self.inode && found.len() > 0);
        let missing = if !is_same {
            self.path.clone()
        } else if self.is_log_deleted.load(Ordering::Relaxed) {
            wal_path(&self.path)
        } else {
            self.is_reported.store(false, Ordering::Relaxed);
            return Ok(());
        };
        let error = StoreError::FileReplaced(missing);
        if !self.is_reported.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "move the file back, or run todoctl doctor before you restart the daemon: it shows how to keep what was written");
        }
        Err(error)
    }

    /// Whether the write-ahead log was deleted while this process has it open: changes are in it
    /// that nobody else sees, and that are lost when the process is killed. Looked up once; from
    /// then on [`Self::check`] fails.
    pub fn find_deleted_log(&self) -> bool {
        let was_deleted = self.is_log_deleted.load(Ordering::Relaxed);
        if was_deleted || !is_open_and_deleted(&wal_path(&self.path)) {
            return false;
        }
        self.is_log_deleted.store(true, Ordering::Relaxed);
        true
    }
}

/// Whether this process has a file open that was at `path` and has no name any more.
fn is_open_and_deleted(path: &Path) -> bool {
    // SQLite names its files by their resolved paths.
    let Some(name) = path.file_name() else {
        return false;
    };
    let directory = path.parent().map(std::fs::canonicalize);
    let Some(Ok(directory)) = directory else {
        return false;
    };
    let mut deleted: OsString = directory.join(name).into();
    deleted.push(" (deleted)");
    let open = std::fs::read_dir(OPEN_FILES).into_iter().flatten();
    open.flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|target| target.as_os_str() == deleted)
}

fn inode(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
