//! Lists of tasks: by page number, or after a position.

use std::cmp::Reverse;

use tokio::task::yield_now;

use crate::domain::{Task, TaskId, UserId};
use crate::store::arg::{Arg, args};
use crate::store::batch::{Answers, Batched};
use crate::store::connection::ROWS_AT_A_TIME;
use crate::store::database::Store;
use crate::store::dialect::Dialect;
use crate::store::error::StoreError;
use crate::store::shares::Share;
use crate::store::sql::Sql;
use crate::store::values::StoredTime;

use super::filter::{Condition, TaskFilter};
use super::search::Search;

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
    pub created_at: StoredTime,
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

/// The query of a page without a search: the condition, then the limit and the offset.
///
/// Where there are arguments in these, they are the results of subqueries; see [`Condition::value`].
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
    single: Sql::Common(page!(
        where: "user_id = (SELECT CAST($1 AS text))",
        limit: "(SELECT CAST($2 AS bigint))",
        offset: "(SELECT CAST($3 AS bigint))"
    )),
    several: concat!(
        "SELECT page.*, request.number FROM unnest((SELECT $1::text[]), $2::bigint[], $3::bigint[])
            WITH ORDINALITY AS request (owner, most, first, number)
         CROSS JOIN LATERAL (",
        page!(where: "tasks.user_id = request.owner", limit: "request.most", offset: "request.first"),
        ") AS page"
    ),
    several_in_json: None,
    most: 16,
    writes: false,
    answers: Answers::Numbered,
};

/// Longer pages run alone: they would keep those waiting that share their statement, and so would
/// the pages of users with many tasks, or with an unknown number.
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
        let is_unfiltered = *filter == TaskFilter::default();
        let share = Share::of(user);
        let search = self.search(user, filter).await?;
        let result = if is_unfiltered {
            let args = args![user, limit, offset];
            if limit <= LONGEST_SHARED && self.short_lists().has(share) {
                self.share(&PAGE, &args).await?
            } else {
                self.read(&PAGE.single, &args).await?
            }
        } else {
            let condition = self.condition(user, filter, search.as_ref());
            let (sql, args) = page_query(condition, search.is_some(), limit, offset);
            self.read(&sql, &args).await?
        };
        let mut tasks: Vec<Task> = result.all()?;
        let_others_run(&tasks).await;
        if search.is_some_and(|search| search.is_outdated(&tasks)) {
            return Box::pin(self.tasks(user, filter, limit, offset)).await;
        }
        // A statement for several requests returns their rows in no guaranteed order.
        tasks.sort_by_key(|task| Reverse((task.created_at, task.id)));
        // Every row has the count, so a page without rows has none.
        let total = if !tasks.is_empty() {
            result.value("total")?
        } else if offset > 0 {
            Box::pin(self.tasks(user, filter, 1, 0)).await?.total
        } else {
            0
        };
        if is_unfiltered {
            self.short_lists().record(share, total);
        }
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
        let search = self.search(user, filter).await?;
        let condition = self.condition(user, filter, search.as_ref());
        let is_sqlite = self.dialect() == Dialect::Sqlite;
        let (sql, args) = slice_query(condition, search.is_some(), limit + 1, after, is_sqlite);
        let found = self.read(&sql, &args).await?;
        // Rows that cannot be read are left out of the tasks, and count.
        let ids: Vec<TaskId> = found.column("id")?;
        let times: Vec<StoredTime> = found.column("created_at")?;
        let mut tasks: Vec<Task> = found.all()?;
        let_others_run(&tasks).await;
        if search.is_some_and(|search| search.is_outdated(&tasks)) {
            return Box::pin(self.tasks_after(user, filter, limit, after)).await;
        }
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let extra = ids.get(wanted);
        tasks.retain(|task| Some(&task.id) != extra);
        let last = wanted.checked_sub(1).filter(|_| extra.is_some());
        let next = last.map(|last| TaskPosition {
            created_at: times[last],
            id: ids[last],
        });
        Ok(TaskSlice { tasks, next })
    }

    fn condition<'a>(
        &self,
        user: &'a UserId,
        filter: &'a TaskFilter,
        search: Option<&Search>,
    ) -> Condition<'a> {
        let dialect = self.dialect();
        let mut condition = Condition::new(user, filter, dialect, search.is_some());
        if let Some(search) = search {
            search.restrict(&mut condition, dialect);
        }
        condition
    }
}

/// Between reading many tasks and writing the answer, the other requests of this thread, such as
/// probes, get a turn.
async fn let_others_run(tasks: &[Task]) {
    if tasks.len() >= ROWS_AT_A_TIME {
        yield_now().await;
    }
}

/// A search is made once: its matches are counted, and the page is cut out of them. Without a
/// search, an index has the count and leads to the page, so both are asked for.
fn page_query(
    mut condition: Condition<'_>,
    is_search: bool,
    limit: i64,
    offset: i64,
) -> (Sql, Vec<Arg<'_>>) {
    let limit = condition.value(limit, "bigint");
    let offset = condition.value(offset, "bigint");
    let condition_text = condition.text;
    let sql = if is_search {
        Sql::Unprepared(
            format!(
                concat!(
                    "WITH found AS MATERIALIZED (SELECT id, created_at FROM tasks WHERE {condition})
                     SELECT ",
                    task_columns!(),
                    ", (SELECT count(*) FROM found) AS total
                     FROM tasks WHERE id IN (SELECT id FROM found
                         ORDER BY created_at DESC, id DESC LIMIT {limit} OFFSET {offset})
                     ORDER BY created_at DESC, id DESC"
                ),
                condition = condition_text,
                limit = limit,
                offset = offset,
            )
            .into(),
        )
    } else {
        Sql::Built(
            format!(
                page!(where: "{condition}", limit: "{limit}", offset: "{offset}"),
                condition = condition_text,
                limit = limit,
                offset = offset,
            )
            .into(),
        )
    };
    (sql, condition.args)
}

/// Both engines can start a comparison of pairs in the middle of the index.
fn slice_query(
    mut condition: Condition<'_>,
    is_search: bool,
    limit: i64,
    after: Option<TaskPosition>,
    is_sqlite: bool,
) -> (Sql, Vec<Arg<'_>>) {
    if is_sqlite {
        // A column of SQLite holds values of any type, and no cursor can name a text.
        condition.and("typeof(created_at) = 'integer'");
    }
    if let Some(position) = after {
        let created_at = condition.value(position.created_at, "timestamptz");
        let id = condition.value(position.id, "bigint");
        condition.and(&format!("(created_at, id) < ({created_at}, {id})"));
    }
    let limit = condition.value(limit, "bigint");
    let text = format!(
        concat!(
            "SELECT ",
            task_columns!(),
            " FROM tasks WHERE {condition} ORDER BY created_at DESC, id DESC LIMIT {limit}"
        ),
        condition = condition.text,
        limit = limit,
    );
    let sql = if is_search {
        Sql::Unprepared(text.into())
    } else {
        Sql::Built(text.into())
    };
    (sql, condition.args)
}
