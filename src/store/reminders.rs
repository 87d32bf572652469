//! Reminders: which open tasks are due, and the notifications about them.
//!
//! A notification is made once, however many processes try: the rows of its tasks are
//! locked, what others have locked is left to them, and a unique index over task, type
//! and `dedup_key` refuses a second one. The key is the due instant for `due_soon`, so
//! that moving the due date calls for another one, and the UTC day for `overdue`.
//! Notifications of the service before have no key; `reminder_sent` and a look at
//! today's notifications tell of them.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::domain::{NotificationId, NotificationKind, TaskId, Timestamp};

use super::dialect::{Sql, per_engine};
use super::transaction::transaction;
use super::{Store, StoreError, reading};

/// `$1` to `$2` is the window; the page begins behind `$3`, `$4`.
const DUE_SOON: &str = "SELECT id, due_date FROM tasks
     WHERE NOT completed AND due_date >= $1 AND due_date <= $2 AND NOT reminder_sent
       AND (due_date, id) > ($3, $4)
     ORDER BY due_date, id LIMIT $5";

/// Due before `$1`, and not told of since `$2`.
const OVERDUE: &str = "SELECT id, due_date FROM tasks
     WHERE NOT completed AND due_date < $1 AND (due_date, id) > ($3, $4)
       AND NOT EXISTS (SELECT 1 FROM notifications AS told
           WHERE told.task_id = tasks.id AND told.type = 'overdue' AND told.created_at >= $2)
     ORDER BY due_date, id LIMIT $5";

/// `$1` is a JSON array of ids: one bound value on both engines.
const CLAIM_DUE_SOON: Sql = per_engine!(
    ["UPDATE tasks SET reminder_sent = TRUE WHERE id IN (
        SELECT id FROM tasks WHERE id IN (SELECT "] {
        postgres: "value::bigint FROM json_array_elements_text($1::json))",
        sqlite: "value FROM json_each($1))"
    }
    [" AND NOT completed AND due_date >= $2 AND due_date <= $3 AND NOT reminder_sent"] {
        postgres: " FOR NO KEY UPDATE SKIP LOCKED",
        sqlite: ""
    }
    => ") RETURNING id"
);

/// `$1` are the ids that [`CLAIM_DUE_SOON`] returned.
const INSERT_DUE_SOON: Sql = per_engine!(
    [r#"INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at, dedup_key)
     SELECT user_id, id, 'due_soon', '"' || title || '" is due soon', FALSE, FALSE, $2, "#] {
        postgres: "CAST(CAST(round(extract(epoch FROM due_date) * 1000000) AS bigint) AS text)",
        sqlite: "CAST(due_date AS text)"
    }
    [" FROM tasks WHERE id IN (SELECT "] {
        postgres: "value::bigint FROM json_array_elements_text($1::json))",
        sqlite: "value FROM json_each($1))"
    }
    => " ON CONFLICT (task_id, type, dedup_key) DO NOTHING RETURNING id"
);

/// `$1` as above; due before `$2`, not told of since `$3`; `$4` is the day, `$2` also the time.
const INSERT_OVERDUE: Sql = per_engine!(
    [r#"INSERT INTO notifications (user_id, task_id, type, message, is_read, sent_email, created_at, dedup_key)
     SELECT user_id, id, 'overdue', '"' || title || '" is overdue', FALSE, FALSE, $2, $4
     FROM tasks WHERE id IN (SELECT "#] {
        postgres: "value::bigint FROM json_array_elements_text($1::json))",
        sqlite: "value FROM json_each($1))"
    }
    [" AND NOT completed AND due_date < $2
       AND NOT EXISTS (SELECT 1 FROM notifications AS told
           WHERE told.task_id = tasks.id AND told.type = 'overdue' AND told.created_at >= $3)"] {
        postgres: " FOR NO KEY UPDATE OF tasks SKIP LOCKED",
        sqlite: ""
    }
    => " ON CONFLICT (task_id, type, dedup_key) DO NOTHING RETURNING id"
);

/// The mails about the notifications `$1`. Nobody else can know their idempotency keys.
const INSERT_MAILS: Sql = per_engine!(
    ["INSERT INTO todoctl_outbox
        (notification_id, user_id, subject, body, idempotency_key, due_at, expires_at, created_at)
     SELECT told.id, told.user_id, told.message, told.message || ': ' || "] {
        postgres: "to_char(tasks.due_date AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')",
        sqlite: "strftime('%Y-%m-%d %H:%M', tasks.due_date / 1000000, 'unixepoch')"
    }
    [" || ' UTC.', $2 || '-' || CAST(told.id AS text), $3, $4, $3
     FROM notifications AS told JOIN tasks ON tasks.id = told.task_id
     WHERE told.id IN (SELECT "] {
        postgres: "value::bigint FROM json_array_elements_text($1::json))",
        sqlite: "value FROM json_each($1))"
    }
    => ""
);

/// What one run of the reminder job looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReminderWindow {
    /// The run's time: what was due before it is overdue.
    pub now: Timestamp,
    /// What is due from `now` to here is due soon.
    pub soon: Timestamp,
    /// 00:00 UTC of the run's day: a task is called overdue once a day.
    pub today: Timestamp,
}

/// An open task that somebody should be told of, and where it stands in the order of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTask {
    /// Its number.
    pub id: TaskId,
    /// When it is (or was) due.
    pub due: Timestamp,
}

impl<'r, R: Row> FromRow<'r, R> for DueTask
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Timestamp: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get(0)?,
            due: row.try_get(1)?,
        })
    }
}

