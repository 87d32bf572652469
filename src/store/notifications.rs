//! Notifications: what users read; [`super::reminders`] makes them.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::domain::{Notification, NotificationId, Timestamp, UserId};

use super::{Store, StoreError, reading, writing};

/// The columns of a [`Notification`], in the order in which [`NotificationRow`] reads them.
macro_rules! columns {
    () => {
        "id, user_id, task_id, type, message, is_read, sent_email, created_at"
    };
}

/// Triggers keep the count of unread ones: see the migration `reminders`.
const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    ", COALESCE((SELECT unread FROM todoctl_unread WHERE user_id = $1), 0) AS unread
     FROM notifications WHERE user_id = $1
     ORDER BY created_at DESC, id DESC LIMIT $2"
);

const MARK_READ: &str = concat!(
    "UPDATE notifications SET is_read = TRUE WHERE id = $1 AND user_id = $2 RETURNING ",
    columns!()
);

const MARK_ALL_READ: &str =
    "UPDATE notifications SET is_read = TRUE WHERE user_id = $1 AND NOT is_read";

/// A user's newest notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationList {
    /// Newest first; the higher id first among equals.
    pub notifications: Vec<Notification>,
    /// All that are unread, also beyond the list.
    pub unread: i64,
}

/// A row of [`columns!`].
struct NotificationRow(Notification);

impl<'r, R: Row> FromRow<'r, R> for NotificationRow
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Timestamp: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self(Notification {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            task_id: row.try_get(2)?,
            kind: row.try_get(3)?,
            message: row.try_get(4)?,
            is_read: row.try_get(5)?,
            sent_email: row.try_get(6)?,
            created_at: row.try_get(7)?,
        }))
    }
}

/// Names the row that could not be read, so that it can be found and mended.
fn notification_of<'r, R: Row>(row: &'r R) -> Result<Notification, StoreError>
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    NotificationRow: FromRow<'r, R>,
{
    match NotificationRow::from_row(row) {
        Ok(NotificationRow(notification)) => Ok(notification),
        Err(source) => Err(StoreError::corrupt(
            "notifications",
            row.try_get(0).unwrap_or(0),
            source,
        )),
    }
}

impl Store {
    /// The user's `limit` newest notifications, and how many are unread in all.
    pub async fn notifications(
        &self,
        user: &UserId,
        limit: i64,
    ) -> Result<NotificationList, StoreError> {
        reading!(self, |connection| {
            sqlx::query(LIST)
                .persistent(connection.persistent())
                .bind(user.as_str())
                .bind(limit)
                .fetch_all(&mut *connection)
                .await
        } => |rows| {
            let notifications = rows.iter().map(notification_of).collect::<Result<Vec<_>, _>>()?;
            // The count stands in every row; where there is no row, nothing is unread.
            let unread = match rows.first() {
                Some(row) => row.try_get::<i64, _>(8).map_err(StoreError::from)?,
                None => 0,
            };
            Ok(NotificationList { notifications, unread })
        })
    }

    /// Marks the user's notification as read and returns it, also when it was read before;
    /// `None` when there is none or it is somebody else's.
    pub async fn mark_notification_read(
        &self,
        user: &UserId,
        id: NotificationId,
    ) -> Result<Option<Notification>, StoreError> {
        writing!(self, |connection| {
            sqlx::query(MARK_READ)
                .persistent(connection.persistent())
                .bind(id)
                .bind(user.as_str())
                .fetch_optional(&mut *connection)
                .await
        } => |row| row.as_ref().map(notification_of).transpose())
    }

    /// Marks all of the user's notifications as read.
    pub async fn mark_all_notifications_read(&self, user: &UserId) -> Result<(), StoreError> {
        writing!(self, |connection| {
            sqlx::query(MARK_ALL_READ)
                .persistent(connection.persistent())
                .bind(user.as_str())
                .execute(&mut *connection)
                .await
        } => |_| Ok(()))
    }
}
