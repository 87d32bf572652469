//! Questions about a SQLite file, to the system and to SQLite.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::{
    SqliteTarget, files_beside, here, is_database, is_in_wal_mode, is_mount_point, resolved,
    wal_path,
};
use crate::store::StoreError;

use super::connection::FileConnection;

/// What the system says about a database file and its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFacts {
    pub(crate) directory: PathBuf,
    /// Whether this process may create files there, which SQLite needs for its log.
    pub(crate) directory_writable: bool,
    pub(crate) file_writable: bool,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Of the directory, with the sticky bit.
    pub(crate) directory_mode: u32,
    /// The files of the database that others than their owner may open, and its copies beside it: a
    /// user who can read one can lock it.
    pub(crate) wider: Vec<PathBuf>,
    pub(crate) owner: u32,
    /// Whether the file is in WAL mode; `None` if it has no header. Asked of the file, because a
    /// connection that may leave no trace does not tell.
    pub(crate) wal_mode: Option<bool>,
    /// Bytes of the write-ahead log, if there is one.
    pub(crate) wal: Option<u64>,
    /// Free bytes on the disk.
    pub(crate) free: u64,
    /// How many more files the file system can have; `None` where it has no such limit.
    pub(crate) free_inodes: Option<u64>,
    pub(crate) file_system: FileSystem,
    /// Whether the file is a mount of its own.
    pub(crate) is_mount: bool,
}

/// Kinds of file systems, by what they mean for a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// On a disk of this machine.
    Local,
    /// Reached over a network, where SQLite cannot rely on locks.
    Network(&'static str),
    /// Gone after a restart, or with its container.
    Temporary(&'static str),
    /// Shared with a host or a program; whether its locks work is unknown.
    Shared(&'static str),
}

/// Linux, `statfs(2)`: the magic numbers of the kinds that matter.
const KINDS: [(u64, FileSystem); 19] = [
    (0x6969, FileSystem::Network("NFS")),
    (0x517B, FileSystem::Network("SMB")),
    (0xFF53_4D42, FileSystem::Network("CIFS")),
    (0xFE53_4D42, FileSystem::Network("SMB 2")),
    (0x00C3_6400, FileSystem::Network("Ceph")),
    (0x6B41_4653, FileSystem::Network("AFS")),
    (0x0BD0_0BD0, FileSystem::Network("Lustre")),
    (0x4750_4653, FileSystem::Network("GPFS")),
    (0x1983_0326, FileSystem::Network("BeeGFS")),
    (0x0116_1970, FileSystem::Network("GFS2")),
    (0x7461_636F, FileSystem::Network("OCFS2")),
    (0x0102_1994, FileSystem::Temporary("tmpfs")),
    (0x8584_58F6, FileSystem::Temporary("ramfs")),
    (0x794C_7630, FileSystem::Temporary("overlay")),
    (0x6175_6673, FileSystem::Temporary("overlay")),
    (0x6573_5546, FileSystem::Shared("FUSE")),
    (0x0102_1997, FileSystem::Shared("9p")),
    (0x786F_4256, FileSystem::Shared("a folder of VirtualBox")),
    (0xBACB_ACBC, FileSystem::Shared("a folder of VMware")),
];

impl FileSystem {
    /// The kind of the file system that holds `path`, which must exist.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let facts = rustix::fs::statfs(path)?;
        // The field's type differs from machine to machine; the numbers have 32 bits.
        #[allow(
            clippy::cast_sign_loss,
            clippy::unnecessary_cast,
            reason = "a bit pattern"
        )]
        let kind = facts.f_type as u64 & 0xFFFF_FFFF;
        let known = KINDS.iter().find(|(number, _)| *number == kind);
        Ok(known.map_or(Self::Local, |(_, kind)| *kind))
    }
}

impl FileFacts {
    /// Looks at the file of `target`, which must exist, and at its directory.
    pub(crate) fn of(target: &SqliteTarget) -> io::Result<Self> {
        let place = resolved(&target.path);
        let directory = here(place.parent().unwrap_or(&*place)).to_owned();
        let file: Metadata = std::fs::metadata(&target.path)?;
        let disk = rustix::fs::statvfs(&directory)?;
        Ok(Self {
            directory_writable: is_writable(&directory),
            file_writable: is_writable(&target.path),
            mode: file.permissions().mode() & 0o777,
            directory_mode: std::fs::metadata(&directory)?.permissions().mode() & 0o1777,
            wider: wider(target),
            owner: file.uid(),
            wal_mode: is_in_wal_mode(&target.path),
            wal: std::fs::metadata(wal_path(&target.path))
                .ok()
                .map(|log| log.len()),
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            free_inodes: (disk.f_files > 0).then_some(disk.f_favail),
            file_system: FileSystem::of(&directory)?,
            is_mount: is_mount_point(&target.path),
            directory,
        })
    }
}

