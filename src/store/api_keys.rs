//! Provider keys, one a user and provider, and the count of attempts to save one.

use std::time::Duration;

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::domain::{ProviderKey, Timestamp, UserId};

use super::key_cipher::EncryptedKey;
use super::{Store, StoreError, reading, writing};

/// How long attempts are counted together, from the first one on.
pub const ATTEMPT_WINDOW: Duration = Duration::from_secs(3600);

const GET: &str =
    "SELECT id, encrypted_key, validation_status, last_validated_at, created_at, updated_at
     FROM user_api_keys WHERE user_id = $1 AND provider = $2";

const SAVE: &str = "INSERT INTO user_api_keys
         (user_id, provider, encrypted_key, validation_status, last_validated_at, created_at, updated_at)
     VALUES ($1, $2, $3, 'success', $4, $4, $4)
     ON CONFLICT (user_id, provider) DO UPDATE SET
         encrypted_key = excluded.encrypted_key,
         validation_status = excluded.validation_status,
         last_validated_at = excluded.last_validated_at,
         updated_at = excluded.updated_at";

const DELETE: &str = "DELETE FROM user_api_keys WHERE user_id = $1 AND provider = $2";

/// One statement, so that attempts at the same time are counted one after the
/// other by the database. `$2` is now, `$3` the latest start of a window that is over.
const ATTEMPT: &str = "INSERT INTO todoctl_attempts (user_id, started_at, attempts)
     VALUES ($1, $2, 1)
     ON CONFLICT (user_id) DO UPDATE SET
         attempts = CASE WHEN todoctl_attempts.started_at <= $3 THEN 1
                    ELSE todoctl_attempts.attempts + 1 END,
         started_at = CASE WHEN todoctl_attempts.started_at <= $3 THEN excluded.started_at
                      ELSE todoctl_attempts.started_at END
     RETURNING attempts, started_at";

const PRUNE_ATTEMPTS: &str = "DELETE FROM todoctl_attempts WHERE started_at <= $1";

/// A provider's key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The key, encrypted.
    pub encrypted: EncryptedKey,
    /// `success` or `failure`; `None` where an earlier service did not say.
    pub validation_status: Option<String>,
    /// When the provider last accepted it.
    pub last_validated_at: Option<Timestamp>,
    /// When the user's first key was saved.
    pub created_at: Timestamp,
    /// When this one was saved.
    pub updated_at: Timestamp,
}

/// The attempts of one user since the first one of the current window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// How many, the newest included.
    pub count: i64,
    /// When the window ends, and counting begins anew.
    pub ends_at: Timestamp,
}

impl<'r, R: Row> FromRow<'r, R> for StoredKey
where
    usize: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Timestamp: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            encrypted: EncryptedKey(row.try_get(1)?),
            validation_status: row.try_get(2)?,
            last_validated_at: row.try_get(3)?,
            created_at: row.try_get(4)?,
            updated_at: row.try_get(5)?,
        })
    }
}

impl Store {
    /// The user's key, if one is stored.
    pub async fn api_key(&self, user: &UserId) -> Result<Option<StoredKey>, StoreError> {
        reading!(self, |connection| {
            sqlx::query(GET)
                .persistent(connection.persistent())
                .bind(user.as_str())
                .bind(ProviderKey::PROVIDER)
                .fetch_optional(&mut *connection)
                .await
        } => |row| row
            .as_ref()
            .map(|row| {
                StoredKey::from_row(row).map_err(|source| {
                    StoreError::corrupt("user_api_keys", row.try_get(0).unwrap_or(0), source)
                })
            })
            .transpose())
    }

    /// Stores a key that the provider has just accepted, in place of an older one.
    pub async fn save_api_key(&self, user: &UserId, key: &EncryptedKey) -> Result<(), StoreError> {
        let now = self.clock.now();
        writing!(self, |connection| {
            sqlx::query(SAVE)
                .persistent(connection.persistent())
                .bind(user.as_str())
                .bind(ProviderKey::PROVIDER)
                .bind(key.0.as_str())
                .bind(now)
                .execute(&mut *connection)
                .await
        } => |_| Ok(()))
    }

    /// Deletes the user's key; `false` when there was none.
    pub async fn delete_api_key(&self, user: &UserId) -> Result<bool, StoreError> {
        writing!(self, |connection| {
            sqlx::query(DELETE)
                .persistent(connection.persistent())
                .bind(user.as_str())
                .bind(ProviderKey::PROVIDER)
                .execute(&mut *connection)
                .await
        } => |done| Ok(done.rows_affected() > 0))
    }

    /// Counts one more attempt of the user to save a key.
    pub async fn count_attempt(&self, user: &UserId) -> Result<Attempts, StoreError> {
        let now = self.clock.now();
        writing!(self, |connection| {
            sqlx::query_as::<_, (i64, Timestamp)>(ATTEMPT)
                .persistent(connection.persistent())
                .bind(user.as_str())
                .bind(now)
                .bind(now.saturating_sub(ATTEMPT_WINDOW))
                .fetch_one(&mut *connection)
                .await
        } => |(count, started_at)| Ok(Attempts {
            count,
            ends_at: started_at.saturating_add(ATTEMPT_WINDOW),
        }))
    }

    /// Forgets the attempts of windows that are over; how many users that were.
    pub async fn prune_attempts(&self) -> Result<u64, StoreError> {
        let over = self.clock.now().saturating_sub(ATTEMPT_WINDOW);
        writing!(self, |connection| {
            sqlx::query(PRUNE_ATTEMPTS)
                .persistent(connection.persistent())
                .bind(over)
                .execute(&mut *connection)
                .await
        } => |done| Ok(done.rows_affected()))
    }
}
