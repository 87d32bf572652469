//! A file that a running daemon has locked: it tells other commands where that daemon is, and is left
//! behind by one that was killed, or ended by its terminal, and by a start that failed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use procfs::process::Process;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::{Barrier, DatabaseTarget, run_record_path};
use crate::domain::Timestamp;

use super::memory_kills::MemoryKills;

/// Larger than any record.
const MAX_BYTES: u64 = 8192;

/// How much of the reason why a start failed is kept. In JSON some signs take more.
const LONGEST_TEXT: usize = 4096;

/// A daemon that runs, or ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Its number, as its own machine or container counts.
    pub(crate) pid: u32,
    /// In seconds since 1970.
    pub(crate) started: i64,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// As whom it runs, where the version that wrote it says so.
    #[serde(default)]
    pub(crate) user: Option<u32>,
    /// Which start of the system it belongs to: a copy of the file on another machine, or from before
    /// a restart, says nothing.
    boot: String,
    /// What the kernel had done in its control group before.
    #[serde(default)]
    pub(crate) memory_kills: Option<MemoryKills>,
    /// Whether its terminal has ended it.
    #[serde(default)]
    hung_up: bool,
    /// Whether it has ended by itself, and could not delete the file.
    #[serde(default)]
    has_ended: bool,
}

/// A start that ended with an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedStart {
    /// In microseconds since 1970.
    pub(crate) at: i64,
    /// As whom the program ran.
    pub(crate) user: u32,
    /// The lines that it printed, without a secret.
    pub(crate) said: Vec<String>,
    boot: String,
}

/// The last daemon of a database on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LastRun {
    Running(Run),
    /// It did not end by itself.
    Killed(Run),
    /// SIGHUP has ended it, as when its terminal was closed.
    HungUp(Run),
    /// It did not start.
    Failed(FailedStart),
}

/// What the file has.
#[derive(Deserialize)]
#[serde(untagged)]
enum Record {
    Run(Run),
    Failed(FailedStart),
}

/// The record of this process, which is locked, and deleted with its value.
#[derive(Debug)]
pub(crate) struct RunRecord {
    /// What is deleted.
    path: Option<PathBuf>,
    run: Run,
    locked: File,
}

impl RunRecord {
    /// `None` where it cannot be written, or another daemon has it. Nothing depends on it.
    pub(crate) fn begin(
        target: &DatabaseTarget,
        address: SocketAddr,
        now: Timestamp,
    ) -> Option<Self> {
        let path = path(target);
        let mut file = locked(&path)?;
        let other = temporary(target);
        if other != path {
            // Of a start that could not write beside the database.
            let _ = std::fs::remove_file(other);
        }
        let run = Run {
            pid: std::process::id(),
            started: now.unix_seconds(),
            address,
            user: Some(rustix::process::geteuid().as_raw()),
            boot: boot()?,
            memory_kills: Process::myself().ok().as_ref().and_then(MemoryKills::of),
            hung_up: false,
            has_ended: false,
        };
        write(&mut file, &run).ok()?;
        Some(Self {
            path: Some(path),
            run,
            locked: file,
        })
    }

    /// Leaves the file behind, so that doctor can say why the daemon has ended.
    pub(crate) fn leave_after_hangup(mut self) {
        self.run.hung_up = true;
        if write(&mut self.locked, &self.run).is_ok() {
            self.path = None;
        }
    }
}

/// Leaves the reason why the daemon did not start, unless another one of this database runs. Beside a
/// database that does not exist nothing is created: its directory may be where a disk is to be mounted.
pub(crate) fn leave_failed_start(target: &DatabaseTarget, said: &str, now: Timestamp) {
    let failed = |boot| FailedStart {
        at: now.micros(),
        user: rustix::process::geteuid().as_raw(),
        said: shortened(said),
        boot,
    };
    let beside = match target {
        DatabaseTarget::Sqlite(file) if !file.path.exists() => None,
        _ if matches!(last_run(target), Some(LastRun::Running(_))) => return,
        _ => locked(&path(target)),
    };
    // Nothing depends on it.
    if let Some(mut file) = beside.or_else(|| locked(&temporary(target)))
        && let Some(boot) = boot()
    {
        let _ = write(&mut file, &failed(boot));
    }
}

/// As much as a record may have, in whole lines.
fn shortened(text: &str) -> Vec<String> {
    let mut left = LONGEST_TEXT;
    let fits = |line: &&str| {
        let size = line.len().min(left);
        left -= size;
        size == line.len()
    };
    text.lines().take_while(fits).map(str::to_owned).collect()
}

/// The file for a new record, which is locked; `None` where it cannot be, or another process has it.
fn locked(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    // That of another user, such as root, would be taken for this one's.
    let replace = || {
        std::fs::remove_file(path).ok()?;
        open(&options, path)
    };
    let file = open(&options, path).or_else(replace)?;
    file.try_lock().ok()?;
    Some(file)
}

fn write(file: &mut File, record: &impl Serialize) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(record)?)
}

impl Drop for RunRecord {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        if std::fs::remove_file(path).is_err() {
            self.run.has_ended = true;
            // Where the disk takes no change at all, last_run sees that.
            let _ = write(&mut self.locked, &self.run);
        }
    }
}

/// The last daemon of this database since the system started, unless it was asked to end.
pub(crate) fn last_run(target: &DatabaseTarget) -> Option<LastRun> {
    read(&path(target)).or_else(|| read(&temporary(target)))
}

