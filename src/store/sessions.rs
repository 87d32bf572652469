//! Session tokens: opaque bearer values that identify a user until they expire or are revoked.
//! Only an HMAC of a token is ever stored.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::{RotatingSecret, Secret};
use crate::domain::{Timestamp, UserId};

use super::arg::args;
use super::batch::{Answers, Batched};
use super::database::Store;
use super::error::StoreError;
use super::row::record;
use super::sql::Sql;

static INSERT: Sql = Sql::Common(
    "INSERT INTO todoctl_sessions (token_hash, user_id, label, created_at, expires_at)
     VALUES ($1, $2, $3, $4, $5) RETURNING id",
);

/// `$1` and `$2` are the hashes under the current and the previous secret.
static FIND: Batched = Batched {
    single: Sql::Common(
        "SELECT user_id FROM todoctl_sessions
         WHERE token_hash IN ($1, $2) AND revoked_at IS NULL AND expires_at > $3",
    ),
    several: "SELECT user_id, request.number FROM unnest((SELECT $1::text[]), $2::text[], $3::timestamptz[])
            WITH ORDINALITY AS request (current_hash, previous_hash, now, number)
         JOIN todoctl_sessions AS session
            ON session.token_hash IN (request.current_hash, request.previous_hash)
            AND session.revoked_at IS NULL AND session.expires_at > request.now",
    several_in_json: None,
    most: 64,
    writes: false,
    answers: Answers::Numbered,
};

static HAS_ENDED: Sql =
    Sql::Common("SELECT count(*) AS n FROM todoctl_sessions WHERE token_hash IN ($1, $2)");

record! {
    session_columns => Session in "todoctl_sessions" {
        id,
        user_id,
        label,
        created_at,
        expires_at,
        revoked_at,
    }
}

static LIST: Sql = Sql::Common(concat!(
    "SELECT ",
    session_columns!(),
    " FROM todoctl_sessions WHERE CAST($1 AS text) IS NULL OR user_id = $1 ORDER BY id"
));

static REVOKE: Sql =
    Sql::Common("UPDATE todoctl_sessions SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");

/// The lower-case hex HMAC-SHA256 of a token, the only form in which the database stores it.
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
    /// The user that the token identifies.
    pub user: UserId,
    /// The operator's name for it.
    pub label: Option<String>,
    /// The token is valid until this time.
    pub expires_at: Timestamp,
}

/// A stored session. Its token cannot be recovered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Session {
    /// The number that `session revoke` takes.
    pub id: i64,
    pub user_id: String,
    /// The operator's name for it.
    pub label: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl Store {
    /// Stores a session and returns its number.
    pub async fn create_session(&self, session: &NewSession) -> Result<i64, StoreError> {
        let NewSession {
            hash,
            user,
            label,
            expires_at,
        } = session;
        let args = args![
            hash.0.as_str(),
            user,
            label.as_deref(),
            self.now(),
            *expires_at
        ];
        Ok(self.write(&INSERT, &args).await?.value("id")?)
    }

    /// The user of `token`, if it is a session that has neither expired nor been revoked.
    pub async fn session_user(
        &self,
        secrets: &RotatingSecret,
        token: &str,
    ) -> Result<Option<UserId>, StoreError> {
        let [current, previous] = hashes(secrets, token);
        let args = args![current, previous, self.now()];
        let found = self.share(&FIND, &args).await?;
        let found = found.column::<String>("user_id")?;
        Ok(found.into_iter().find_map(|user| UserId::new(user).ok()))
    }

    /// Whether a token that is no session now was one: it has expired or was revoked.
    pub async fn session_has_ended(
        &self,
        secrets: &RotatingSecret,
        token: &str,
    ) -> Result<bool, StoreError> {
        let [current, previous] = hashes(secrets, token);
        let found = self.read(&HAS_ENDED, &args![current, previous]).await?;
        Ok(found.value::<i64>("n")? > 0)
    }

    /// The sessions of one user, or of all, oldest first; including those that have ended.
    pub async fn sessions(&self, user: Option<&UserId>) -> Result<Vec<Session>, StoreError> {
        self.read(&LIST, &args![user]).await?.all()
    }

    /// Ends a session now; `false` if there is none with this number or it was revoked before.
    pub async fn revoke_session(&self, id: i64) -> Result<bool, StoreError> {
        Ok(self.write(&REVOKE, &args![id, self.now()]).await?.affected > 0)
    }
}

/// The hashes of a token under the current and the previous secret.
fn hashes(secrets: &RotatingSecret, token: &str) -> [String; 2] {
    let current = SessionHash::new(&secrets.current, token).0;
    let previous = secrets.previous.first().map_or_else(
        || current.clone(),
        |secret| SessionHash::new(secret, token).0,
    );
    [current, previous]
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
