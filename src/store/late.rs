//! Changes that reach PostgreSQL too late.
//!
//! A request that was answered must not take effect later, also where the network or a pooler has
//! kept its statement, or the COMMIT of its transaction. A time limit of the server does not help:
//! it begins when the statement arrives. So the statement or the COMMIT holds the latest time, and
//! the server compares it with its clock: where that has passed, a division by zero fails.
//!
//! The time is the server's, as it was read when the connection was opened, so no two clocks need to
//! agree. Where the server's clock is set forward later, changes are refused that are not late, and
//! made again on a new connection. Where it is set back, a change may be late by as much.

use std::time::{Duration, Instant};

use crate::domain::Timestamp;

use super::sql::Sql;

/// So long before the deadline the server accepts no more changes, so that the answer to the last
/// one has arrived by then.
pub(super) const COMMIT_TIME: Duration = Duration::from_millis(100);

/// The server's clock, told by this process's: neither needs to be right.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerClock {
    read_at: Instant,
    micros: i64,
}

impl ServerClock {
    /// The clock that has just answered with `micros` since 1970.
    pub fn shows(micros: i64) -> Self {
        Self {
            read_at: Instant::now(),
            micros,
        }
    }

    /// What the server's clock shows at `instant`, less the time that its answer took.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let later = micros(instant.saturating_duration_since(self.read_at));
        let earlier = micros(self.read_at.saturating_duration_since(instant));
        Timestamp::from_micros_clamped(self.micros.saturating_add(later).saturating_sub(earlier))
    }
}

/// The same statement, which PostgreSQL refuses once its clock has passed the time bound as
/// `$position`: the division fails, for each row that was changed, after its lock was taken.
pub(super) fn in_time(sql: &Sql, position: usize) -> Sql {
    let text = sql.for_postgres();
    let text = text.as_str();
    let next = if text.contains(" RETURNING ") {
        ","
    } else {
        " RETURNING"
    };
    let text = format!(
        "{text}{next} 1 / CASE WHEN clock_timestamp() < ${position} THEN 1 ELSE 0 END AS in_time"
    );
    Sql::Built(text.into())
}

/// A COMMIT that PostgreSQL refuses once its clock has passed `last`. It is one message, of which
/// the server leaves out the rest after an error.
pub(super) fn commit_in_time(last: Timestamp) -> String {
    format!(
        "SELECT 1 / CASE WHEN extract(epoch FROM clock_timestamp()) * 1000000 < {} THEN 1 ELSE 0 END;
         COMMIT",
        last.micros()
    )
}

/// Whether the server refused a change because it was late.
pub(super) fn is_late(error: &sqlx::Error) -> bool {
    // Division by zero; no other statement of the store divides.
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "22012")
}
