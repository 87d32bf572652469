//! Tasks, new tasks and changes to tasks.

use serde::Serialize;

use super::{Description, Priority, Timestamp, Title, UserId};

/// Primary key of a task; positive.
pub type TaskId = i64;

/// A task (contract 3.1).
// Texts are plain strings, so that rows written under other rules can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(example = json!({
    "id": 47, "user_id": "usr_1", "title": "Pay rent", "description": null,
    "completed": false, "priority": "Medium", "due_date": "2031-01-31T10:00:00Z",
    "created_at": "2031-01-01T09:00:00.123456Z", "updated_at": "2031-01-01T09:00:00.123456Z"
}))]
pub struct Task {
    /// Unique across all users.
    pub id: TaskId,
    /// The owner.
    pub user_id: String,
    /// 1 to 200 characters.
    pub title: String,
    /// Up to 1000 characters; never empty.
    #[schema(required)]
    pub description: Option<String>,
    /// Whether the task is done.
    pub completed: bool,
    /// `Medium` unless set.
    pub priority: Priority,
    /// When the task is due, in UTC.
    #[schema(required)]
    pub due_date: Option<Timestamp>,
    /// When the task was created, in UTC.
    pub created_at: Timestamp,
    /// When the task last changed, in UTC.
    pub updated_at: Timestamp,
}

/// A task to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewTask {
    pub user_id: UserId,
    pub title: Title,
    pub description: Option<Description>,
    pub priority: Priority,
    pub due_date: Option<Timestamp>,
}

/// A field of a partial update that can be cleared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// Leave the field unchanged.
    #[default]
    Keep,
    /// Set the field, or clear it with `None`.
    Set(Option<T>),
}

impl<T> Patch<T> {
    #[must_use]
    pub fn is_set(&self) -> bool {
        matches!(self, Self::Set(_))
    }

    /// The new value; `None` if the field is kept or cleared.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Keep => None,
            Self::Set(value) => value.as_ref(),
        }
    }
}

/// A partial update; `None` and [`Patch::Keep`] leave a field unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskChanges {
    pub title: Option<Title>,
    pub description: Patch<Description>,
    pub completed: Option<bool>,
    pub priority: Option<Priority>,
    pub due_date: Patch<Timestamp>,
}

impl TaskChanges {
    /// Whether no field is to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
