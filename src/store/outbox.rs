//! The outbox: mails written in the transaction that creates their notification, and sent
//! after its commit by the job `jobs::outbox`.
//!
//! A mail is claimed before it is sent: its `due_at` moves into the future, so that no other
//! process takes it. If the process dies, the mail is claimed again later. `attempts`
//! counts the claims. The process that finishes a mail names its claim, so an expired claim
//! changes nothing.

use std::collections::HashMap;

use crate::domain::{NotificationId, Timestamp};

use super::arg::args;
use super::database::Store;
use super::error::StoreError;
use super::row::record;
use super::sql::{Sql, per_engine};

/// Why mails are skipped, or wait without having been tried. Other reasons are the provider's and
/// the network's.
pub(crate) const NO_ACCOUNT: &str = "no account has the user's id";
pub(crate) const NO_ADDRESS: &str = "the user has no address";
pub(crate) const NOT_TRIED: &str = "not tried yet";
pub(crate) const NOT_READ: &str = "cannot read the address";

/// The reasons that are todoctl's own.
pub(crate) const OWN_REASONS: [&str; 4] = [NO_ACCOUNT, NO_ADDRESS, NOT_TRIED, NOT_READ];

/// Before the last reason of a mail that was not sent in time.
pub(crate) const EXPIRED: &str = "expired";

record! {
    mail_columns => OutboxMail in "todoctl_outbox" {
        id,
        notification_id,
        user_id,
        subject,
        body,
        idempotency_key,
        attempt: "attempts",
    }
}

record! {
    status_columns => OutboxStatus in "todoctl_outbox" {
        pending: "COALESCE(SUM(CASE WHEN state = 'pending' THEN 1 ELSE 0 END), 0)",
        dead: "COALESCE(SUM(CASE WHEN state = 'dead' THEN 1 ELSE 0 END), 0)",
        next: "MIN(CASE WHEN state = 'pending' AND expires_at > $1 THEN due_at END)",
    }
}

record! {
    outcome_columns => MailOutcome in "todoctl_outbox" {
        state,
        reason: "last_error",
        mails: "count(*)",
        oldest: "MIN(created_at)",
    }
}

static CLAIM: Sql = per_engine!(
    ["UPDATE todoctl_outbox SET attempts = attempts + 1, due_at = $2 WHERE id IN (
        SELECT id FROM todoctl_outbox WHERE state = 'pending' AND due_at <= $1 AND expires_at > $1
        ORDER BY due_at, id LIMIT $3"] {
        postgres: " FOR UPDATE SKIP LOCKED",
        sqlite: ""
    }
    => concat!(") RETURNING ", mail_columns!())
);

static END: Sql = Sql::Common(
    "UPDATE todoctl_outbox SET state = $3, due_at = $4, finished_at = $5, last_error = $6,
       attempts = attempts - $7
     WHERE id = $1 AND attempts = $2 AND state = 'pending'",
);

static MARK_MAILED: Sql = Sql::Common("UPDATE notifications SET sent_email = TRUE WHERE id = $1");

/// `$1` is now.
static STATUS: Sql = Sql::Common(concat!(
    "SELECT ",
    status_columns!(),
    " FROM todoctl_outbox"
));

/// Mails that wait, and those that were ended after `$1`. Reasons are few: most are the provider's
/// names of errors.
static OUTCOMES: Sql = Sql::Common(concat!(
    "SELECT ",
    outcome_columns!(),
    " FROM todoctl_outbox WHERE state = 'pending' OR finished_at > $1
     GROUP BY state, last_error ORDER BY count(*) DESC, state LIMIT 20"
));

/// Mails that were not sent in time.
static EXPIRE: Sql = Sql::Common(
    "UPDATE todoctl_outbox SET state = 'dead', finished_at = $1,
       last_error = COALESCE('expired: ' || last_error, 'expired')
     WHERE state = 'pending' AND expires_at <= $1",
);

static PRUNE: Sql = Sql::Common("DELETE FROM todoctl_outbox
     WHERE (state IN ('sent', 'skipped') AND finished_at <= $1) OR (state = 'dead' AND finished_at <= $2)");

/// What is known about the auth server's table of accounts, as [`Accounts`] is read from text.
static ACCOUNTS: Sql = per_engine!(
    ["SELECT CASE WHEN "] {
        postgres: "to_regclass('\"user\"') IS NULL",
        sqlite: "NOT EXISTS (SELECT 1 FROM pragma_table_info('user'))"
    }
    [" THEN 'missing' WHEN (SELECT count(*) FROM "] {
        postgres: "pg_catalog.pg_attribute WHERE attrelid = to_regclass('\"user\"') AND attnum > 0
           AND NOT attisdropped AND attname",
        sqlite: "pragma_table_info('user') WHERE name"
    }
    [" IN ('id', 'email')) < 2 THEN 'other_columns' WHEN "] {
        postgres: "NOT (has_column_privilege(to_regclass('\"user\"'), 'id', 'SELECT')
           AND has_column_privilege(to_regclass('\"user\"'), 'email', 'SELECT'))",
        sqlite: "FALSE"
    }
    => " THEN 'no_right' ELSE 'ready' END AS accounts"
);

