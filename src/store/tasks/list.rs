//! Lists of tasks: by page number, or after a position.

use chrono::NaiveDate;

use crate::domain::{Priority, Task, TaskId, Timestamp, UserId};
use crate::store::arg::{Arg, args};
use crate::store::batch::{Answers, Batched};
use crate::store::database::Store;
use crate::store::dialect::{Dialect, fold};
use crate::store::error::StoreError;
use crate::store::sql::Sql;

/// Which tasks a list shows; `None` does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// Part of the title or of the description, regardless of case.
    pub search: Option<String>,
    /// Of exactly this priority.
    pub priority: Option<Priority>,
    /// Completed, or open.
    pub completed: Option<bool>,
    /// Due at or before the end of this UTC day.
    pub due_before: Option<NaiveDate>,
    /// Due at or after the start of this UTC day.
    pub due_after: Option<NaiveDate>,
}

/// A page of a list, and the total number of matching tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPage {
    /// Newest first; among equals the higher id first.
    pub tasks: Vec<Task>,
    /// The number of matching tasks on all pages.
    pub total: i64,
}

/// A position in a list, which is ordered by these two fields, both descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPosition {
    pub created_at: Timestamp,
    pub id: TaskId,
}

/// Consecutive tasks, and where the list continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSlice {
    /// Newest first; among equals the higher id first.
    pub tasks: Vec<Task>,
    /// The last of them, if more follow.
    pub next: Option<TaskPosition>,
}

/// The query of a page: the condition, then the limit and the offset.
macro_rules! page {
    (where: $condition:literal, limit: $limit:literal, offset: $offset:literal) => {
        concat!(
            "SELECT ",
            task_columns!(),
            ", (SELECT count(*) FROM tasks WHERE ",
            $condition,
            ") AS total FROM tasks WHERE ",
            $condition,
            " ORDER BY created_at DESC, id DESC LIMIT ",
            $limit,
            " OFFSET ",
            $offset
        )
    };
}

/// A page without filters.
static PAGE: Batched = Batched {
    single: Sql::Common(page!(where: "user_id = $1", limit: "$2", offset: "$3")),
    several: concat!(
        "SELECT page.*, number FROM unnest($1::text[], $2::bigint[], $3::bigint[])
            WITH ORDINALITY AS request (owner, most, first, number)
         CROSS JOIN LATERAL (",
        page!(where: "user_id = owner", limit: "most", offset: "first"),
        ") AS page"
    ),
    most: 16,
    writes: false,
    answers: Answers::Numbered,
};

/// Longer pages run alone: they would keep those waiting that share their statement.
const LONGEST_SHARED: i64 = 50;

impl Store {
    /// One page of the user's tasks, `offset` rows after the first.
    pub async fn tasks(
        &self,
        user: &UserId,
        filter: &TaskFilter,
        limit: i64,
        offset: i64,
    ) -> Result<TaskPage, StoreError> {
        let result = if *filter == TaskFilter::default() && limit <= LONGEST_SHARED {
            let args = args![user, limit, offset];
            self.share(&PAGE, None, &args).await?
        } else {
            let (sql, args) = page_query(user, filter, limit, offset, self.dialect());
            self.read(&sql, &args).await?
        };
        let mut tasks: Vec<Task> = result.all()?;
        // A statement for several requests returns their rows in no guaranteed order.
        tasks.sort_by(|one, other| (other.created_at, other.id).cmp(&(one.created_at, one.id)));
        // Every row has the count, so a page without rows has none.
        let total = if !tasks.is_empty() {
            result.value("total")?
        } else if offset > 0 {
            Box::pin(self.tasks(user, filter, 1, 0)).await?.total
        } else {
            0
        };
        Ok(TaskPage { tasks, total })
    }

    /// At most `limit` of the user's tasks that follow `after`, or the first ones.
    ///
    /// Nothing is counted, and the index leads to the position, so the last page of a long
    /// list costs as much as the first.
    pub async fn tasks_after(
        &self,
        user: &UserId,
        filter: &TaskFilter,
        limit: i64,
        after: Option<TaskPosition>,
    ) -> Result<TaskSlice, StoreError> {
        // One more than requested shows whether more follow.
        let (sql, args) = slice_query(user, filter, limit + 1, after, self.dialect());
        let mut tasks: Vec<Task> = self.read(&sql, &args).await?.all()?;
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

/// A condition with only the filters that are in use, and the values bound to it.
struct Condition<'a> {
    text: String,
    args: Vec<Arg<'a>>,
}

impl<'a> Condition<'a> {
    fn new(user: &'a UserId, filter: &'a TaskFilter, dialect: Dialect) -> Self {
        let TaskFilter {
            search,
            priority,
            completed,
            due_before,
            due_after,
        } = filter;
        let mut condition = Self {
            text: "user_id = $1".to_owned(),
            args: Vec::from(args![user]),
        };
        if let Some(search) = search {
            let number = if dialect.wants_folded() {
                condition.bind(fold(search))
            } else {
                condition.bind(search.as_str())
            };
            condition.and(&dialect.search_condition(number));
        }
        if let Some(priority) = *priority {
            let number = condition.bind(priority);
            condition.and(&format!("priority = ${number}{}", dialect.priority_cast()));
        }
        if let Some(completed) = *completed {
            let number = condition.bind(completed);
            condition.and(&format!("completed = ${number}"));
        }
        // A day outside the range of timestamps excludes no task.
        if let Some(day) = *due_before {
            let number = condition.bind(Timestamp::end_of_day(day).unwrap_or(Timestamp::MAX));
            condition.and(&format!("due_date <= ${number}"));
        }
        if let Some(day) = *due_after {
            let number = condition.bind(Timestamp::start_of_day(day).unwrap_or(Timestamp::MAX));
            condition.and(&format!("due_date >= ${number}"));
        }
        condition
    }

    /// Binds a value and returns the number of its parameter.
    fn bind(&mut self, value: impl Into<Arg<'a>>) -> usize {
        self.args.push(value.into());
        self.args.len()
    }

    fn and(&mut self, condition: &str) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
    }
}

fn page_query<'a>(
    user: &'a UserId,
    filter: &'a TaskFilter,
    limit: i64,
    offset: i64,
    dialect: Dialect,
) -> (Sql, Vec<Arg<'a>>) {
    let mut condition = Condition::new(user, filter, dialect);
    let limit = condition.bind(limit);
    let offset = condition.bind(offset);
    let text = format!(
        page!(where: "{condition}", limit: "${limit}", offset: "${offset}"),
        condition = condition.text,
        limit = limit,
        offset = offset,
    );
    (Sql::Built(text.into()), condition.args)
}

/// Both engines can start a comparison of pairs in the middle of the index.
fn slice_query<'a>(
    user: &'a UserId,
    filter: &'a TaskFilter,
    limit: i64,
    after: Option<TaskPosition>,
    dialect: Dialect,
) -> (Sql, Vec<Arg<'a>>) {
    let mut condition = Condition::new(user, filter, dialect);
    if let Some(position) = after {
        let created_at = condition.bind(position.created_at);
        let id = condition.bind(position.id);
        condition.and(&format!("(created_at, id) < (${created_at}, ${id})"));
    }
    let limit = condition.bind(limit);
    let text = format!(
        concat!(
            "SELECT ",
            task_columns!(),
            " FROM tasks WHERE {condition} ORDER BY created_at DESC, id DESC LIMIT ${limit}"
        ),
        condition = condition.text,
        limit = limit,
    );
    (Sql::Built(text.into()), condition.args)
}
