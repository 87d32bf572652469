//! Lists of tasks: by page, and onward from a position.

use chrono::NaiveDate;
use sqlx::{AssertSqlSafe, Row};

use crate::domain::{Priority, Task, TaskId, Timestamp, UserId};
use crate::store::dialect::{Dialect, fold};
use crate::store::{Store, StoreError, reading};

use super::task_of;

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

/// A place in a list, which is ordered by these two, both descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPosition {
    /// When the task there was created.
    pub created_at: Timestamp,
    /// Its id.
    pub id: TaskId,
}

/// Tasks in a row, and where the list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSlice {
    /// Newest first; the higher id first among equals.
    pub tasks: Vec<Task>,
    /// The last of them, if there are more behind it.
    pub next: Option<TaskPosition>,
}

/// Binds what [`condition`] left open to a statement whose `$1` is the user.
macro_rules! filtered {
    ($connection:ident, $statement:expr, $user:expr, $filter:expr) => {{
        let filter: &TaskFilter = $filter;
        let mut query = sqlx::query(AssertSqlSafe($statement))
            .persistent($connection.persistent())
            .bind($user.as_str());
        if let Some(search) = &filter.search {
            query = query.bind(if $connection.dialect().wants_folded() {
                fold(search)
            } else {
                search.clone()
            });
        }
        if let Some(priority) = filter.priority {
            query = query.bind(priority);
        }
        if let Some(completed) = filter.completed {
            query = query.bind(completed);
        }
        // A day beyond the range of timestamps bounds nothing that could be stored.
        if let Some(day) = filter.due_before {
            query = query.bind(Timestamp::end_of_day(day).unwrap_or(Timestamp::MAX));
        }
        if let Some(day) = filter.due_after {
            query = query.bind(Timestamp::start_of_day(day).unwrap_or(Timestamp::MAX));
        }
        query
    }};
}

impl Store {
    /// One page of the user's tasks, `offset` rows after the first.
    pub async fn tasks(
        &self,
        user: &UserId,
        filter: &TaskFilter,
        limit: i64,
        offset: i64,
    ) -> Result<TaskPage, StoreError> {
        let page: Result<TaskPage, StoreError> = reading!(self, |connection| {
            let statement = page_statement(filter, connection.dialect());
            filtered!(connection, statement, user, filter)
                .bind(limit)
                .bind(offset)
                .fetch_all(&mut *connection)
                .await
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

    /// At most `limit` of the user's tasks that come behind `after`, or the first ones.
    ///
    /// Nothing is counted, and the index leads to the position, so that the last
    /// page of a long list costs what the first does.
    pub async fn tasks_after(
        &self,
        user: &UserId,
        filter: &TaskFilter,
        limit: i64,
        after: Option<TaskPosition>,
    ) -> Result<TaskSlice, StoreError> {
        let mut tasks = reading!(self, |connection| {
            let statement = slice_statement(filter, after.is_some(), connection.dialect());
            let mut query = filtered!(connection, statement, user, filter);
            if let Some(position) = after {
                query = query.bind(position.created_at).bind(position.id);
            }
            // One more than wanted tells whether there are more.
            query.bind(limit + 1).fetch_all(&mut *connection).await
        } => |rows| rows.iter().map(task_of).collect::<Result<Vec<_>, _>>())?;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = tasks.len() > wanted;
        tasks.truncate(wanted);
        let next = tasks.last().filter(|_| more).map(|task| TaskPosition {
            created_at: task.created_at,
            id: task.id,
        });
        Ok(TaskSlice { tasks, next })
    }
}

/// A statement's condition with only the filters that are in use, and the number
/// of its last parameter.
///
/// Bound in this order: user, search, priority, completed, `due_before`, `due_after`.
fn condition(filter: &TaskFilter, dialect: Dialect) -> (String, usize) {
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
    (condition, bound)
}

/// Behind the filter's parameters: limit, offset.
fn page_statement(filter: &TaskFilter, dialect: Dialect) -> String {
    let (condition, bound) = condition(filter, dialect);
    format!(
        concat!(
            "SELECT ",
            columns!(),
            ", (SELECT count(*) FROM tasks WHERE {condition}) AS total
             FROM tasks WHERE {condition}
             ORDER BY created_at DESC, id DESC LIMIT ${limit} OFFSET ${offset}"
        ),
        condition = condition,
        limit = bound + 1,
        offset = bound + 2,
    )
}

/// Behind the filter's parameters: the position's time and id if there is one, limit.
///
/// Comparing the pair, rather than each of its parts, is what lets both engines
/// start in the middle of the index.
fn slice_statement(filter: &TaskFilter, positioned: bool, dialect: Dialect) -> String {
    let (mut condition, mut bound) = condition(filter, dialect);
    if positioned {
        condition += &format!(" AND (created_at, id) < (${}, ${})", bound + 1, bound + 2);
        bound += 2;
    }
    format!(
        concat!(
            "SELECT ",
            columns!(),
            " FROM tasks WHERE {condition} ORDER BY created_at DESC, id DESC LIMIT ${limit}"
        ),
        condition = condition,
        limit = bound + 1,
    )
}
