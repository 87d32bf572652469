//! Creating once: what a client that asks again under the same key is told.
//!
//! The key, its task and the answer are written in one transaction, so that
//! there is never one without the others. A twin that comes meanwhile waits for
//! the key's row, on SQLite for the only writer.

use std::time::Duration;

use crate::domain::{IdempotencyKey, NewTask, Task};

use super::tasks::{bind_insert, task_of};
use super::transaction::transaction;
use super::{Store, StoreError, writing};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Keys deleted by one statement, so that none holds its locks for long.
const BATCH: i64 = 1000;

/// Takes a key that is new or has expired; no row when it is in use.
const CLAIM: &str =
    "INSERT INTO todoctl_idempotency_keys (user_id, key, fingerprint, answer, created_at)
     VALUES ($1, $2, $3, '', $4)
     ON CONFLICT (user_id, key) DO UPDATE SET
        fingerprint = excluded.fingerprint, answer = '', created_at = excluded.created_at
     WHERE todoctl_idempotency_keys.created_at <= $5
     RETURNING created_at";

const FIND: &str =
    "SELECT fingerprint, answer FROM todoctl_idempotency_keys WHERE user_id = $1 AND key = $2";

const KEEP: &str =
    "UPDATE todoctl_idempotency_keys SET answer = $3 WHERE user_id = $1 AND key = $2";

/// The outer condition is for a key that was claimed anew while this waited for its row.
const PRUNE: &str = "DELETE FROM todoctl_idempotency_keys
     WHERE created_at <= $1 AND (user_id, key) IN (
        SELECT user_id, key FROM todoctl_idempotency_keys WHERE created_at <= $1 LIMIT $2)";

/// What became of a request under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// The task is new; its answer.
    Created(String),
    /// The task was created before; the answer that was given then.
    Repeated(String),
    /// The key was used for something else.
    Reused,
}

impl Store {
    /// Stores a new task, unless its owner did so under this key within 24 hours.
    ///
    /// `fingerprint` tells whether it is the same request. What `answer` makes of
    /// the new task is kept and given again.
    pub async fn create_task_once(
        &self,
        task: &NewTask,
        key: &IdempotencyKey,
        fingerprint: &str,
        answer: impl FnOnce(&Task) -> String + Send,
    ) -> Result<Once, StoreError> {
        let now = self.clock.now();
        let expired = now.saturating_sub(KEPT);
        transaction!(self, |connection| {
            loop {
                let claimed = sqlx::query(CLAIM)
                    .persistent(connection.persistent())
                    .bind(task.user_id.as_str())
                    .bind(key.as_str())
                    .bind(fingerprint)
                    .bind(now)
                    .bind(expired)
                    .fetch_optional(&mut *connection)
                    .await?;
                if claimed.is_some() {
                    break;
                }
                let found = sqlx::query_as::<_, (String, String)>(FIND)
                    .persistent(connection.persistent())
                    .bind(task.user_id.as_str())
                    .bind(key.as_str())
                    .fetch_optional(&mut *connection)
                    .await?;
                match found {
                    Some((kept, answer)) if kept == fingerprint => {
                        return Ok(Once::Repeated(answer));
                    }
                    Some(_) => return Ok(Once::Reused),
                    // It expired and was pruned between the two statements: it is free now.
                    None => {}
                }
            }
            let row = bind_insert!(connection, task, now)
                .fetch_one(&mut *connection)
                .await?;
            let answer = answer(&task_of(&row)?);
            sqlx::query(KEEP)
                .persistent(connection.persistent())
                .bind(task.user_id.as_str())
                .bind(key.as_str())
                .bind(answer.as_str())
                .execute(&mut *connection)
                .await?;
            Ok(Once::Created(answer))
        })
    }

    /// Deletes expired keys and returns how many there were.
    pub async fn prune_idempotency_keys(&self) -> Result<u64, StoreError> {
        let expired = self.clock.now().saturating_sub(KEPT);
        let mut pruned = 0;
        loop {
            let batch = writing!(self, |connection| {
                sqlx::query(PRUNE)
                    .persistent(connection.persistent())
                    .bind(expired)
                    .bind(BATCH)
                    .execute(&mut *connection)
                    .await
            } => |done| Ok(done.rows_affected()))?;
            pruned += batch;
            if batch < BATCH.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }
}
