//! Refresh tokens: rows of the auth server's own table `user_sessions`.
//!
//! The table is never made or altered here, and it need not be there: without
//! it no refresh token is known. Its `token` is the lower-case hex SHA-256 of
//! the cookie's value; the plain values of web sessions that stand in the same
//! column are never looked for, so they are no refresh tokens.

use sha2::{Digest, Sha256};

use crate::domain::{Timestamp, UserId};

use super::dialect::{Sql, per_engine};
use super::{Store, StoreError, reading, writing};

const TABLE_EXISTS: Sql = Sql {
    postgres: "SELECT to_regclass('user_sessions') IS NOT NULL",
    sqlite: "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'user_sessions')",
};

/// The expiry in microseconds since 1970: a `timestamp` without a zone is UTC, and a
/// `timestamptz` or an ISO text is understood as well.
const FIND: Sql = per_engine!(
    [r#"SELECT CAST("userId" AS text), CAST("#] {
        postgres: r#"extract(epoch FROM "expiresAt") * 1000000 AS bigint)"#,
        sqlite: r#"round(unixepoch("expiresAt", 'subsec') * 1000000) AS integer)"#
    }
    => " FROM user_sessions WHERE token = $1"
);

const DELETE: &str = "DELETE FROM user_sessions WHERE token IN ($1, $2)";

/// What the database knows of a refresh token: its lower-case hex SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshTokenHash(String);

impl RefreshTokenHash {
    /// The hash of a cookie's value.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(hex::encode(Sha256::digest(token)))
    }
}

/// What a refresh token is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshToken {
    /// There is no such token.
    Unknown,
    /// There was one; its row is gone now.
    Expired,
    /// It stands for this user.
    Good(UserId),
}

impl Store {
    /// Whom a refresh token stands for. An expired one is deleted.
    pub async fn refresh_token(&self, hash: &RefreshTokenHash) -> Result<RefreshToken, StoreError> {
        if !self.has_user_sessions().await? {
            return Ok(RefreshToken::Unknown);
        }
        let row: Option<(String, Option<i64>)> = reading!(self, |connection| {
            sqlx::query_as::<_, (String, Option<i64>)>(connection.text(&FIND))
                .persistent(connection.persistent())
                .bind(hash.0.as_str())
                .fetch_optional(&mut *connection)
                .await
        } => |row| Ok::<_, StoreError>(row))?;
        // A row without an expiry, or of a user that nobody can be, is no refresh token.
        let Some((user, Some(expires_at))) = row else {
            return Ok(RefreshToken::Unknown);
        };
        if Timestamp::from_micros_clamped(expires_at) > self.clock.now() {
            return Ok(UserId::new(user).map_or(RefreshToken::Unknown, RefreshToken::Good));
        }
        // It is expired whether or not its row can be deleted.
        if let Err(error) = self.delete_user_sessions(hash, hash).await {
            tracing::warn!(%error, "an expired row of user_sessions could not be deleted");
        }
        Ok(RefreshToken::Expired)
    }

    /// Deletes the rows of these tokens, whoever owns them; unknown ones are no error.
    pub async fn forget_refresh_tokens(
        &self,
        hashes: &[RefreshTokenHash],
    ) -> Result<(), StoreError> {
        if hashes.is_empty() || !self.has_user_sessions().await? {
            return Ok(());
        }
        for pair in hashes.chunks(2) {
            self.delete_user_sessions(&pair[0], pair.last().unwrap_or(&pair[0]))
                .await?;
        }
        Ok(())
    }

    async fn has_user_sessions(&self) -> Result<bool, StoreError> {
        reading!(self, |connection| {
            sqlx::query_scalar::<_, bool>(connection.text(&TABLE_EXISTS))
                .persistent(connection.persistent())
                .fetch_one(&mut *connection)
                .await
        } => |exists| Ok(exists))
    }

    async fn delete_user_sessions(
        &self,
        one: &RefreshTokenHash,
        other: &RefreshTokenHash,
    ) -> Result<(), StoreError> {
        writing!(self, |connection| {
            sqlx::query(DELETE)
                .persistent(connection.persistent())
                .bind(one.0.as_str())
                .bind(other.0.as_str())
                .execute(&mut *connection)
                .await
        } => |_| Ok(()))
    }
}
