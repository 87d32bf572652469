//! What limits the statements on a SQLite file: their deadline, and the wait for another process
//! to unlock it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::SqliteConnection;

use super::connection::Connection;
use super::error::is_file_locked;

/// SQLite asks this often, in instructions of its virtual machine, whether to go on.
const INSTRUCTIONS: i32 = 5_000;

/// How long a statement waits for a file that was locked for too long before.
const LOCKED_WAIT: Duration = Duration::from_secs(1);

/// Ends SQLite's statement in progress, and refuses a commit, after a deadline.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    start: Instant,
    /// In microseconds since `start`.
    deadline: Arc<AtomicU64>,
}

impl Interrupt {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            deadline: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// What runs now, or next, must have ended by `deadline`.
    pub fn set(&self, deadline: Instant) {
        let micros = deadline.saturating_duration_since(self.start).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.deadline.store(micros, Ordering::Relaxed);
    }

    fn is_due(&self) -> bool {
        self.start.elapsed().as_micros() > u128::from(self.deadline.load(Ordering::Relaxed))
    }
}

/// The limits of one connection.
pub(super) struct FileLimits {
    pub interrupt: Interrupt,
    /// How long a statement waits for another process to unlock the file.
    lock_wait: Duration,
    /// Whether the latest statement has waited for that in vain.
    is_locked: bool,
}

impl FileLimits {
    /// Limits the statements of a connection, which waits for `lock_wait` for a lock.
    pub async fn of(
        connection: &mut SqliteConnection,
        lock_wait: Duration,
    ) -> Result<Self, sqlx::Error> {
        let interrupt = Interrupt::new();
        let (statement, commit) = (interrupt.clone(), interrupt.clone());
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(INSTRUCTIONS, move || !statement.is_due());
        // A short statement ends before the handler is asked, after however long a wait for the
        // lock of another process. What is late is rolled back.
        handle.set_commit_hook(move || !commit.is_due());
        drop(handle);
        Ok(Self {
            interrupt,
            lock_wait,
            is_locked: false,
        })
    }

    /// The first statement that finds the file locked waits, because most locks are short. Where
    /// that was in vain, the next ones do not wait as long, until one succeeds.
    pub async fn expect_lock<T>(
        &mut self,
        connection: &mut Connection,
        outcome: &Result<T, sqlx::Error>,
    ) {
        let is_locked = outcome.as_ref().is_err_and(is_file_locked);
        if is_locked == self.is_locked {
            return;
        }
        let wait = if is_locked {
            self.lock_wait.min(LOCKED_WAIT)
        } else {
            self.lock_wait
        };
        let setting = format!("PRAGMA busy_timeout = {}", wait.as_millis());
        match connection.run_script(&setting).await {
            Ok(_) => self.is_locked = is_locked,
            Err(error) => tracing::debug!(%error, "the wait for a lock was not changed"),
        }
    }
}
