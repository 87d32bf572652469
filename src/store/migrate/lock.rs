//! One migration at a time, over any number of processes.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::config::SqliteTarget;
use crate::store::arg::args;
use crate::store::connect::create_directory;
use crate::store::connection::Connection;
use crate::store::sql::Sql;

use super::error::MigrateError;

/// The pause between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(200);

/// How often the holder of the lock is reported.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// How long to wait for another process that migrates, and where to report it.
#[derive(Clone, Copy)]
pub struct LockWait<'a> {
    /// From the first attempt on.
    pub limit: Duration,
    report: &'a (dyn Fn(&str) + Sync),
}

impl<'a> LockWait<'a> {
    /// As long as another process may reasonably take.
    pub const LIMIT: Duration = Duration::from_secs(5 * 60);

    /// Calls `report` with the holder of the lock, at once and then every 10 s.
    pub fn new(limit: Duration, report: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self { limit, report }
    }

    pub(super) fn notify(&self, text: &str) {
        (self.report)(text);
    }
}

impl Default for LockWait<'_> {
    /// Five minutes, reported to the log.
    fn default() -> Self {
        Self::new(Self::LIMIT, &|text| tracing::info!("{text}"))
    }
}

/// Who holds the advisory lock `$1`: a bigint key is two halves in `pg_locks`.
static HOLDER: Sql = Sql::Common(
    "SELECT l.pid, CAST(a.application_name AS text) AS name, CAST(a.backend_start AS text) AS since
     FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
       AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
       AND l.classid = CAST((CAST($1 AS bigint) >> 32) & 4294967295 AS oid)
       AND l.objid = CAST(CAST($1 AS bigint) & 4294967295 AS oid)",
);

static DATABASE_NAME: Sql = Sql::Common("SELECT CAST(current_database() AS text) AS name");

static TRY_LOCK: Sql = Sql::Common("SELECT pg_try_advisory_lock($1) AS taken");

/// Takes PostgreSQL's advisory lock for the rest of the session.
///
/// It is polled: a session that waits for it holds a snapshot, for which
/// `CREATE INDEX CONCURRENTLY` would wait.
pub(super) async fn take_advisory(
    connection: &mut Connection,
    wait: LockWait<'_>,
) -> Result<(), MigrateError> {
    let database: String = connection
        .run(&DATABASE_NAME, &args![])
        .await?
        .value("name")?;
    let id = lock_id(&database);
    let mut waiting = Waiting::start(wait);
    loop {
        if connection
            .run(&TRY_LOCK, &args![id])
            .await?
            .value("taken")?
        {
            return Ok(());
        }
        if waiting.is_report_due() {
            waiting.report(holder(connection, id).await?)?;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The id that sqlx-cli locks for a database of this name.
fn lock_id(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32fast::hash(database.as_bytes()))
}

/// Who holds a lock, for people, and the server process that could be ended.
struct Holder {
    text: String,
    pid: Option<i32>,
}

async fn holder(connection: &mut Connection, id: i64) -> Result<Holder, MigrateError> {
    let found = connection.run(&HOLDER, &args![id]).await?;
    let Some(row) = found.rows.first() else {
        return Ok(Holder {
            text: "the holder of the lock is unknown".to_owned(),
            pid: None,
        });
    };
    let pid: i32 = row.get("pid")?;
    let name: Option<String> = row.get("name")?;
    let since: Option<String> = row.get("since")?;
    Ok(Holder {
        text: format!(
            "pid {pid}, {}, connected since {}",
            name.as_deref()
                .filter(|name| !name.is_empty())
                .unwrap_or("no application name"),
            since.as_deref().unwrap_or("an unknown time"),
        ),
        pid: Some(pid),
    })
}

/// A wait that has started.
struct Waiting<'a> {
    wait: LockWait<'a>,
    since: Instant,
    reported: Option<Instant>,
}

impl<'a> Waiting<'a> {
    fn start(wait: LockWait<'a>) -> Self {
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
                .is_none_or(|last| last.elapsed() > REPORT_EVERY)
    }

    /// Reports the holder of the lock; an error once the wait has taken too long.
    fn report(&mut self, holder: Holder) -> Result<(), MigrateError> {
        let Holder { text, pid } = holder;
        if self.is_over() {
            return Err(MigrateError::Locked { holder: text, pid });
        }
        self.reported = Some(Instant::now());
        self.wait.notify(&format!(
            "another process is migrating this database ({text}); waiting for it, {} at most",
            humantime::format_duration(self.wait.limit)
        ));
        Ok(())
    }
}

/// A locked file beside a SQLite database: sqlx's own lock does nothing there.
///
/// The database file itself is not locked: closing a second handle of it would drop SQLite's
/// own locks (<https://www.sqlite.org/howtocorrupt.html>, 2.2). The lock file stays, because
/// removing it would race with a process that waits for it.
pub(super) struct FileLock(#[expect(dead_code, reason = "the lock lives as long as it")] File);

impl FileLock {
    pub async fn take(database: &SqliteTarget, wait: LockWait<'_>) -> Result<Self, MigrateError> {
        create_directory(database)?;
        let mut path = database.path.clone().into_os_string();
        path.push("-migrate.lock");
        let path = PathBuf::from(path);
        let failed = |source| MigrateError::LockFile {
            path: path.clone(),
            source,
        };
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let mut waiting = Waiting::start(wait);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            if waiting.is_report_due() {
                waiting.report(Holder {
                    text: format!("it holds {}", path.display()),
                    pid: None,
                })?;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by sqlx-cli's own formula for these names.
    #[test]
    fn the_lock_is_sqlx_clis() {
        const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
        for name in ["postgres", "todo", "tödo"] {
            let expected = 0x3d32_ad9e * i64::from(CRC.checksum(name.as_bytes()));
            assert_eq!(lock_id(name), expected);
        }
    }
}
