//! Notifications about due tasks.

use serde::Serialize;

use super::{TaskId, Timestamp};

/// Primary key of a notification; positive.
pub type NotificationId = i64;

/// The reason for a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// The task is due within 24 hours.
    DueSoon,
    /// The due date has passed, and the task is not completed.
    Overdue,
}

impl NotificationKind {
    /// The name in the database and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DueSoon => "due_soon",
            Self::Overdue => "overdue",
        }
    }
}

/// A notification (contract 4).
// `kind` is a plain string, so that rows written by other services can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(example = json!({
    "id": 52, "user_id": "usr_1", "task_id": 58, "type": "due_soon",
    "message": "\"Pay rent\" is due soon", "is_read": false, "sent_email": false,
    "created_at": "2031-01-01T09:00:00.123456Z"
}))]
pub struct Notification {
    /// Unique across all users.
    pub id: NotificationId,
    /// The owner.
    pub user_id: String,
    /// The task, unless the notification belongs to none.
    #[schema(required)]
    pub task_id: Option<TaskId>,
    /// `due_soon` or `overdue`.
    #[serde(rename = "type")]
    #[schema(value_type = NotificationKind)]
    pub kind: String,
    /// Text for the user.
    pub message: String,
    /// Whether the user has read it.
    pub is_read: bool,
    /// Whether the mail provider accepted a mail about it.
    pub sent_email: bool,
    /// When it was created, in UTC.
    pub created_at: Timestamp,
}
