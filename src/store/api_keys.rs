//! Provider keys, one for each user and provider, and the count of attempts to save one.

use std::time::Duration;

use crate::domain::{EncryptedKey, ProviderKey, Timestamp, UserId};

use super::arg::args;
use super::database::Store;
use super::error::StoreError;
use super::row::{Columns, EngineRow, FromRow};
use super::sql::Sql;

/// The window, from the first attempt on, in which attempts are counted together.
const ATTEMPT_WINDOW: Duration = Duration::from_secs(3600);

static GET: Sql = Sql::Common(
    "SELECT id, encrypted_key, validation_status, last_validated_at, created_at, updated_at
     FROM user_api_keys WHERE user_id = $1 AND provider = $2",
);

static SAVE: Sql = Sql::Common("INSERT INTO user_api_keys
         (user_id, provider, encrypted_key, validation_status, last_validated_at, created_at, updated_at)
     VALUES ($1, $2, $3, 'success', $4, $4, $4)
     ON CONFLICT (user_id, provider) DO UPDATE SET
         encrypted_key = excluded.encrypted_key,
         validation_status = excluded.validation_status,
         last_validated_at = excluded.last_validated_at,
         updated_at = excluded.updated_at");

static DELETE: Sql = Sql::Common("DELETE FROM user_api_keys WHERE user_id = $1 AND provider = $2");

/// One statement, so that the database counts simultaneous attempts one after the other.
/// `$2` is now, `$3` the latest start of a window that is over, and `$4` the latest start that a
/// clock of another machine explains: a later one would lock the user out until then.
static ATTEMPT: Sql = Sql::Common(
    "INSERT INTO todoctl_attempts (user_id, started_at, attempts)
     VALUES ($1, $2, 1)
     ON CONFLICT (user_id) DO UPDATE SET
         attempts = CASE WHEN todoctl_attempts.started_at > $3
                              AND todoctl_attempts.started_at <= $4
                    THEN todoctl_attempts.attempts + 1 ELSE 1 END,
         started_at = CASE WHEN todoctl_attempts.started_at > $3
                                AND todoctl_attempts.started_at <= $4
                      THEN todoctl_attempts.started_at ELSE excluded.started_at END
     RETURNING attempts, started_at",
);

/// Windows that are over, and those that begin too late.
static PRUNE_ATTEMPTS: Sql =
    Sql::Common("DELETE FROM todoctl_attempts WHERE started_at <= $1 OR started_at > $2");

/// A provider's key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The key, encrypted.
    pub encrypted: EncryptedKey,
    /// `success` or `failure`; `None` if an earlier service stored neither.
    pub validation_status: Option<String>,
    /// When the provider last accepted it.
    pub last_validated_at: Option<Timestamp>,
    /// When the user first saved a key.
    pub created_at: Timestamp,
    /// When this key was saved.
    pub updated_at: Timestamp,
}

/// The attempts of one user since the first one of the current window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Including the newest.
    pub count: i64,
    /// When the window ends and counting starts again.
    pub ends_at: Timestamp,
}

impl FromRow for StoredKey {
    const TABLE: &'static str = "user_api_keys";

    fn from_row<R: EngineRow>(columns: &mut Columns<'_, R>) -> Result<Self, sqlx::Error> {
        Ok(Self {
            encrypted: EncryptedKey::new(columns.get("encrypted_key")?),
            validation_status: columns.get("validation_status")?,
            last_validated_at: columns.get("last_validated_at")?,
            created_at: columns.get("created_at")?,
            updated_at: columns.get("updated_at")?,
        })
    }
}

impl Store {
    /// The user's key, if one is stored.
    pub async fn api_key(&self, user: &UserId) -> Result<Option<StoredKey>, StoreError> {
        self.read(&GET, &args![user, ProviderKey::PROVIDER])
            .await?
            .optional()
    }

    /// Stores a key that the provider has just accepted, in place of an older one.
    pub async fn save_api_key(&self, user: &UserId, key: &EncryptedKey) -> Result<(), StoreError> {
        let args = args![user, ProviderKey::PROVIDER, key.as_str(), self.now()];
        self.write(&SAVE, &args).await.map(drop)
    }

    /// Deletes the user's key; `false` if there was none.
    pub async fn delete_api_key(&self, user: &UserId) -> Result<bool, StoreError> {
        let args = args![user, ProviderKey::PROVIDER];
        Ok(self.write(&DELETE, &args).await?.affected > 0)
    }

    /// Counts one more attempt of the user to save a key.
    pub async fn count_attempt(&self, user: &UserId) -> Result<Attempts, StoreError> {
        let now = self.now();
        let args = args![
            user,
            now,
            now.saturating_sub(ATTEMPT_WINDOW),
            now.saturating_add(ATTEMPT_WINDOW),
        ];
        let counted = self.write(&ATTEMPT, &args).await?;
        let started_at: Timestamp = counted.value("started_at")?;
        Ok(Attempts {
            count: counted.value("attempts")?,
            ends_at: started_at.saturating_add(ATTEMPT_WINDOW),
        })
    }

    /// Deletes the counts of windows that are over, and returns how many there were.
    pub async fn prune_attempts(&self) -> Result<u64, StoreError> {
        let now = self.now();
        let args = args![
            now.saturating_sub(ATTEMPT_WINDOW),
            now.saturating_add(ATTEMPT_WINDOW),
        ];
        Ok(self.write(&PRUNE_ATTEMPTS, &args).await?.affected)
    }
}