fn wider(target: &SqliteTarget) -> Vec<PathBuf> {
    let is_wider = |path: &PathBuf| {
        std::fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o077 != 0)
    };
    let files = std::iter::once(target.path.clone()).chain(files_beside(&target.path));
    files.chain(copies(&target.path)).filter(is_wider).collect()
}

/// Databases in the same directory whose names begin as the file's does, such as `todo.db.old`.
fn copies(file: &Path) -> Vec<PathBuf> {
    let (Some(name), Some(parent)) = (file.file_name(), file.parent()) else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(here(parent)).into_iter().flatten();
    let is_copy = |path: &PathBuf| {
        let other = path.file_name().unwrap_or_default().as_encoded_bytes();
        other.len() > name.len() && other.starts_with(name.as_encoded_bytes()) && is_database(path)
    };
    let mut copies: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| parent.join(entry.file_name()))
        .filter(is_copy)
        .collect();
    copies.sort();
    copies
}

/// Whether this process may write there: by its rights, and not on a read-only disk.
#[must_use]
pub(crate) fn is_writable(path: &Path) -> bool {
    rustix::fs::accessat(
        rustix::fs::CWD,
        path,
        rustix::fs::Access::WRITE_OK,
        rustix::fs::AtFlags::EACCESS,
    )
    .is_ok()
}

/// The pages of a database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Pages {
    /// Bytes of one page.
    pub(crate) size: i64,
    pub(crate) count: i64,
    /// Those that hold nothing.
    pub(crate) free: i64,
}

const PAGES: &str = "
    SELECT (SELECT page_size FROM pragma_page_size) AS size,
           (SELECT page_count FROM pragma_page_count) AS count,
           (SELECT freelist_count FROM pragma_freelist_count) AS free";

/// The statistics that ANALYZE has left (<https://www.sqlite.org/fileformat2.html#stat1tab>).
const HAS_STATISTICS: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'";

/// The first number of each is that of the rows. A partial index has fewer.
const STATISTICS: &str = "
    SELECT tbl AS \"table\", max(CAST(stat AS INTEGER)) AS counted,
           CASE tbl WHEN 'tasks' THEN (SELECT count(*) FROM tasks)
                    ELSE (SELECT count(*) FROM notifications) END AS rows
    FROM sqlite_stat1 WHERE tbl IN ('tasks', 'notifications') AND idx IS NOT NULL
    GROUP BY tbl";

/// How many rows a table had when ANALYZE counted them, and how many it has.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Statistics {
    pub(crate) table: String,
    pub(crate) counted: i64,
    pub(crate) rows: i64,
}

const DANGLING: &str = "SELECT \"table\", parent, count(*) AS rows
    FROM pragma_foreign_key_check GROUP BY 1, 2 ORDER BY 1, 2";

const OF_OTHERS: &str = "SELECT count(*) FROM notifications
    JOIN tasks ON tasks.id = notifications.task_id AND tasks.user_id <> notifications.user_id";

/// Rows of a table that refer to rows that do not exist.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Dangling {
    pub(crate) table: String,
    pub(crate) parent: String,
    pub(crate) rows: i64,
}

impl FileConnection {
    pub(crate) async fn pages(&mut self) -> Result<Pages, StoreError> {
        Ok(sqlx::query_as(PAGES).fetch_one(&mut self.0).await?)
    }

    /// None where nobody has run ANALYZE.
    pub(crate) async fn statistics(&mut self) -> Result<Vec<Statistics>, StoreError> {
        let has_any: i64 = sqlx::query_scalar(HAS_STATISTICS)
            .fetch_one(&mut self.0)
            .await?;
        if has_any == 0 {
            return Ok(Vec::new());
        }
        Ok(sqlx::query_as(STATISTICS).fetch_all(&mut self.0).await?)
    }

    /// The notifications of other users than those of their tasks.
    pub(crate) async fn notifications_of_others(&mut self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(OF_OTHERS).fetch_one(&mut self.0).await?)
    }

    /// Reads every row that refers to another.
    pub(crate) async fn dangling(&mut self) -> Result<Vec<Dangling>, StoreError> {
        Ok(sqlx::query_as(DANGLING).fetch_all(&mut self.0).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("todo.db");
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let facts = FileFacts::of(&SqliteTarget { path: path.clone() }).unwrap();
        assert_eq!(facts.mode, 0o640);
        assert_eq!(facts.wal, None);
        assert!(facts.directory_writable && facts.file_writable && facts.free > 0);
        std::fs::write(wal_path(&path), "four").unwrap();
        let facts = FileFacts::of(&SqliteTarget { path }).unwrap();
        assert_eq!(facts.wal, Some(4));
    }

    #[test]
    fn memory_is_temporary() {
        if Path::new("/dev/shm").is_dir() {
            let kind = FileSystem::of(Path::new("/dev/shm")).unwrap();
            assert_eq!(kind, FileSystem::Temporary("tmpfs"));
        }
    }
}
