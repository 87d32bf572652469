//! The processes that hold locks of a SQLite file.
//!
//! SQLite locks single bytes: in WAL mode of the file `-shm` ("WAL-mode File Format", section
//! 2.3.1), otherwise of the database file itself ("File Locking And Concurrency", section 3).

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use procfs::process::Process;

use crate::config::{index_path, migration_lock_path};

use super::program::is_todoctl;

/// Of the file `-shm`: the lock for writing, and those of readers.
const WAL_WRITE: u64 = 120;
const WAL_READ: std::ops::RangeInclusive<u64> = 123..=127;

/// Of the database file: the bytes that a writer locks before it writes.
const PENDING: u64 = 0x4000_0000;
const RESERVED: u64 = PENDING + 1;

/// How often the locks are looked at. Who holds one each time is taken to hold it all the time.
const PAUSE: Duration = Duration::from_millis(100);

/// No statement of the daemon takes longer.
pub(crate) const LASTING: Duration = Duration::from_secs(2);

/// What a process does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Reads,
    Writes,
    /// It keeps the lock file of migrations locked.
    Migrates,
}

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: i32,
    /// The name of its program; `None` where it cannot be seen from here, as outside of a
    /// container.
    pub(crate) name: Option<String>,
    /// Of the user that runs it.
    pub(crate) user: Option<u32>,
}

impl Holder {
    fn of(pid: i32) -> Self {
        let process = Process::new(pid).ok();
        let name = process.as_ref().and_then(|one| one.stat().ok());
        Self {
            pid,
            name: name.map(|found| found.comm),
            user: process.and_then(|one| one.uid().ok()),
        }
    }

    /// Whether it is suspended, by Ctrl-Z or SIGSTOP: it takes other signals when it goes on.
    pub(crate) fn is_suspended(&self) -> bool {
        Process::new(self.pid)
            .and_then(|process| process.stat())
            .is_ok_and(|stat| stat.state == 'T')
    }

    /// Whether it is a daemon or a command of this program.
    pub(crate) fn is_todoctl(&self) -> bool {
        self.name.as_deref().is_some_and(is_todoctl)
    }
}

/// The processes that use the SQLite file at `path` so, all the `time`. An error where the system
/// does not list locks.
pub(crate) async fn lasting_holders(
    path: &Path,
    wanted: Use,
    time: Duration,
) -> io::Result<Vec<Holder>> {
    let end = Instant::now() + time;
    let mut lasting = holders(path, wanted)?;
    while !lasting.is_empty() && Instant::now() < end {
        tokio::time::sleep(PAUSE).await;
        let now = holders(path, wanted)?;
        lasting.retain(|pid| now.contains(pid));
    }
    Ok(lasting.into_iter().map(Holder::of).collect())
}

/// The processes that use the SQLite file at `path` so now.
///
/// The kernel prints its list of locks in parts, and can leave some out while others come and go, so
/// the list is read several times.
pub(crate) fn holders(path: &Path, wanted: Use) -> io::Result<BTreeSet<i32>> {
    const TIMES: usize = 4;
    let mut found = BTreeSet::new();
    for _ in 0..TIMES {
        found.extend(listed(path, wanted)?);
    }
    Ok(found)
}

fn listed(path: &Path, wanted: Use) -> io::Result<BTreeSet<i32>> {
    let database = FileId::of(path)?;
    let shared_memory = FileId::of(&index_path(path)).ok();
    let migration = FileId::of(&migration_lock_path(path)).ok();
    let locks = std::fs::read_to_string("/proc/locks")?;
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let is_wanted = |lock: &Lock| {
        let is_shared_memory = shared_memory.as_ref() == Some(&lock.file);
        if lock.is_whole != (wanted == Use::Migrates) {
            return false;
        }
        match wanted {
            Use::Migrates => migration.as_ref() == Some(&lock.file),
            Use::Reads => is_shared_memory && !lock.is_exclusive && lock.has_any(WAL_READ),
            Use::Writes if is_shared_memory => {
                lock.is_exclusive && lock.has_any(WAL_WRITE..=WAL_WRITE)
            }
            Use::Writes => {
                lock.file == database && lock.is_exclusive && lock.has_any(PENDING..=RESERVED)
            }
        }
    };
    let found = locks.lines().filter_map(Lock::parse).filter(is_wanted);
    Ok(found
        .map(|lock| lock.pid)
        .filter(|pid| *pid != own)
        .collect())
}

/// A file by its device and inode.
#[derive(Debug, PartialEq, Eq)]
struct FileId {
    major: u32,
    minor: u32,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self {
            major: rustix::fs::major(found.dev()),
            minor: rustix::fs::minor(found.dev()),
            inode: found.ino(),
        })
    }
}

/// A line of `/proc/locks`, proc(5): `1: POSIX  ADVISORY  WRITE 4711 fd:01:1234 120 120`.
///
/// The crate `procfs` does not tell who waits for a lock from who holds it.
#[derive(Debug, PartialEq, Eq)]
struct Lock {
    /// Of the whole file, by flock(2).
    is_whole: bool,
    pid: i32,
    file: FileId,
    is_exclusive: bool,
    first: u64,
    last: u64,
}

impl Lock {
    /// `None` for a process that waits (`->`), and for locks of another kind.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        let is_whole = match words.next()? {
            "POSIX" => false,
            "FLOCK" => true,
            _ => return None,
        };
        let is_exclusive = words.nth(1)? == "WRITE";
        let pid = words.next()?.parse().ok()?;
        let mut file = words.next()?.split(':');
        let file = FileId {
            major: u32::from_str_radix(file.next()?, 16).ok()?,
            minor: u32::from_str_radix(file.next()?, 16).ok()?,
            inode: file.next()?.parse().ok()?,
        };
        let first = words.next()?.parse().ok()?;
        let last = match words.next()? {
            "EOF" => u64::MAX,
            last => last.parse().ok()?,
        };
        Some(Self {
            is_whole,
            pid,
            file,
            is_exclusive,
            first,
            last,
        })
    }

    fn has_any(&self, bytes: std::ops::RangeInclusive<u64>) -> bool {
        self.first <= *bytes.end() && *bytes.start() <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system() {
        let lock = Lock::parse("1: POSIX  ADVISORY  WRITE 4711 fd:01:1234 120 120").unwrap();
        assert_eq!(
            (lock.pid, lock.file.major, lock.file.inode),
            (4711, 0xfd, 1234)
        );
        assert!(
            lock.is_exclusive && lock.has_any(WAL_WRITE..=WAL_WRITE) && !lock.has_any(WAL_READ)
        );
        let whole = Lock::parse("2: POSIX  ADVISORY  READ 1 00:2f:5 0 EOF").unwrap();
        assert!(!whole.is_exclusive && whole.has_any(WAL_READ));
        let migration = Lock::parse("4: FLOCK  ADVISORY  WRITE 1 00:2f:5 0 EOF").unwrap();
        assert!(migration.is_whole && !lock.is_whole);
        for other in [
            "3: -> POSIX  ADVISORY  WRITE 4711 fd:01:1234 120 120",
            "5: LEASE  ACTIVE    READ  1 00:2f:5 0 EOF",
            "",
        ] {
            assert_eq!(Lock::parse(other), None, "{other}");
        }
    }
}
