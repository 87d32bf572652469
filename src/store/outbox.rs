//! The outbox: mails written in the transaction that made their notification, sent after
//! its commit. [`crate::jobs::outbox`] sends them.
//!
//! A mail is claimed before it is sent: its `due_at` moves ahead, so that no other process
//! takes it meanwhile, and a process that dies leaves it to be claimed again. `attempts`
//! counts the claims; whoever ends one names it, so that a claim that ran out ends nothing.

use std::collections::HashMap;

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::domain::{NotificationId, Timestamp};

use super::dialect::{Sql, per_engine};
use super::transaction::transaction;
use super::{Store, StoreError, reading, writing};

const CLAIM: Sql = per_engine!(
    ["UPDATE todoctl_outbox SET attempts = attempts + 1, due_at = $2 WHERE id IN (
        SELECT id FROM todoctl_outbox WHERE state = 'pending' AND due_at <= $1 AND expires_at > $1
        ORDER BY due_at, id LIMIT $3"] {
        postgres: " FOR UPDATE SKIP LOCKED",
        sqlite: ""
    }
    => ") RETURNING id, notification_id, user_id, subject, body, idempotency_key, attempts"
);

const END: &str =
    "UPDATE todoctl_outbox SET state = $3, due_at = $4, finished_at = $5, last_error = $6
     WHERE id = $1 AND attempts = $2 AND state = 'pending'";

const MARK_MAILED: &str = "UPDATE notifications SET sent_email = TRUE WHERE id = $1";

const STATUS: &str = "SELECT
        COALESCE(SUM(CASE WHEN state = 'pending' THEN 1 ELSE 0 END), 0),
        COALESCE(SUM(CASE WHEN state = 'dead' THEN 1 ELSE 0 END), 0),
        MIN(CASE WHEN state = 'pending' AND expires_at > $1 THEN due_at END)
     FROM todoctl_outbox";

/// What nobody could send in time.
const EXPIRE: &str =
    "UPDATE todoctl_outbox SET state = 'dead', finished_at = $1, last_error = 'expired'
     WHERE state = 'pending' AND expires_at <= $1";

const PRUNE: &str = "DELETE FROM todoctl_outbox
     WHERE (state IN ('sent', 'skipped') AND finished_at <= $1) OR (state = 'dead' AND finished_at <= $2)";

/// Whether the auth server's table of accounts is here and may be read.
const HAS_ACCOUNTS: Sql = per_engine!(
    ["SELECT count(*) = 2 FROM "] {
        postgres: "pg_catalog.pg_attribute WHERE attrelid = to_regclass('\"user\"') AND attnum > 0
           AND NOT attisdropped AND has_column_privilege(attrelid, attnum, 'SELECT') AND attname",
        sqlite: "pragma_table_info('user') WHERE name"
    }
    => " IN ('id', 'email')"
);

/// `$1` is a JSON array of user ids. The auth server decides of which type ids are.
const ADDRESSES: Sql = per_engine!(
    [r#"SELECT CAST(id AS text), CAST(email AS text) FROM "user"
     WHERE email IS NOT NULL AND CAST(id AS text) IN (SELECT "#] {
        postgres: "value FROM json_array_elements_text($1::json))",
        sqlite: "value FROM json_each($1))"
    }
    => ""
);

/// A claimed mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMail {
    /// Its number.
    pub id: i64,
    /// The notification that it is about.
    pub notification_id: NotificationId,
    /// Whom it is for.
    pub user_id: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub body: String,
    /// What tells the provider that two tries are of one mail.
    pub idempotency_key: String,
    /// This try's number, from 1.
    pub attempt: i32,
}

impl<'r, R: Row> FromRow<'r, R> for OutboxMail
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    i32: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get(0)?,
            notification_id: row.try_get(1)?,
            user_id: row.try_get(2)?,
            subject: row.try_get(3)?,
            body: row.try_get(4)?,
            idempotency_key: row.try_get(5)?,
            attempt: row.try_get(6)?,
        })
    }
}

/// What became of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxEnd {
    /// The provider took it.
    Sent,
    /// Nobody to send it to; why.
    Skipped(&'static str),
    /// To be tried again at this time; why.
    Later(Timestamp, String),
    /// Given up; why.
    Dead(String),
}

