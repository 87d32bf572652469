//! Idempotency keys: a repeated request with the same key gets the first answer.
//!
//! The key, its task and the answer are written in one transaction, so none exists without the
//! others. A concurrent request with the same key waits for the key's row; on SQLite, for the
//! only writer.

use std::time::Duration;

use crate::domain::{IdempotencyKey, NewTask, Task};

use super::arg::args;
use super::database::Store;
use super::error::StoreError;
use super::sql::Sql;
use super::tasks::{INSERT, insert_args};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The most keys that one statement deletes, so that it does not hold locks for long.
const BATCH: i64 = 1000;

/// Takes a key that is new or has expired; no row if it is in use.
static CLAIM: Sql = Sql::Common(
    "INSERT INTO todoctl_idempotency_keys (user_id, key, fingerprint, answer, created_at)
     VALUES ($1, $2, $3, '', $4)
     ON CONFLICT (user_id, key) DO UPDATE SET
        fingerprint = excluded.fingerprint, answer = '', created_at = excluded.created_at
     WHERE todoctl_idempotency_keys.created_at <= $5
     RETURNING created_at",
);

static FIND: Sql = Sql::Common(
    "SELECT fingerprint, answer FROM todoctl_idempotency_keys WHERE user_id = $1 AND key = $2",
);

static KEEP: Sql =
    Sql::Common("UPDATE todoctl_idempotency_keys SET answer = $3 WHERE user_id = $1 AND key = $2");

/// The outer condition is for a key that was claimed again while this waited for its row.
static PRUNE: Sql = Sql::Common(
    "DELETE FROM todoctl_idempotency_keys
     WHERE created_at <= $1 AND (user_id, key) IN (
        SELECT user_id, key FROM todoctl_idempotency_keys WHERE created_at <= $1 LIMIT $2)",
);

/// The outcome of a request with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// The task is new; its answer.
    Created(String),
    /// The task was created before; the answer that was given then.
    Repeated(String),
    /// The key was used for another request.
    Reused,
}

impl Store {
    /// Stores a new task, unless its owner did so under this key within 24 hours.
    ///
    /// `fingerprint`, a digest of the whole request, identifies the request. The result of
    /// `answer` for the new task is stored and returned to later requests.
    pub async fn create_task_once(
        &self,
        task: &NewTask,
        key: &IdempotencyKey,
        fingerprint: &str,
        answer: impl Fn(&Task) -> String + Send + Sync,
    ) -> Result<Once, StoreError> {
        let now = self.now();
        let insert = insert_args(task, now);
        let (user, key) = (&task.user_id, key.as_str());
        let claim = args![user, key, fingerprint, now, now.saturating_sub(KEPT)];
        self.transaction(|| {
            async |tx| {
                while tx.run(&CLAIM, &claim).await?.rows.is_empty() {
                    // Without a row the key has expired and was pruned meanwhile: it is free now.
                    let found = tx.run(&FIND, &args![user, key]).await?;
                    if let Some(row) = found.rows.first() {
                        let kept: String = row.get("fingerprint")?;
                        return Ok(if kept == fingerprint {
                            Once::Repeated(row.get("answer")?)
                        } else {
                            Once::Reused
                        });
                    }
                }
                let created: Task = tx.run(INSERT, &insert).await?.one()?;
                let answer = answer(&created);
                tx.run(&KEEP, &args![user, key, answer.as_str()]).await?;
                Ok(Once::Created(answer))
            }
        })
        .await
    }

    /// Deletes expired keys and returns how many there were.
    pub async fn prune_idempotency_keys(&self) -> Result<u64, StoreError> {
        let expired = self.now().saturating_sub(KEPT);
        let mut pruned = 0;
        loop {
            let batch = self.write(&PRUNE, &args![expired, BATCH]).await?.affected;
            pruned += batch;
            if batch < BATCH.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }
}