/// `$1` is a JSON array of user ids. The auth server decides which type its ids have.
static ADDRESSES: Sql = per_engine!(
    [r#"SELECT CAST(id AS text) AS id, NULLIF(trim(CAST(email AS text)), '') AS email FROM "user"
     WHERE CAST(id AS text) IN (SELECT "#] {
        postgres: "value FROM json_array_elements_text($1::json))",
        sqlite: "value FROM json_each($1))"
    }
    => ""
);

/// A claimed mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMail {
    pub id: i64,
    pub notification_id: NotificationId,
    pub user_id: String,
    pub subject: String,
    pub body: String,
    /// Lets the provider recognise repeated attempts.
    pub idempotency_key: String,
    /// The number of this attempt, from 1.
    pub attempt: i32,
}

/// The outcome of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxEnd {
    /// The provider accepted it.
    Sent,
    /// There is no recipient, for this reason.
    Skipped(&'static str),
    /// It is retried at this time, for this reason.
    Later(Timestamp, String),
    /// It is due as before, and this attempt does not count: no mail can be sent, for this reason.
    Paused(String),
    /// It is given up, for this reason.
    Dead(String),
}

/// The state of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxStatus {
    /// Mails that wait to be sent.
    pub pending: i64,
    /// Mails that were given up.
    pub dead: i64,
    /// When the first of the waiting ones may be sent.
    pub next: Option<Timestamp>,
}

/// Mails that share a state and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailOutcome {
    /// `pending`, `sent`, `skipped` or `dead`.
    pub state: String,
    /// Why; `None` if they were sent, or not tried yet.
    pub reason: Option<String>,
    /// How many there are.
    pub mails: i64,
    /// When the first of them was written.
    pub oldest: Timestamp,
}

/// Whether the addresses of users can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounts {
    Ready,
    /// There is no table "user".
    Missing,
    /// It is another program's: it has no columns `id` and `email`.
    OtherColumns,
    /// This role may not read them.
    NoRight,
}

impl Accounts {
    const ALL: [Self; 4] = [
        Self::Ready,
        Self::Missing,
        Self::OtherColumns,
        Self::NoRight,
    ];

    /// A word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Missing => "missing",
            Self::OtherColumns => "other_columns",
            Self::NoRight => "no_right",
        }
    }

    /// What the word stands for.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }
}

impl Store {
    /// Takes at most `limit` mails that are due. No other process takes them before `until`.
    pub async fn claim_mails(
        &self,
        until: Timestamp,
        limit: i64,
    ) -> Result<Vec<OutboxMail>, StoreError> {
        let args = args![self.now(), until, limit];
        self.write(&CLAIM, &args).await?.all()
    }

    /// Records the outcome of a claimed mail, also on its notification; `false` if the claim had
    /// expired and another process has claimed the mail.
    pub async fn end_mail(&self, mail: &OutboxMail, end: &OutboxEnd) -> Result<bool, StoreError> {
        let now = self.now();
        let (state, due_at, finished_at, why) = match end {
            OutboxEnd::Sent => ("sent", now, Some(now), None),
            OutboxEnd::Skipped(why) => ("skipped", now, Some(now), Some(*why)),
            OutboxEnd::Later(at, why) => ("pending", *at, None, Some(why.as_str())),
            OutboxEnd::Paused(why) => ("pending", now, None, Some(why.as_str())),
            OutboxEnd::Dead(why) => ("dead", now, Some(now), Some(why.as_str())),
        };
        let attempt = i64::from(mail.attempt);
        let uncounted = i64::from(matches!(end, OutboxEnd::Paused(_)));
        let args = args![mail.id, attempt, state, due_at, finished_at, why, uncounted];
        self.transaction(|| {
            async |tx| {
                let ended = tx.run(&END, &args).await?;
                // Also if the claim had expired: the provider has accepted the mail.
                if *end == OutboxEnd::Sent {
                    tx.run(&MARK_MAILED, &args![mail.notification_id]).await?;
                }
                Ok(ended.affected > 0)
            }
        })
        .await
    }

    /// How many mails wait, how many were given up, and when the next one is due.
    pub async fn outbox_status(&self) -> Result<OutboxStatus, StoreError> {
        self.read(&STATUS, &args![self.now()]).await?.one()
    }

    /// Gives up mails that have expired, and returns how many.
    pub async fn expire_mails(&self) -> Result<u64, StoreError> {
        Ok(self.write(&EXPIRE, &args![self.now()]).await?.affected)
    }

    /// Deletes mails that were sent or skipped before `sent`, or given up before `dead`.
    pub async fn prune_mails(&self, sent: Timestamp, dead: Timestamp) -> Result<u64, StoreError> {
        Ok(self.write(&PRUNE, &args![sent, dead]).await?.affected)
    }

    /// Waiting mails, and those that were ended after `since`, by state and reason.
    pub async fn mail_outcomes(&self, since: Timestamp) -> Result<Vec<MailOutcome>, StoreError> {
        self.read(&OUTCOMES, &args![since]).await?.all()
    }

    /// Whether the auth server's accounts are in this database, so that users have addresses.
    pub async fn accounts(&self) -> Result<Accounts, StoreError> {
        let found = self.read(&ACCOUNTS, &args![]).await?;
        let word: String = found.value("accounts")?;
        Ok(Accounts::of_word(&word).unwrap_or(Accounts::Missing))
    }

    /// The accounts among `users`, by user id, each with its mail address if it has one.
    pub async fn addresses(
        &self,
        users: &[&str],
    ) -> Result<HashMap<String, Option<String>>, StoreError> {
        let found = self.read(&ADDRESSES, &args![users]).await?;
        let mut addresses = HashMap::with_capacity(found.rows.len());
        for row in &found.rows {
            addresses.insert(row.get("id")?, row.get("email")?);
        }
        Ok(addresses)
    }
}
