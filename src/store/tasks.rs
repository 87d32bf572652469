//! Tasks: their statements, their rows, their units of work.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::domain::{NewTask, Priority, Task, TaskChanges, TaskId, Timestamp, UserId};

use super::dialect::{Sql, per_engine};
use super::error::is_surely_undone;
use super::{Store, StoreError, reading, writing};

/// The columns of a [`Task`], in the order in which [`TaskRow`] reads them.
macro_rules! columns {
    () => {
        "id, user_id, title, description, completed, CAST(priority AS text), due_date, created_at, updated_at"
    };
}

mod conditional;
mod list;

pub use conditional::Conditional;
pub use list::{TaskFilter, TaskPage, TaskPosition, TaskSlice};

const GET: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tasks WHERE id = $1 AND user_id = $2"
);

pub(super) const INSERT: Sql = per_engine!(
    ["INSERT INTO tasks (user_id, title, description, priority, due_date, completed, reminder_sent, created_at, updated_at"]
    { postgres: "", sqlite: ", title_folded, description_folded" }
    [") VALUES ($1, $2, $3, $4"] { postgres: "::text::prioritylevel", sqlite: "" } [", $5, FALSE, FALSE, $6, $6"]
    { postgres: "", sqlite: ", $7, $8" }
    => concat!(") RETURNING ", columns!())
);

/// `created_at` is the clock's microsecond: that another request of the user has it, and the
/// title too, is next to impossible.
const FIND_CREATED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tasks WHERE user_id = $1 AND created_at = $2 AND title = $3 ORDER BY id DESC LIMIT 1"
);

/// Changing the due date arms the reminder again.
const UPDATE: Sql = per_engine!(
    ["UPDATE tasks SET
        title = COALESCE($3, title),
        description = CASE WHEN $4 THEN $5 ELSE description END,
        completed = COALESCE($6, completed),
        priority = COALESCE($7"] { postgres: "::text::prioritylevel", sqlite: "" } [", priority),
        reminder_sent = CASE WHEN $8 AND due_date IS DISTINCT FROM $9 THEN FALSE ELSE reminder_sent END,
        due_date = CASE WHEN $8 THEN $9 ELSE due_date END,
        updated_at = $10"] {
        postgres: "",
        sqlite: ",
        title_folded = COALESCE($11, title_folded),
        description_folded = CASE WHEN $4 THEN $12 ELSE description_folded END"
    }
    => concat!(" WHERE id = $1 AND user_id = $2 RETURNING ", columns!())
);

const DELETE: &str = "DELETE FROM tasks WHERE id = $1 AND user_id = $2";

/// `$2` is a JSON array of ids: one bound value on both engines.
const BULK_DELETE: Sql = per_engine!(
    ["DELETE FROM tasks WHERE user_id = $1 AND id IN (SELECT "] {
        postgres: "value::bigint FROM json_array_elements_text($2::json))",
        sqlite: "value FROM json_each($2))"
    }
    => " RETURNING id"
);

/// A row of [`columns!`].
pub(super) struct TaskRow(Task);

impl<'r, R: Row> FromRow<'r, R> for TaskRow
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Priority: Decode<'r, R::Database> + Type<R::Database>,
    Timestamp: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self(Task {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            title: row.try_get(2)?,
            description: row.try_get(3)?,
            completed: row.try_get(4)?,
            priority: row.try_get(5)?,
            due_date: row.try_get(6)?,
            created_at: row.try_get(7)?,
            updated_at: row.try_get(8)?,
        }))
    }
}

/// Names the row that could not be read, so that it can be found and mended.
pub(super) fn task_of<'r, R: Row>(row: &'r R) -> Result<Task, StoreError>
where
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    TaskRow: FromRow<'r, R>,
{
    match TaskRow::from_row(row) {
        Ok(TaskRow(task)) => Ok(task),
        Err(source) => Err(StoreError::corrupt(
            "tasks",
            row.try_get(0).unwrap_or(0),
            source,
        )),
    }
}

/// [`INSERT`] with a [`NewTask`] bound to it.
macro_rules! bind_insert {
    ($connection:ident, $task:expr, $now:expr) => {{
        let task: &$crate::domain::NewTask = $task;
        let description = task
            .description
            .as_ref()
            .map($crate::domain::Description::as_str);
        let query = sqlx::query($connection.text(&$crate::store::tasks::INSERT))
            .persistent($connection.persistent())
            .bind(task.user_id.as_str())
            .bind(task.title.as_str())
            .bind(description)
            .bind(task.priority)
            .bind(task.due_date)
            .bind($now);
        if $connection.dialect().wants_folded() {
            query
                .bind($crate::store::dialect::fold(task.title.as_str()))
                .bind(description.map($crate::store::dialect::fold))
        } else {
            query
        }
    }};
}
pub(super) use bind_insert;

