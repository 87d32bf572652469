//! A task and what can be done to one.

use serde::Serialize;

use super::{Description, Priority, Timestamp, Title, UserId};

/// A task's number in the database; positive.
pub type TaskId = i64;

/// A task as the store keeps it and the API shows it: the contract's nine keys, in its order.
///
/// Texts are plain strings: what was once stored is shown, whatever today's rules say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(example = json!({
    "id": 47, "user_id": "usr_1", "title": "Pay rent", "description": null,
    "completed": false, "priority": "Medium", "due_date": "2031-01-31T10:00:00Z",
    "created_at": "2031-01-01T09:00:00.123456Z", "updated_at": "2031-01-01T09:00:00.123456Z"
}))]
pub struct Task {
    /// Unique over all users.
    pub id: TaskId,
    /// The owner.
    pub user_id: String,
    /// 1 to 200 characters.
    pub title: String,
    /// Never empty; null when there is none.
    #[schema(required)]
    pub description: Option<String>,
    /// Done?
    pub completed: bool,
    /// How urgent.
    pub priority: Priority,
    /// When it is due, in UTC.
    #[schema(required)]
    pub due_date: Option<Timestamp>,
    /// When it was created, in UTC.
    pub created_at: Timestamp,
    /// When it last changed, in UTC.
    pub updated_at: Timestamp,
}

/// What a new task is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewTask {
    /// The owner.
    pub user_id: UserId,
    /// Its title.
    pub title: Title,
    /// Its description, if any.
    pub description: Option<Description>,
    /// Its priority.
    pub priority: Priority,
    /// When it is due, if ever.
    pub due_date: Option<Timestamp>,
}

/// A field of a partial update that can be cleared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Set it, or clear it with `None`.
    Set(Option<T>),
}

impl<T> Patch<T> {
    /// Whether this changes the field.
    #[must_use]
    pub fn is_set(&self) -> bool {
        matches!(self, Self::Set(_))
    }

    /// The new value, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Keep => None,
            Self::Set(value) => value.as_ref(),
        }
    }
}

/// A partial update; `None` and [`Patch::Keep`] leave a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskChanges {
    /// A new title.
    pub title: Option<Title>,
    /// A new or cleared description.
    pub description: Patch<Description>,
    /// Done or not.
    pub completed: Option<bool>,
    /// A new priority.
    pub priority: Option<Priority>,
    /// A new or cleared due date.
    pub due_date: Patch<Timestamp>,
}

impl TaskChanges {
    /// Whether nothing at all is to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
