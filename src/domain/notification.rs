//! What users are told about their tasks.

use serde::Serialize;

use super::{TaskId, Timestamp};

/// A notification's number in the database; positive.
pub type NotificationId = i64;

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// The task is due within 24 hours.
    DueSoon,
    /// The task was due, and is not done.
    Overdue,
}

impl NotificationKind {
    /// The name under which it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DueSoon => "due_soon",
            Self::Overdue => "overdue",
        }
    }
}

/// A notification as the store keeps it and the API shows it; contract 4.
///
/// Its type is a plain string: what was once stored is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(example = json!({
    "id": 52, "user_id": "usr_1", "task_id": 58, "type": "due_soon",
    "message": "\"Pay rent\" is due soon", "is_read": false, "sent_email": false,
    "created_at": "2031-01-01T09:00:00.123456Z"
}))]
pub struct Notification {
    /// Unique over all users.
    pub id: NotificationId,
    /// Whom it tells.
    pub user_id: String,
    /// The task that it is about.
    #[schema(required)]
    pub task_id: Option<TaskId>,
    /// `due_soon` or `overdue`.
    #[serde(rename = "type")]
    #[schema(value_type = NotificationKind)]
    pub kind: String,
    /// For people.
    pub message: String,
    /// Whether the user has seen it.
    pub is_read: bool,
    /// Whether a mail about it was accepted for delivery.
    pub sent_email: bool,
    /// When it was made, in UTC.
    pub created_at: Timestamp,
}
