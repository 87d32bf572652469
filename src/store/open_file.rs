//! Whether the SQLite file and its write-ahead log are still those that were opened.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::config::{DatabaseTarget, SqliteTarget, here, index_path, unused_name, wal_path};

use super::connect_error::ConnectError;
use super::error::StoreError;

/// The files that a process has open (Linux, `proc_pid_fd(5)`).
const OPEN_FILES: &str = "/proc/self/fd";

/// So many bytes are compared at a time.
const PART: usize = 1 << 16;

/// A SQLite file, as it was when it was opened.
pub(super) struct OpenFile {
    path: PathBuf,
    inode: (u64, u64),
    logs: [LogFile; 2],
    /// The file of the log that was deleted.
    deleted_log: OnceLock<PathBuf>,
    /// A file that was deleted was open at the last look.
    is_suspect: AtomicBool,
    is_reported: AtomicBool,
}

/// The write-ahead log, or its index.
struct LogFile {
    path: PathBuf,
    /// Of the file that was at this path last; 0 for none.
    inode: AtomicU64,
}

impl LogFile {
    fn at(path: PathBuf) -> Self {
        Self {
            path,
            inode: AtomicU64::new(0),
        }
    }

    /// Whether the path leads to another file than the last time, or to none.
    fn may_be_deleted(&self) -> bool {
        let inode = std::fs::metadata(&self.path).map_or(0, |found| found.ino());
        inode == 0 || self.inode.swap(inode, Ordering::Relaxed) != inode
    }
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
            logs: [wal_path(&target.path), index_path(&target.path)].map(LogFile::at),
            deleted_log: OnceLock::new(),
            is_suspect: AtomicBool::new(false),
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
        } else if let Some(log) = self.deleted_log.get() {
            log.clone()
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

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the write-ahead log or its index was deleted while this process has it open:
    /// changes are in the log that nobody else sees, and that are lost when the process is killed,
    /// and another process would make an index of its own. Found at the second look; from then on
    /// [`Self::check`] fails.
    pub fn find_deleted_log(&self) {
        if self.deleted_log.get().is_some() {
            return;
        }
        // SQLite deletes the files with its last connection, and has them open for a moment more: at
        // the start of this process, for one.
        let was_suspect = self.is_suspect.load(Ordering::Relaxed);
        let mut logs = self.logs.iter();
        let deleted = logs.find(|log| {
            (log.may_be_deleted() || was_suspect) && open_and_deleted(&log.path).is_some()
        });
        self.is_suspect.store(deleted.is_some(), Ordering::Relaxed);
        if let (Some(log), true) = (deleted, was_suspect) {
            // Nobody else sets it.
            let _ = self.deleted_log.set(log.path.clone());
        }
    }
}

/// Where a file can be read that was at `path`, has no name any more, and is open in this process.
fn open_and_deleted(path: &Path) -> Option<PathBuf> {
    // SQLite names its files by their resolved paths.
    let directory = std::fs::canonicalize(here(path.parent()?)).ok()?;
    let mut deleted: OsString = directory.join(path.file_name()?).into();
    deleted.push(" (deleted)");
    let open = std::fs::read_dir(OPEN_FILES).into_iter().flatten();
    let is_it =
        |file: &PathBuf| std::fs::read_link(file).is_ok_and(|target| target.as_os_str() == deleted);
    open.flatten().map(|file| file.path()).find(is_it)
}

/// Copies what was the database at `path` to a new file beside it; `None` if it still has a name, or if
/// the file that is there now has the same content.
pub(super) fn keep_deleted(path: &Path) -> Option<io::Result<PathBuf>> {
    let deleted = open_and_deleted(path)?;
    keep(&deleted, path).transpose()
}

fn keep(deleted: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let mut deleted = File::open(deleted)?;
    if has_same_content(&mut deleted, path).unwrap_or(false) {
        return Ok(None);
    }
    deleted.rewind()?;
    let kept = unused_name(path, ".rescued");
    let mut new = tempfile::NamedTempFile::new_in(here(path.parent().unwrap_or(path)))?;
    io::copy(&mut deleted, &mut new)?;
    new.as_file().sync_all()?;
    new.persist_noclobber(&kept)?;
    Ok(Some(kept))
}

fn has_same_content(one: &mut File, other: &Path) -> io::Result<bool> {
    let mut other = File::open(other)?;
    let length = one.metadata()?.len();
    if other.metadata()?.len() != length {
        return Ok(false);
    }
    let (mut first, mut second) = (vec![0; PART], vec![0; PART]);
    let mut left = length;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(PART).min(PART);
        one.read_exact(&mut first[..part])?;
        other.read_exact(&mut second[..part])?;
        if first[..part] != second[..part] {
            return Ok(false);
        }
        left -= part as u64;
    }
    Ok(true)
}

fn inode(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