fn read(path: &Path) -> Option<LastRun> {
    let file = open(OpenOptions::new().read(true), path)?;
    let is_running = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    let mut text = Vec::new();
    (&file).take(MAX_BYTES).read_to_end(&mut text).ok()?;
    let boot = boot()?;
    match serde_json::from_slice(&text).ok()? {
        Record::Run(run) if run.boot != boot => None,
        Record::Run(run) if is_running => Some(LastRun::Running(run)),
        Record::Run(run) if run.has_ended || Barrier::of(path).is_some() => None,
        Record::Run(run) if run.hung_up => Some(LastRun::HungUp(run)),
        Record::Run(run) => Some(LastRun::Killed(run)),
        Record::Failed(start) => (start.boot == boot).then_some(LastRun::Failed(start)),
    }
}

/// Beside a SQLite database. A server may be on another machine; its daemon has a temporary file.
fn path(target: &DatabaseTarget) -> PathBuf {
    match target {
        DatabaseTarget::Sqlite(file) => run_record_path(&file.path),
        DatabaseTarget::Postgres(_) => temporary(target),
    }
}

fn temporary(target: &DatabaseTarget) -> PathBuf {
    let place = match target {
        DatabaseTarget::Sqlite(file) => std::path::absolute(&file.path)
            .unwrap_or_else(|_| file.path.clone())
            .display()
            .to_string(),
        DatabaseTarget::Postgres(_) => target.redacted(),
    };
    let digest = Sha256::digest(place);
    std::env::temp_dir().join(format!("todoctl-daemon-{}", hex::encode(&digest[..8])))
}

/// Everybody may put a link, or a pipe, into the directory of temporary files.
fn open(options: &OpenOptions, path: &Path) -> Option<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = options.clone();
    options.custom_flags(flags.bits().cast_signed());
    let file = options.open(path).ok()?;
    let is_small_file = file
        .metadata()
        .is_ok_and(|found| found.is_file() && found.len() <= MAX_BYTES);
    is_small_file.then_some(file)
}

/// The id of this start of the system.
fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PostgresTarget, SqliteTarget};

    #[test]
    fn only_a_killed_daemon_leaves_it() {
        let directory = tempfile::tempdir().unwrap();
        let target = DatabaseTarget::Sqlite(SqliteTarget {
            path: directory.path().join("todo.db"),
        });
        let now = Timestamp::from_micros_clamped(7_000_000);
        let address: SocketAddr = "127.0.0.1:8000".parse().unwrap();
        let begin = || RunRecord::begin(&target, address, now);
        let last = || last_run(&target);
        assert_eq!(last(), None);
        let record = begin().unwrap();
        let Some(LastRun::Running(run)) = last() else {
            panic!("{:?}", last());
        };
        assert_eq!(run.address, address);
        assert_eq!((run.pid, run.started), (std::process::id(), 7));
        // A second daemon of the database has none.
        assert!(begin().is_none());
        let text = std::fs::read(path(&target)).unwrap();
        drop(record);
        assert_eq!(last(), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);

        begin().unwrap().leave_after_hangup();
        assert!(matches!(last(), Some(LastRun::HungUp(one)) if one.address == address));
        drop(begin());
        assert_eq!(last(), None);

        let path = path(&target);
        std::fs::write(&path, &text).unwrap();
        assert_eq!(last(), Some(LastRun::Killed(run.clone())));
        // Of another start of the system, of another machine, or no record.
        let foreign = Run {
            boot: "x".to_owned(),
            ..run
        };
        for text in [&serde_json::to_vec(&foreign).unwrap()[..], b"", b"canary"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(last(), None);
        }
        std::fs::remove_file(&path).unwrap();
        // What is not todoctl's own is replaced, and a link not followed.
        let other = directory.path().join("other");
        std::fs::write(&other, "canary").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let record = begin().unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), b"canary");
        drop(record);
    }

    #[test]
    fn starts_that_failed() {
        let directory = tempfile::tempdir().unwrap();
        let target = DatabaseTarget::Sqlite(SqliteTarget {
            path: directory.path().join("todo.db"),
        });
        let now = Timestamp::from_micros_clamped(7_000_000);
        let said = || match last_run(&target) {
            Some(LastRun::Failed(start)) => Some((start.at, start.said)),
            other => {
                assert_eq!(other, None);
                None
            }
        };
        let fail = |text: &str| leave_failed_start(&target, text, now);
        let begin = || RunRecord::begin(&target, "127.0.0.1:8000".parse().unwrap(), now);
        let expected = Some((7_000_000, vec!["one".to_owned(), "two".to_owned()]));
        fail("one\ntwo");
        // Its directory may be where a disk is to be mounted.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(said(), expected);
        drop(begin());
        assert_eq!(said(), None);

        std::fs::write(directory.path().join("todo.db"), "").unwrap();
        fail("one\ntwo");
        assert_eq!(said(), expected);
        assert!(run_record_path(&directory.path().join("todo.db")).exists());
        fail(&"canary\n".repeat(10_000));
        assert!(said().is_some_and(|(_, lines)| lines.len() > 100));
        let record = begin();
        fail("one");
        assert!(matches!(last_run(&target), Some(LastRun::Running(_))));
        drop(record);
        assert_eq!(said(), None);
    }

    #[test]
    fn each_database_has_its_own() {
        let of = |host| {
            path(&DatabaseTarget::Postgres(PostgresTarget::fixture(
                host, 5432,
            )))
        };
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
    }
}