/// [`UPDATE`] with [`TaskChanges`] bound to it.
macro_rules! bind_update {
    ($connection:ident, $user:expr, $id:expr, $changes:expr, $now:expr) => {{
        let changes: &$crate::domain::TaskChanges = $changes;
        let title = changes.title.as_ref().map($crate::domain::Title::as_str);
        let description = changes
            .description
            .value()
            .map($crate::domain::Description::as_str);
        let query = sqlx::query($connection.text(&$crate::store::tasks::UPDATE))
            .persistent($connection.persistent())
            .bind($id)
            .bind($user.as_str())
            .bind(title)
            .bind(changes.description.is_set())
            .bind(description)
            .bind(changes.completed)
            .bind(changes.priority)
            .bind(changes.due_date.is_set())
            .bind(changes.due_date.value().copied())
            .bind($now);
        if $connection.dialect().wants_folded() {
            query
                .bind(title.map($crate::store::dialect::fold))
                .bind(description.map($crate::store::dialect::fold))
        } else {
            query
        }
    }};
}
use bind_update;

impl Store {
    /// The user's task with this id, or `None` when there is none or it is somebody else's.
    pub async fn task(&self, user: &UserId, id: TaskId) -> Result<Option<Task>, StoreError> {
        reading!(self, |connection| {
            sqlx::query(GET)
                .persistent(connection.persistent())
                .bind(id)
                .bind(user.as_str())
                .fetch_optional(&mut *connection)
                .await
        } => |row| row.as_ref().map(task_of).transpose())
    }

    /// Stores a new task and returns it.
    ///
    /// A connection that breaks meanwhile leaves it open whether the task was stored; then it
    /// is looked for, and [`StoreError::OutcomeUnknown`] says that this was not possible.
    pub async fn create_task(&self, task: &NewTask) -> Result<Task, StoreError> {
        let now = self.clock.now();
        let stored = writing!(self, |connection| {
            bind_insert!(connection, task, now).fetch_one(&mut *connection).await
        } => |row| task_of(&row));
        match stored {
            Err(StoreError::ConnectionLost(lost)) if !is_surely_undone(&lost) => {
                match self.created(task, now).await {
                    Ok(Some(task)) => Ok(task),
                    Ok(None) => Err(StoreError::ConnectionLost(lost)),
                    Err(_) => Err(StoreError::OutcomeUnknown(lost)),
                }
            }
            answered => answered,
        }
    }

    /// The task that was created at `now`, if it was.
    async fn created(&self, task: &NewTask, now: Timestamp) -> Result<Option<Task>, StoreError> {
        reading!(self, |connection| {
            sqlx::query(FIND_CREATED)
                .persistent(connection.persistent())
                .bind(task.user_id.as_str())
                .bind(now)
                .bind(task.title.as_str())
                .fetch_optional(&mut *connection)
                .await
        } => |row| row.as_ref().map(task_of).transpose())
    }

    /// Applies `changes` and returns the task as it then is; `None` as in [`Store::task`].
    ///
    /// No change at all leaves the task, its `updated_at` included, as it is.
    pub async fn update_task(
        &self,
        user: &UserId,
        id: TaskId,
        changes: &TaskChanges,
    ) -> Result<Option<Task>, StoreError> {
        if changes.is_empty() {
            return self.task(user, id).await;
        }
        let now = self.clock.now();
        writing!(self, |connection| {
            bind_update!(connection, user, id, changes, now)
                .fetch_optional(&mut *connection)
                .await
        } => |row| row.as_ref().map(task_of).transpose())
    }

    /// Deletes the user's task and its notifications; `false` when there was none.
    pub async fn delete_task(&self, user: &UserId, id: TaskId) -> Result<bool, StoreError> {
        writing!(self, |connection| {
            sqlx::query(DELETE)
                .persistent(connection.persistent())
                .bind(id)
                .bind(user.as_str())
                .execute(&mut *connection)
                .await
        } => |done| Ok(done.rows_affected() > 0))
    }

    /// Deletes those of `ids` that are the user's, in one statement, and returns them in no
    /// particular order.
    pub async fn delete_tasks(
        &self,
        user: &UserId,
        ids: &[TaskId],
    ) -> Result<Vec<TaskId>, StoreError> {
        let ids = serde_json::Value::from(ids).to_string();
        writing!(self, |connection| {
            sqlx::query_scalar::<_, i64>(connection.text(&BULK_DELETE))
                .persistent(connection.persistent())
                .bind(user.as_str())
                .bind(ids.as_str())
                .fetch_all(&mut *connection)
                .await
        } => |deleted| Ok(deleted))
    }
}
