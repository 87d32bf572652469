//! Notifications for users. [`super::reminders`] creates them.

use crate::domain::{Notification, NotificationId, UserId};

use super::arg::args;
use super::database::Store;
use super::error::StoreError;
use super::row::record;
use super::sql::Sql;

record! {
    notification_columns => Notification in "notifications" {
        id,
        user_id,
        task_id,
        kind: "type",
        message,
        is_read,
        sent_email,
        created_at,
    }
}

/// Triggers keep the count of unread ones: see the migration `reminders`. PostgreSQL makes one plan for
/// all users and limits, as for lists of tasks (`Condition::value`).
static LIST: Sql = Sql::Common(concat!(
    "SELECT ",
    notification_columns!(),
    ", COALESCE((SELECT unread FROM todoctl_unread WHERE user_id = $1), 0) AS unread
     FROM notifications WHERE user_id = (SELECT CAST($1 AS text))
     ORDER BY created_at DESC, id DESC LIMIT (SELECT CAST($2 AS bigint))"
));

static MARK_READ: Sql = Sql::Common(concat!(
    "UPDATE notifications SET is_read = TRUE WHERE id = $1 AND user_id = $2 RETURNING ",
    notification_columns!()
));

static MARK_ALL_READ: Sql =
    Sql::Common("UPDATE notifications SET is_read = TRUE WHERE user_id = $1 AND NOT is_read");

/// A user's newest notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationList {
    /// Newest first; among equals the higher id first.
    pub notifications: Vec<Notification>,
    /// All unread ones, including those that are not in the list.
    pub unread: i64,
}

impl Store {
    /// The user's `limit` newest notifications, and the number of all unread ones.
    pub async fn notifications(
        &self,
        user: &UserId,
        limit: i64,
    ) -> Result<NotificationList, StoreError> {
        let result = self.read(&LIST, &args![user, limit]).await?;
        let notifications = result.all()?;
        // Every row has the count. Without a row nothing is unread.
        let unread = if notifications.is_empty() {
            0
        } else {
            result.value("unread")?
        };
        Ok(NotificationList {
            notifications,
            unread,
        })
    }

    /// Marks the user's notification as read and returns it, even if it was read before;
    /// `None` if there is none or it belongs to another user.
    pub async fn mark_notification_read(
        &self,
        user: &UserId,
        id: NotificationId,
    ) -> Result<Option<Notification>, StoreError> {
        self.write(&MARK_READ, &args![id, user]).await?.optional()
    }

    /// Marks all of the user's notifications as read.
    pub async fn mark_all_notifications_read(&self, user: &UserId) -> Result<(), StoreError> {
        self.write(&MARK_ALL_READ, &args![user]).await.map(drop)
    }
}
