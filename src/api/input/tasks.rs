//! Tasks; contract section 3.

use super::errors::ValidationErrors;
use super::presence::{ClearedIfNull, Defaulted, KeptIfNull, Nullable, Optional, Required};
use super::reader::input;
use super::types::{Cursor, Day, Flag, ItemId, Limit, Page, Search};
use crate::domain::{Description, NewTask, Priority, TaskChanges, Timestamp, Title, UserId};
use crate::store::{TaskFilter, TaskPosition};

input! {
    /// A task to create.
    #[derive(Debug)]
    pub(crate) struct CreateTask in Body {
        /// The title.
        title: Required<Title>,
        /// Details.
        description: Nullable<Description>,
        /// How urgent the task is.
        priority: Defaulted<Priority>,
        /// When the task is due.
        due_date: Nullable<Timestamp>,
    }
}

impl CreateTask {
    /// The task, owned by `user_id`.
    pub fn into_task(self, user_id: UserId) -> NewTask {
        NewTask {
            user_id,
            title: self.title,
            description: self.description,
            priority: self.priority,
            due_date: self.due_date,
        }
    }
}

input! {
    /// Changes to a task. Absent fields stay unchanged.
    #[derive(Debug)]
    pub(crate) struct UpdateTask in Body {
        /// The title.
        title: KeptIfNull<Title>,
        /// Details.
        description: ClearedIfNull<Description>,
        /// How urgent the task is.
        priority: KeptIfNull<Priority>,
        /// When the task is due.
        due_date: ClearedIfNull<Timestamp>,
        /// Whether the task is completed.
        completed: KeptIfNull<bool>,
    }
}

impl From<UpdateTask> for TaskChanges {
    fn from(update: UpdateTask) -> Self {
        Self {
            title: update.title,
            description: update.description,
            completed: update.completed,
            priority: update.priority,
            due_date: update.due_date,
        }
    }
}

input! {
    /// Whether a task is completed.
    #[derive(Debug)]
    pub(crate) struct CompleteTask in Body {
        /// True if the task is completed.
        completed: Required<bool>,
    }
}

impl From<CompleteTask> for TaskChanges {
    fn from(CompleteTask { completed }: CompleteTask) -> Self {
        Self {
            completed: Some(completed),
            ..Self::default()
        }
    }
}

input! {
    /// Tasks to delete.
    #[derive(Debug)]
    pub(crate) struct BulkDelete in Body {
        /// Their ids. Ids that do not exist are reported as not found.
        task_ids: Required<Vec<ItemId>>,
    }
}

input! {
    /// Filters and paging of a list of tasks.
    #[derive(Debug)]
    pub(crate) struct ListTasks in Query {
        /// Tasks whose title or description contains this text, in upper or lower case.
        search: Optional<Search>,
        /// Tasks of this priority.
        priority: Optional<Priority>,
        /// Tasks that are, or are not, completed.
        completed: Optional<Flag>,
        /// Tasks due at or before the end of this UTC day.
        due_before: Optional<Day>,
        /// Tasks due at or after the start of this UTC day.
        due_after: Optional<Day>,
        /// The number of the page, from 1.
        page: Optional<Page>,
        /// The number of tasks on a page.
        limit: Defaulted<Limit>,
        /// Continues a list: the `next_cursor` of its last page, or empty for the first page.
        /// Such a list has no total, and `page` must be absent.
        cursor: Optional<Cursor>,
    }
}

/// The part of a list that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paging {
    /// This page, from 1.
    Page(i64),
    /// What follows this position, or the start of the list.
    After(Option<TaskPosition>),
}

impl ListTasks {
    pub fn filter(&self) -> TaskFilter {
        TaskFilter {
            search: self.search.as_ref().map(|Search(text)| text.clone()),
            priority: self.priority,
            completed: self.completed.map(|Flag(completed)| completed),
            due_before: self.due_before.map(|Day(day)| day),
            due_after: self.due_after.map(|Day(day)| day),
        }
    }

    /// The number of tasks on a page.
    pub fn limit(&self) -> i64 {
        self.limit.0
    }

    /// The requested page. A page number and a cursor exclude each other.
    pub fn paging(&self, user: &UserId) -> Result<Paging, ValidationErrors> {
        match (&self.cursor, self.page) {
            (None, page) => Ok(Paging::Page(page.unwrap_or_default().0)),
            (Some(cursor), None) => cursor.position(user).map(Paging::After),
            (Some(cursor), Some(_)) => Err(cursor.refuse("page and cursor exclude each other")),
        }
    }

    /// The number of tasks before a page. A page too far away to count is as empty as the
    /// farthest one (contract 10.13).
    pub fn offset(&self, page: i64) -> i64 {
        (page - 1).saturating_mul(self.limit())
    }
}
