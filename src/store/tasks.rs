//! Tasks: their statements, their rows, their units of work.

use chrono::NaiveDate;
use sqlx::{AssertSqlSafe, ColumnIndex, Decode, FromRow, Row, Type};

use crate::domain::{
    Description, NewTask, Priority, Task, TaskChanges, TaskId, Timestamp, Title, UserId,
};

use super::dialect::{Dialect, Sql, fold, per_engine};
use super::{Store, StoreError, reading, writing};

/// The columns of a [`Task`], in the order in which [`TaskRow`] reads them.
macro_rules! columns {
    () => {
        "id, user_id, title, description, completed, CAST(priority AS text), due_date, created_at, updated_at"
    };
}

const GET: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM tasks WHERE id = $1 AND user_id = $2"
);

const INSERT: Sql = per_engine!(
    ["INSERT INTO tasks (user_id, title, description, priority, due_date, completed, reminder_sent, created_at, updated_at"]
    { postgres: "", sqlite: ", title_folded, description_folded" }
    [") VALUES ($1, $2, $3, $4"] { postgres: "::text::prioritylevel", sqlite: "" } [", $5, FALSE, FALSE, $6, $6"]
    { postgres: "", sqlite: ", $7, $8" }
    => concat!(") RETURNING ", columns!())
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

/// Which tasks a list shows; `None` does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// Part of the title or of the description, whatever its case.
    pub search: Option<String>,
    /// Exactly this priority.
    pub priority: Option<Priority>,
    /// Done, or not.
    pub completed: Option<bool>,
    /// Due at or before the end of this UTC day.
    pub due_before: Option<NaiveDate>,
    /// Due at or after the start of this UTC day.
    pub due_after: Option<NaiveDate>,
}

/// A page of a list and how many tasks match in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPage {
    /// Newest first; the higher id first among equals.
    pub tasks: Vec<Task>,
    /// All that match, on every page together.
    pub total: i64,
}

/// A row of [`columns!`].
struct TaskRow(Task);

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
fn task_of<'r, R: Row>(row: &'r R) -> Result<Task, StoreError>
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

    /// One page of the user's tasks, `offset` rows after the first.
    pub async fn tasks(
        &self,
        user: &UserId,
        filter: &TaskFilter,
        limit: i64,
        offset: i64,
    ) -> Result<TaskPage, StoreError> {
        let folded = filter.search.as_deref().map(fold);
        // A day beyond the range of timestamps bounds nothing that could be stored.
        let due_before = filter
            .due_before
            .map(|day| Timestamp::end_of_day(day).unwrap_or(Timestamp::MAX));
        let due_after = filter
            .due_after
            .map(|day| Timestamp::start_of_day(day).unwrap_or(Timestamp::MAX));
        let page: Result<TaskPage, StoreError> = reading!(self, |connection| {
            let mut query = sqlx::query(AssertSqlSafe(list_statement(filter, connection.dialect())))
                .persistent(connection.persistent())
                .bind(user.as_str());
            if let (Some(search), Some(folded)) = (&filter.search, &folded) {
                query = query.bind(if connection.dialect().wants_folded() { folded } else { search });
            }
            if let Some(priority) = filter.priority {
                query = query.bind(priority);
            }
            if let Some(completed) = filter.completed {
                query = query.bind(completed);
            }
            if let Some(due_before) = due_before {
                query = query.bind(due_before);
            }
            if let Some(due_after) = due_after {
                query = query.bind(due_after);
            }
            query.bind(limit).bind(offset).fetch_all(&mut *connection).await
        } => |rows| {
            let tasks = rows.iter().map(task_of).collect::<Result<Vec<_>, _>>()?;
            // The count stands in every row, so a page without rows has none.
            let total = match rows.first() {
                Some(row) => row.try_get::<i64, _>(9).map_err(StoreError::from)?,
                None => 0,
            };
            Ok(TaskPage { tasks, total })
        });
        let mut page = page?;
        if page.tasks.is_empty() && offset > 0 {
            page.total = Box::pin(self.tasks(user, filter, 1, 0)).await?.total;
        }
        Ok(page)
    }

    /// Stores a new task and returns it.
    pub async fn create_task(&self, task: &NewTask) -> Result<Task, StoreError> {
        let now = self.clock.now();
        writing!(self, |connection| {
            let mut query = sqlx::query(connection.text(&INSERT))
                .persistent(connection.persistent())
                .bind(task.user_id.as_str())
                .bind(task.title.as_str())
                .bind(task.description.as_ref().map(Description::as_str))
                .bind(task.priority)
                .bind(task.due_date)
                .bind(now);
            if connection.dialect().wants_folded() {
                query = query
                    .bind(fold(task.title.as_str()))
                    .bind(task.description.as_ref().map(|text| fold(text.as_str())));
            }
            query.fetch_one(&mut *connection).await
        } => |row| task_of(&row))
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
        let title = changes.title.as_ref().map(Title::as_str);
        let description = changes.description.value().map(Description::as_str);
        writing!(self, |connection| {
            let mut query = sqlx::query(connection.text(&UPDATE))
                .persistent(connection.persistent())
                .bind(id)
                .bind(user.as_str())
                .bind(title)
                .bind(changes.description.is_set())
                .bind(description)
                .bind(changes.completed)
                .bind(changes.priority)
                .bind(changes.due_date.is_set())
                .bind(changes.due_date.value().copied())
                .bind(now);
            if connection.dialect().wants_folded() {
                query = query.bind(title.map(fold)).bind(description.map(fold));
            }
            query.fetch_optional(&mut *connection).await
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

/// The list's statement with only the filters that are in use.
///
/// Bound in this order: user, search, priority, completed, `due_before`,
/// `due_after`, limit, offset.
fn list_statement(filter: &TaskFilter, dialect: Dialect) -> String {
    let mut bound = 1;
    let mut next = || {
        bound += 1;
        bound
    };
    let mut condition = "user_id = $1".to_owned();
    if filter.search.is_some() {
        condition = condition + " AND " + &dialect.search_condition(next());
    }
    if filter.priority.is_some() {
        condition += &format!(" AND priority = ${}{}", next(), dialect.priority_cast());
    }
    if filter.completed.is_some() {
        condition += &format!(" AND completed = ${}", next());
    }
    if filter.due_before.is_some() {
        condition += &format!(" AND due_date <= ${}", next());
    }
    if filter.due_after.is_some() {
        condition += &format!(" AND due_date >= ${}", next());
    }
    let (limit, offset) = (next(), next());
    format!(
        concat!(
            "SELECT ",
            columns!(),
            ", (SELECT count(*) FROM tasks WHERE {condition}) AS total
             FROM tasks WHERE {condition}
             ORDER BY created_at DESC, id DESC LIMIT ${limit} OFFSET ${offset}"
        ),
        condition = condition,
        limit = limit,
        offset = offset,
    )
}
