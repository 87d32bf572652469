//! Reminders: which open tasks are due, and the notifications about them.
//!
//! A notification is created once, even if several processes run the job: each locks the rows of
//! its tasks and skips rows that another process has locked, and a unique index over task, type
//! and `dedup_key` rejects a second notification. The key is the due time for `due_soon`, so that
//! a task whose due date was moved gets another notification, and the UTC day for `overdue`.
//! Notifications of the previous service have no key; for them `reminder_sent` and today's
//! notifications are checked.

use crate::domain::{NotificationId, NotificationKind, TaskId, Timestamp};

use super::arg::args;
use super::database::Store;
use super::error::StoreError;
use super::row::record;
use super::sql::{Sql, per_engine};

record! {
    due_columns => DueTask in "tasks" {
        id,
        due: "due_date",
    }
}

/// `$1` to `$2` is the window; the page starts after `$3`, `$4`.
static DUE_SOON: Sql = Sql::Common(concat!(
    "SELECT ",
    due_columns!(),
    " FROM tasks
     WHERE NOT completed AND due_date >= $1 AND due_date <= $2 AND NOT reminder_sent
       AND (due_date, id) > ($3, $4)
     ORDER BY due_date, id LIMIT $5"
));

/// Due before `$1`, and without a notification since `$2`.
static OVERDUE: Sql = Sql::Common(concat!(
    "SELECT ",
    due_columns!(),
    " FROM tasks
     WHERE NOT completed AND due_date < $1 AND (due_date, id) > ($3, $4)
       AND NOT EXISTS (SELECT 1 FROM notifications AS told
           WHERE told.task_id = tasks.id AND told.type = 'overdue' AND told.created_at >= $2)
     ORDER BY due_date, id LIMIT $5"
));

/// `$1` is a JSON array of ids.
static CLAIM_DUE_SOON: Sql = per_engine!(
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
static INSERT_DUE_SOON: Sql = per_engine!(
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

/// `$1` as above; due before `$2`, without a notification since `$3`; `$4` is the day, `$2` also
/// the time.
static INSERT_OVERDUE: Sql = per_engine!(
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

/// The mails about the notifications `$1`. Their idempotency keys cannot be guessed.
static INSERT_MAILS: Sql = per_engine!(
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

/// The times that one run of the reminder job uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReminderWindow {
    /// The run's time: what was due before it is overdue.
    pub now: Timestamp,
    /// What is due from `now` to this time is due soon.
    pub soon: Timestamp,
    /// 00:00 UTC of the run's day: a task is reported as overdue once a day.
    pub today: Timestamp,
}

/// An open task that needs a notification, and its position in the order of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTask {
    pub id: TaskId,
    pub due: Timestamp,
}

/// The number of rows that one batch created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reminded {
    pub notifications: usize,
    pub mails: usize,
}

/// What the mails of one run have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailTerms {
    /// The start of their idempotency keys, unique to this run on any machine.
    pub key_prefix: String,
    /// When they are no longer sent.
    pub expires_at: Timestamp,
}

impl Store {
    /// At most `limit` tasks that need a notification, in the order of their due dates,
    /// starting after `after`.
    pub async fn due_tasks(
        &self,
        kind: NotificationKind,
        window: &ReminderWindow,
        after: Option<DueTask>,
        limit: i64,
    ) -> Result<Vec<DueTask>, StoreError> {
        let (statement, second) = match kind {
            NotificationKind::DueSoon => (&DUE_SOON, window.soon),
            NotificationKind::Overdue => (&OVERDUE, window.today),
        };
        let DueTask { id, due } = after.unwrap_or(DueTask {
            id: 0,
            due: Timestamp::MIN,
        });
        let args = args![window.now, second, due, id, limit];
        self.read(statement, &args).await?.all()
    }

    /// Creates notifications for those of `tasks` that still need one and that no other process
    /// has locked; for `due_soon` also the mails, if `terms` is given. All in one transaction.
    pub async fn remind(
        &self,
        kind: NotificationKind,
        window: &ReminderWindow,
        tasks: &[TaskId],
        mails: Option<&MailTerms>,
    ) -> Result<Reminded, StoreError> {
        let ReminderWindow { now, soon, today } = *window;
        self.transaction(async |tx| {
            let inserted = match kind {
                NotificationKind::DueSoon => {
                    let claimed = tx.run(&CLAIM_DUE_SOON, &args![tasks, now, soon]).await?;
                    let claimed: Vec<TaskId> = claimed.column("id")?;
                    let args = args![claimed.as_slice(), now];
                    tx.run(&INSERT_DUE_SOON, &args).await?
                }
                NotificationKind::Overdue => {
                    let day = today.to_datetime().format("%Y-%m-%d").to_string();
                    let args = args![tasks, now, today, day];
                    tx.run(&INSERT_OVERDUE, &args).await?
                }
            };
            let notifications: Vec<NotificationId> = inserted.column("id")?;
            let mut reminded = Reminded {
                notifications: notifications.len(),
                mails: 0,
            };
            if let (NotificationKind::DueSoon, Some(terms)) = (kind, mails)
                && !notifications.is_empty()
            {
                let prefix = terms.key_prefix.as_str();
                let args = args![notifications.as_slice(), prefix, now, terms.expires_at];
                let written = tx.run(&INSERT_MAILS, &args).await?.affected;
                reminded.mails = usize::try_from(written).unwrap_or(usize::MAX);
            }
            Ok(reminded)
        })
        .await
    }
}
