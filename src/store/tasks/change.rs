//! Reading, changing and deleting tasks by their ids.

use crate::domain::{Description, Task, TaskChanges, TaskId, Timestamp, Title, UserId, fold};
use crate::store::arg::{Arg, args};
use crate::store::database::Store;
use crate::store::error::StoreError;
use crate::store::sql::{Sql, per_engine};

static GET: Sql = Sql::Common(concat!(
    "SELECT ",
    task_columns!(),
    " FROM tasks WHERE id = $1 AND user_id = $2"
));

/// A changed due date arms the reminder again. A row without folded texts stays without: only
/// all of its texts together are a row's folded texts.
pub(super) static UPDATE: Sql = per_engine!(
    ["UPDATE tasks SET
        title = COALESCE($3, title),
        description = CASE WHEN $4 THEN $5 ELSE description END,
        completed = COALESCE($6, completed),
        priority = COALESCE($7"] { postgres: "::text::prioritylevel", sqlite: "" }
    => concat!(", priority),
        reminder_sent = CASE WHEN $8 AND due_date IS DISTINCT FROM $9 THEN FALSE ELSE reminder_sent END,
        due_date = CASE WHEN $8 THEN $9 ELSE due_date END,
        updated_at = $10,
        search_title = CASE WHEN search_title IS NOT NULL THEN COALESCE($11, search_title) END,
        search_description = CASE WHEN search_title IS NULL THEN NULL WHEN $4 THEN $12 ELSE search_description END
        WHERE id = $1 AND user_id = $2 RETURNING ", task_columns!())
);

pub(super) static DELETE: Sql = Sql::Common("DELETE FROM tasks WHERE id = $1 AND user_id = $2");

/// `$2` is a JSON array of ids.
static DELETE_SEVERAL: Sql = per_engine!(
    ["DELETE FROM tasks WHERE user_id = $1 AND id IN (SELECT "] {
        postgres: "value::bigint FROM json_array_elements_text($2::json))",
        sqlite: "value FROM json_each($2))"
    }
    => " RETURNING id"
);

/// The arguments of [`UPDATE`].
pub(super) fn update_args<'a>(
    user: &'a UserId,
    id: TaskId,
    changes: &'a TaskChanges,
    now: Timestamp,
) -> [Arg<'a>; 12] {
    let TaskChanges {
        title,
        description,
        completed,
        priority,
        due_date,
    } = changes;
    let title = title.as_ref().map(Title::as_str);
    let new_description = description.value().map(Description::as_str);
    args![
        id,
        user,
        title,
        description.is_set(),
        new_description,
        *completed,
        *priority,
        due_date.is_set(),
        due_date.value().copied(),
        now,
        title.map(fold),
        new_description.map(fold),
    ]
}

impl Store {
    /// The user's task with this id; `None` if there is none or it belongs to another user.
    pub async fn task(&self, user: &UserId, id: TaskId) -> Result<Option<Task>, StoreError> {
        self.read(&GET, &args![id, user]).await?.optional()
    }

    /// Applies `changes` and returns the changed task; `None` as in [`Store::task`].
    ///
    /// Without any change the task stays as it is, including its `updated_at`.
    pub async fn update_task(
        &self,
        user: &UserId,
        id: TaskId,
        changes: &TaskChanges,
    ) -> Result<Option<Task>, StoreError> {
        if changes.is_empty() {
            return self.task(user, id).await;
        }
        let args = update_args(user, id, changes, self.now());
        self.write(&UPDATE, &args).await?.optional()
    }

    /// Deletes the user's task and its notifications; `false` if there was none.
    pub async fn delete_task(&self, user: &UserId, id: TaskId) -> Result<bool, StoreError> {
        Ok(self.write(&DELETE, &args![id, user]).await?.affected > 0)
    }

    /// Deletes those of `ids` that belong to the user, in one statement, and returns them in
    /// no particular order.
    pub async fn delete_tasks(
        &self,
        user: &UserId,
        ids: &[TaskId],
    ) -> Result<Vec<TaskId>, StoreError> {
        let deleted = self.write(&DELETE_SEVERAL, &args![user, ids]).await?;
        Ok(deleted.column("id")?)
    }
}
