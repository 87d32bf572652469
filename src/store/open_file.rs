//! Whether the SQLite file is still the one that was opened.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::{DatabaseTarget, SqliteTarget};

use super::connect_error::ConnectError;
use super::error::StoreError;

/// A SQLite file, as it was when it was opened.
pub(super) struct OpenFile {
    path: PathBuf,
    inode: (u64, u64),
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
            is_reported: AtomicBool::new(false),
        })
    }

    /// Fails if the path leads to no file or to another one. The first failure is logged.
    pub fn check(&self) -> Result<(), StoreError> {
        // A system call of about a microsecond, so it is made for each write.
        let is_same = std::fs::metadata(&self.path).is_ok_and(|found| inode(&found) == self.inode);
        let was_reported = self.is_reported.swap(!is_same, Ordering::Relaxed);
        if is_same {
            return Ok(());
        }
        let error = StoreError::FileReplaced(self.path.clone());
        if !was_reported {
            tracing::error!(%error, "restart the daemon, or move the file back");
        }
        Err(error)
    }
}

fn inode(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