/// What one batch made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reminded {
    /// Notifications.
    pub notifications: usize,
    /// Mails that wait to be sent.
    pub mails: usize,
}

/// What the mails of one run have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailTerms {
    /// The start of their idempotency keys: one that no other run has, on any machine.
    pub key_prefix: String,
    /// When it is too late to send them.
    pub expires_at: Timestamp,
}

impl Store {
    /// At most `limit` tasks that should be told of, in the order of their due dates,
    /// behind `after`.
    pub async fn due_tasks(
        &self,
        kind: NotificationKind,
        window: &ReminderWindow,
        after: Option<DueTask>,
        limit: i64,
    ) -> Result<Vec<DueTask>, StoreError> {
        let (statement, second) = match kind {
            NotificationKind::DueSoon => (DUE_SOON, window.soon),
            NotificationKind::Overdue => (OVERDUE, window.today),
        };
        let after = after.unwrap_or(DueTask {
            id: 0,
            due: Timestamp::MIN,
        });
        reading!(self, |connection| {
            sqlx::query_as::<_, DueTask>(statement)
                .persistent(connection.persistent())
                .bind(window.now)
                .bind(second)
                .bind(after.due)
                .bind(after.id)
                .bind(limit)
                .fetch_all(&mut *connection)
                .await
        } => |tasks| Ok(tasks))
    }

    /// Makes the notifications about those of `tasks` that still call for one and that
    /// nobody else holds at the moment, and for `due_soon` the mails where there are terms
    /// for them: all of it, or nothing.
    pub async fn remind(
        &self,
        kind: NotificationKind,
        window: &ReminderWindow,
        tasks: &[TaskId],
        mails: Option<&MailTerms>,
    ) -> Result<Reminded, StoreError> {
        let tasks = ids(tasks);
        let day = window.today.to_datetime().format("%Y-%m-%d").to_string();
        transaction!(self, |connection| {
            let made: Vec<NotificationId> = match kind {
                NotificationKind::DueSoon => {
                    let claimed: Vec<TaskId> = sqlx::query_scalar(connection.text(&CLAIM_DUE_SOON))
                        .persistent(connection.persistent())
                        .bind(tasks.as_str())
                        .bind(window.now)
                        .bind(window.soon)
                        .fetch_all(&mut *connection)
                        .await?;
                    sqlx::query_scalar(connection.text(&INSERT_DUE_SOON))
                        .persistent(connection.persistent())
                        .bind(ids(&claimed))
                        .bind(window.now)
                        .fetch_all(&mut *connection)
                        .await?
                }
                NotificationKind::Overdue => {
                    sqlx::query_scalar(connection.text(&INSERT_OVERDUE))
                        .persistent(connection.persistent())
                        .bind(tasks.as_str())
                        .bind(window.now)
                        .bind(window.today)
                        .bind(day.as_str())
                        .fetch_all(&mut *connection)
                        .await?
                }
            };
            let mut done = Reminded {
                notifications: made.len(),
                mails: 0,
            };
            if let (NotificationKind::DueSoon, Some(terms), false) = (kind, mails, made.is_empty())
            {
                let written = sqlx::query(connection.text(&INSERT_MAILS))
                    .persistent(connection.persistent())
                    .bind(ids(&made))
                    .bind(terms.key_prefix.as_str())
                    .bind(window.now)
                    .bind(terms.expires_at)
                    .execute(&mut *connection)
                    .await?;
                done.mails = usize::try_from(written.rows_affected()).unwrap_or(usize::MAX);
            }
            Ok(done)
        })
    }
}

/// A JSON array: one bound value on both engines.
fn ids(ids: &[i64]) -> String {
    serde_json::Value::from(ids).to_string()
}
