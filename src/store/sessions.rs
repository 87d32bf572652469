//! Session tokens: opaque bearer values that stand for a user until they expire
//! or are revoked. Only an HMAC of a token is ever stored.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::config::{RotatingSecret, Secret};
use crate::domain::{Timestamp, UserId};

use super::{Store, StoreError, reading, writing};

const INSERT: &str =
    "INSERT INTO todoctl_sessions (token_hash, user_id, label, created_at, expires_at)
     VALUES ($1, $2, $3, $4, $5) RETURNING id";

/// `$1` and `$2` are the hashes under the current and the previous secret.
const FIND: &str = "SELECT user_id FROM todoctl_sessions
     WHERE token_hash IN ($1, $2) AND revoked_at IS NULL AND expires_at > $3";

const LIST: &str = "SELECT id, user_id, label, created_at, expires_at, revoked_at
     FROM todoctl_sessions
     WHERE CAST($1 AS text) IS NULL OR user_id = $1
     ORDER BY id";

const REVOKE: &str =
    "UPDATE todoctl_sessions SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";

/// The lower-case hex HMAC-SHA256 of a token: what the database knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHash(String);

impl SessionHash {
    /// The hash of `token` under one secret.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "HMAC takes keys of any length")]
    pub fn new(secret: &Secret, token: &str) -> Self {
        #[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(token.as_bytes());
        Self(hex::encode(mac.finalize().into_bytes()))
    }
}

/// A session about to be stored.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The hash of its token under the current secret.
    pub hash: SessionHash,
    /// Whom the token stands for.
    pub user: UserId,
    /// What the operator calls it.
    pub label: Option<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A stored session. The token cannot be had back from it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Session {
    /// Its number, for `session revoke`.
    pub id: i64,
    /// Whom it stands for.
    pub user_id: String,
    /// What the operator calls it.
    pub label: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

impl<'r, R: Row> FromRow<'r, R> for Session
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Timestamp: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            label: row.try_get(2)?,
            created_at: row.try_get(3)?,
            expires_at: row.try_get(4)?,
            revoked_at: row.try_get(5)?,
        })
    }
}

impl Store {
    /// Stores a session and returns its number.
    pub async fn create_session(&self, session: &NewSession) -> Result<i64, StoreError> {
        let now = self.clock.now();
        writing!(self, |connection| {
            sqlx::query_scalar::<_, i64>(INSERT)
                .persistent(connection.persistent())
                .bind(session.hash.0.as_str())
                .bind(session.user.as_str())
                .bind(session.label.as_deref())
                .bind(now)
                .bind(session.expires_at)
                .fetch_one(&mut *connection)
                .await
        } => |id| Ok(id))
    }

    /// Whom `token` stands for, if it is a session that has neither expired nor been revoked.
    pub async fn session_user(
        &self,
        secrets: &RotatingSecret,
        token: &str,
    ) -> Result<Option<UserId>, StoreError> {
        let current = SessionHash::new(&secrets.current, token);
        let previous = secrets
            .previous
            .first()
            .map_or_else(|| current.clone(), |secret| SessionHash::new(secret, token));
        let now = self.clock.now();
        reading!(self, |connection| {
            sqlx::query_scalar::<_, String>(FIND)
                .persistent(connection.persistent())
                .bind(current.0.as_str())
                .bind(previous.0.as_str())
                .bind(now)
                .fetch_optional(&mut *connection)
                .await
        } => |user| Ok(user.and_then(|user| UserId::new(user).ok())))
    }

    /// All sessions, or one user's, oldest first; ended ones too.
    pub async fn sessions(&self, user: Option<&UserId>) -> Result<Vec<Session>, StoreError> {
        reading!(self, |connection| {
            sqlx::query_as::<_, Session>(LIST)
                .persistent(connection.persistent())
                .bind(user.map(UserId::as_str))
                .fetch_all(&mut *connection)
                .await
        } => |sessions| Ok(sessions))
    }

    /// Ends a session now; `false` when there is none of that number or it was revoked before.
    pub async fn revoke_session(&self, id: i64) -> Result<bool, StoreError> {
        let now = self.clock.now();
        writing!(self, |connection| {
            sqlx::query(REVOKE)
                .persistent(connection.persistent())
                .bind(id)
                .bind(now)
                .execute(&mut *connection)
                .await
        } => |done| Ok(done.rows_affected() > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract 13: lower-case hex of HMAC-SHA256; a published vector.
    #[test]
    fn the_hash_of_a_token() {
        let text = "The quick brown fox jumps over the lazy dog";
        assert_eq!(
            SessionHash::new(&Secret::new("key"), text).0,
            "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
        );
    }
}
