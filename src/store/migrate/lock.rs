//! The migration lock: one process at a time migrates a database.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;
use std::time::{Duration, Instant};

use crc::{CRC_32_ISO_HDLC, Crc};
use sqlx::PgConnection;

use crate::config::{MIGRATED, SqliteTarget, migration_lock_path};
use crate::store::connect::create_file;

use super::error::MigrateError;
use super::sessions;

/// Time between two attempts to take the lock.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Time between two reports about the process that holds it.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// How long to wait for the migration lock, and where to report who holds it.
#[derive(Clone, Copy)]
pub struct LockWait<'a> {
    limit: Duration,
    report: &'a (dyn Fn(&str) + Sync),
}

impl<'a> LockWait<'a> {
    /// `report` is called at once and then every 10 s while another process holds the lock.
    pub fn new(limit: Duration, report: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self { limit, report }
    }

    pub(super) fn report(&self, text: &str) {
        (self.report)(text);
    }
}

impl Default for LockWait<'_> {
    /// Waits five minutes and reports to the log.
    fn default() -> Self {
        Self::new(Duration::from_secs(5 * 60), &|text| {
            tracing::info!("{text}");
        })
    }
}

/// Takes PostgreSQL's advisory lock for the rest of the session.
///
/// Polls, because a session that waits inside a statement holds a snapshot, for which
/// `CREATE INDEX CONCURRENTLY` waits.
pub(super) async fn take_advisory(
    connection: &mut PgConnection,
    wait: LockWait<'_>,
) -> Result<(), MigrateError> {
    let database: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&mut *connection)
        .await?;
    let id = lock_id(&database);
    let mut waiting = Waiting::begin(wait);
    loop {
        let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(id)
            .fetch_one(&mut *connection)
            .await?;
        if taken {
            return Ok(());
        }
        if waiting.is_report_due() {
            let holder = sessions::advisory_holder(connection, id).await?;
            let text = holder
                .as_ref()
                .map_or_else(|| "it is not known which".to_owned(), ToString::to_string);
            waiting.report(&text, holder.map(|holder| holder.pid))?;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// The id that sqlx-cli locks for a database of this name.
pub(crate) fn lock_id(database: &str) -> i64 {
    const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
    0x3d32_ad9e * i64::from(CRC.checksum(database.as_bytes()))
}

/// The time spent waiting.
struct Waiting<'a> {
    wait: LockWait<'a>,
    since: Instant,
    reported: Option<Instant>,
}

impl<'a> Waiting<'a> {
    fn begin(wait: LockWait<'a>) -> Self {
        Self {
            wait,
            since: Instant::now(),
            reported: None,
        }
    }

    fn is_over(&self) -> bool {
        self.since.elapsed() > self.wait.limit
    }

    fn is_report_due(&self) -> bool {
        self.is_over()
            || self
                .reported
                .is_none_or(|last| last.elapsed() > REPORT_INTERVAL)
    }

    /// Reports who holds the lock; an error once the limit is over.
    fn report(&mut self, holder: &str, pid: Option<i32>) -> Result<(), MigrateError> {
        if self.is_over() {
            let holder = holder.to_owned();
            return Err(MigrateError::Locked { holder, pid });
        }
        self.reported = Some(Instant::now());
        self.wait.report(&format!(
            "another process is migrating this database: {holder}; waiting up to {} for it",
            humantime::format_duration(self.wait.limit)
        ));
        Ok(())
    }
}

/// A locked file beside a SQLite database: sqlx's own lock does nothing there.
///
/// The database file itself is not locked: closing a second handle of it would
/// drop SQLite's own locks (<https://www.sqlite.org/howtocorrupt.html>, 2.2). The
/// lock file stays, because removing it would race with waiting processes.
pub(super) struct FileLock(File);

impl FileLock {
    pub async fn take(database: &SqliteTarget, wait: LockWait<'_>) -> Result<Self, MigrateError> {
        // First, because a lock without its database shows that one was lost.
        create_file(database)?;
        let path = migration_lock_path(&database.path);
        let failed = |source| MigrateError::LockFile {
            database: database.path.clone(),
            source,
        };
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        if rustix::process::geteuid().is_root() {
            give_to_owner(&file, &database.path).map_err(failed)?;
        }
        let mut waiting = Waiting::begin(wait);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            if waiting.is_report_due() {
                waiting.report(&format!("it holds {}", path.display()), None)?;
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Writes that the database has tables, so that an emptied file is not taken for a new one.
    pub fn mark_migrated(&self) -> io::Result<()> {
        if self.0.metadata()?.len() == 0 {
            (&self.0).write_all(MIGRATED.as_bytes())?;
        }
        Ok(())
    }
}

/// What root creates here is the daemon's too: SQLite does the same with its own files.
fn give_to_owner(file: &File, database: &Path) -> io::Result<()> {
    let (found, owner) = (file.metadata()?, database.metadata()?);
    if found.uid() != owner.uid() {
        fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `0x3d32ad9e` times the CRC-32 of the name, as sqlx-cli computes it.
    #[test]
    fn the_lock_is_that_of_sqlx_cli() {
        assert_eq!(lock_id("123456789"), 0x3d32_ad9e * 0xcbf4_3926);
    }
}
