//! Refresh tokens: rows of the auth server's own table `user_sessions`.
//!
//! The table is never created or altered here, and it need not exist: without it no refresh
//! token is known. Its `token` is the lower-case hex SHA-256 of the cookie's value. The same
//! column has the plain values of web sessions. These are never looked up, so they cannot
//! serve as refresh tokens.

use sha2::{Digest, Sha256};

use crate::domain::{Timestamp, UserId};

use super::arg::args;
use super::database::Store;
use super::error::StoreError;
use super::sql::{Sql, per_engine};

/// Whether the table is there, in a word. SQLite takes the name of a column that does
/// not exist, in quotes, for a text, so it would find no token and fail nowhere.
static TABLE: Sql = per_engine!(
    ["SELECT CASE WHEN "] {
        postgres: "to_regclass('user_sessions') IS NULL THEN 'missing'",
        sqlite: "NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'user_sessions')
            THEN 'missing' WHEN (SELECT count(*) FROM pragma_table_info('user_sessions')
            WHERE lower(name) IN ('token', 'userid', 'expiresat')) < 3 THEN 'other_columns'"
    }
    => " ELSE 'ready' END AS state"
);

/// The expiry in microseconds since 1970. A `timestamp` without a zone is UTC; a `timestamptz`
/// or an ISO text is accepted as well. Values outside the range of [`Timestamp`] (`infinity`)
/// become the nearest end, because PostgreSQL cannot cast them to an integer.
static FIND: Sql = per_engine!(
    [r#"SELECT CAST("userId" AS text) AS user_id, CAST("#] {
        postgres: r#"CASE WHEN "expiresAt" IS NOT NULL THEN
            greatest(least(extract(epoch FROM "expiresAt") * 1000000, 253402300799999999), -62135596800000000)
            END AS bigint)"#,
        sqlite: r#"round(unixepoch("expiresAt", 'subsec') * 1000000) AS integer)"#
    }
    => " AS expires_at FROM user_sessions WHERE token = $1"
);

static DELETE: Sql = Sql::Common("DELETE FROM user_sessions WHERE token IN ($1, $2)");

/// The lower-case hex SHA-256 of a refresh token. The database does not store the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshTokenHash(String);

impl RefreshTokenHash {
    /// The hash of a cookie's value.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(hex::encode(Sha256::digest(token)))
    }
}

/// Whether a refresh token is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshToken {
    /// There is no such token.
    Unknown(UnknownToken),
    /// It has expired; its row was deleted.
    Expired,
    /// It identifies this user.
    Good(UserId),
}

/// What is missing, so that there is no such token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownToken {
    /// A valid row that has it.
    Row,
    /// The table.
    Table,
    /// A column of the table.
    Column,
}

impl Store {
    /// Looks up a refresh token. An expired one is deleted.
    pub async fn refresh_token(&self, hash: &RefreshTokenHash) -> Result<RefreshToken, StoreError> {
        if let Some(why) = self.lacks_user_sessions().await? {
            return Ok(RefreshToken::Unknown(why));
        }
        let found = self.read(&FIND, &args![hash.0.as_str()]).await?;
        let Some(row) = found.rows.first() else {
            return Ok(RefreshToken::Unknown(UnknownToken::Row));
        };
        // A refresh token always has an expiry.
        let Some(expires_at) = row.get("expires_at")? else {
            return Ok(RefreshToken::Unknown(UnknownToken::Row));
        };
        if Timestamp::from_micros_clamped(expires_at) > self.now() {
            // Other programs write this table, so the user id may be invalid.
            let user = UserId::new(row.get::<String>("user_id")?);
            let none = RefreshToken::Unknown(UnknownToken::Row);
            return Ok(user.map_or(none, RefreshToken::Good));
        }
        // It has expired, whether or not its row can be deleted.
        if let Err(error) = self.delete_user_sessions(hash, hash).await {
            tracing::warn!(%error, "an expired row of user_sessions could not be deleted");
        }
        Ok(RefreshToken::Expired)
    }

    /// Deletes the rows of these tokens, also if they belong to different users. Unknown tokens are
    /// not an error.
    pub async fn forget_refresh_tokens(
        &self,
        hashes: &[RefreshTokenHash],
    ) -> Result<(), StoreError> {
        if hashes.is_empty() || self.lacks_user_sessions().await? == Some(UnknownToken::Table) {
            return Ok(());
        }
        for pair in hashes.chunks(2) {
            self.delete_user_sessions(&pair[0], pair.last().unwrap_or(&pair[0]))
                .await?;
        }
        Ok(())
    }

    /// Why no token can be found in the table.
    async fn lacks_user_sessions(&self) -> Result<Option<UnknownToken>, StoreError> {
        let found = self.read(&TABLE, &args![]).await?;
        let word: String = found.value("state")?;
        Ok(match word.as_str() {
            "missing" => Some(UnknownToken::Table),
            "other_columns" => Some(UnknownToken::Column),
            _ => None,
        })
    }

    async fn delete_user_sessions(
        &self,
        one: &RefreshTokenHash,
        other: &RefreshTokenHash,
    ) -> Result<(), StoreError> {
        let args = args![one.0.as_str(), other.0.as_str()];
        self.write(&DELETE, &args).await.map(drop)
    }
}