/// The outbox at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxStatus {
    /// Mails that wait.
    pub pending: i64,
    /// Mails that were given up.
    pub dead: i64,
    /// When the first of those that wait may be tried.
    pub next: Option<Timestamp>,
}

impl<'r, R: Row> FromRow<'r, R> for OutboxStatus
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Timestamp: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            pending: row.try_get(0)?,
            dead: row.try_get(1)?,
            next: row.try_get(2)?,
        })
    }
}

impl Store {
    /// Takes at most `limit` mails that are due, so that nobody else tries them before `until`.
    pub async fn claim_mails(
        &self,
        until: Timestamp,
        limit: i64,
    ) -> Result<Vec<OutboxMail>, StoreError> {
        let now = self.clock.now();
        writing!(self, |connection| {
            sqlx::query_as::<_, OutboxMail>(connection.text(&CLAIM))
                .persistent(connection.persistent())
                .bind(now)
                .bind(until)
                .bind(limit)
                .fetch_all(&mut *connection)
                .await
        } => |mails| Ok(mails))
    }

    /// Notes what became of a claimed mail, on its notification too; `false` where the claim
    /// had run out and somebody else has it.
    pub async fn end_mail(&self, mail: &OutboxMail, end: &OutboxEnd) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let (state, due_at, finished_at, why) = match end {
            OutboxEnd::Sent => ("sent", now, Some(now), None),
            OutboxEnd::Skipped(why) => ("skipped", now, Some(now), Some(*why)),
            OutboxEnd::Later(at, why) => ("pending", *at, None, Some(why.as_str())),
            OutboxEnd::Dead(why) => ("dead", now, Some(now), Some(why.as_str())),
        };
        transaction!(self, |connection| {
            let ended = sqlx::query(END)
                .persistent(connection.persistent())
                .bind(mail.id)
                .bind(mail.attempt)
                .bind(state)
                .bind(due_at)
                .bind(finished_at)
                .bind(why)
                .execute(&mut *connection)
                .await?;
            // Also where the claim had run out: the mail was accepted all the same.
            if *end == OutboxEnd::Sent {
                sqlx::query(MARK_MAILED)
                    .persistent(connection.persistent())
                    .bind(mail.notification_id)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(ended.rows_affected() > 0)
        })
    }

    /// How many mails wait, how many were given up, and when the next one is due.
    pub async fn outbox_status(&self) -> Result<OutboxStatus, StoreError> {
        let now = self.clock.now();
        reading!(self, |connection| {
            sqlx::query_as::<_, OutboxStatus>(STATUS)
                .persistent(connection.persistent())
                .bind(now)
                .fetch_one(&mut *connection)
                .await
        } => |status| Ok(status))
    }

    /// Gives up mails whose time is over, and returns how many.
    pub async fn expire_mails(&self) -> Result<u64, StoreError> {
        let now = self.clock.now();
        writing!(self, |connection| {
            sqlx::query(EXPIRE)
                .persistent(connection.persistent())
                .bind(now)
                .execute(&mut *connection)
                .await
        } => |done| Ok(done.rows_affected()))
    }

    /// Forgets mails that were sent or skipped before `sent`, and given up before `dead`.
    pub async fn prune_mails(&self, sent: Timestamp, dead: Timestamp) -> Result<u64, StoreError> {
        writing!(self, |connection| {
            sqlx::query(PRUNE)
                .persistent(connection.persistent())
                .bind(sent)
                .bind(dead)
                .execute(&mut *connection)
                .await
        } => |done| Ok(done.rows_affected()))
    }

    /// Whether the auth server's accounts are in this database, so that a user's address is known.
    pub async fn has_accounts(&self) -> Result<bool, StoreError> {
        reading!(self, |connection| {
            sqlx::query_scalar::<_, bool>(connection.text(&HAS_ACCOUNTS))
                .persistent(connection.persistent())
                .fetch_one(&mut *connection)
                .await
        } => |found| Ok(found))
    }

    /// The mail addresses of those of `users` that have one, by user id.
    pub async fn addresses(&self, users: &[&str]) -> Result<HashMap<String, String>, StoreError> {
        let users = serde_json::Value::from(users).to_string();
        reading!(self, |connection| {
            sqlx::query_as::<_, (String, String)>(connection.text(&ADDRESSES))
                .persistent(connection.persistent())
                .bind(users.as_str())
                .fetch_all(&mut *connection)
                .await
        } => |rows| Ok(rows.into_iter().collect()))
    }
}
