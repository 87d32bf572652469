//! One migration at a time, over any number of processes.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::config::SqliteTarget;
use crate::store::connect::create_directory;

use super::MigrateError;

/// How often the lock is tried.
const PAUSE: Duration = Duration::from_millis(200);

/// How often the log tells who is waited for.
const REMARK: Duration = Duration::from_secs(10);

/// How long another process may take, and who is told that it is waited for.
#[derive(Clone, Copy)]
pub struct Patience<'a> {
    /// From the first try on.
    pub limit: Duration,
    remark: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Patience<'a> {
    /// As long as another process may reasonably take.
    pub const LIMIT: Duration = Duration::from_secs(5 * 60);

    /// Tells `remark` who is waited for, at once and then every 10 s.
    pub fn new(limit: Duration, remark: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self { limit, remark }
    }

    pub(super) fn tell(&self, text: &str) {
        (self.remark)(text);
    }
}

impl Default for Patience<'_> {
    /// Five minutes, told to the log.
    fn default() -> Self {
        Self::new(Self::LIMIT, &|text| tracing::info!("{text}"))
    }
}

/// Who holds the advisory lock `$1`: a bigint key is two halves in `pg_locks`.
const HOLDER: &str = "SELECT l.pid, CAST(a.application_name AS text), CAST(a.backend_start AS text)
     FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
       AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
       AND l.classid = CAST((CAST($1 AS bigint) >> 32) & 4294967295 AS oid)
       AND l.objid = CAST(CAST($1 AS bigint) & 4294967295 AS oid)";

/// Takes PostgreSQL's advisory lock for the rest of the session.
///
/// It is tried again and again rather than waited for: a session that waits
/// holds a snapshot, and `CREATE INDEX CONCURRENTLY` waits for that.
pub(super) async fn take_advisory(
    connection: &mut PgConnection,
    patience: Patience<'_>,
) -> Result<(), MigrateError> {
    let database: String = sqlx::query_scalar("SELECT current_database()")
        .fetch_one(&mut *connection)
        .await?;
    let id = lock_id(&database);
    let mut waiting = Waiting::begin(patience);
    loop {
        let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(id)
            .fetch_one(&mut *connection)
            .await?;
        if taken {
            return Ok(());
        }
        if waiting.wants_holder() {
            waiting.remark(holder(connection, id).await?)?;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The id that sqlx-cli locks for a database of this name.
fn lock_id(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32fast::hash(database.as_bytes()))
}

/// Who holds a lock, in words, and the server process if there is one to end.
struct Holder {
    text: String,
    pid: Option<i32>,
}

async fn holder(connection: &mut PgConnection, id: i64) -> Result<Holder, MigrateError> {
    type Row = (i32, Option<String>, Option<String>);
    let row: Option<Row> = sqlx::query_as(HOLDER)
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(row.map_or_else(
        || Holder {
            text: "who holds the lock is not known".to_owned(),
            pid: None,
        },
        |(pid, name, since)| {
            let name = name.filter(|name| !name.is_empty());
            Holder {
                text: format!(
                    "pid {pid}, {}, connected since {}",
                    name.as_deref().unwrap_or("without a name"),
                    since.as_deref().unwrap_or("an unknown time"),
                ),
                pid: Some(pid),
            }
        },
    ))
}

/// How long is waited already, and when that is worth a line.
struct Waiting<'a> {
    patience: Patience<'a>,
    since: Instant,
    remarked: Option<Instant>,
}

impl<'a> Waiting<'a> {
    fn begin(patience: Patience<'a>) -> Self {
        Self {
            patience,
            since: Instant::now(),
            remarked: None,
        }
    }

    fn is_over(&self) -> bool {
        self.since.elapsed() > self.patience.limit
    }

    fn wants_holder(&self) -> bool {
        self.is_over() || self.remarked.is_none_or(|last| last.elapsed() > REMARK)
    }

    /// Tells who is waited for; an error once that took too long.
    fn remark(&mut self, holder: Holder) -> Result<(), MigrateError> {
        let Holder { text, pid } = holder;
        if self.is_over() {
            return Err(MigrateError::Locked { holder: text, pid });
        }
        self.remarked = Some(Instant::now());
        self.patience.tell(&format!(
            "another process is migrating this database ({text}); waiting for it, {} at most",
            humantime::format_duration(self.patience.limit)
        ));
        Ok(())
    }
}

/// A locked file beside a SQLite database: sqlx's own lock does nothing there.
///
/// The database file itself is not locked: closing a second handle of it would
/// drop SQLite's own locks (<https://www.sqlite.org/howtocorrupt.html>, 2.2). The
/// file stays, because removing it would race with whoever waits for it.
pub(super) struct FileLock(#[expect(dead_code, reason = "the lock lives as long as it")] File);

impl FileLock {
    pub async fn take(
        database: &SqliteTarget,
        patience: Patience<'_>,
    ) -> Result<Self, MigrateError> {
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
        let mut waiting = Waiting::begin(patience);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            if waiting.wants_holder() {
                waiting.remark(Holder {
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
