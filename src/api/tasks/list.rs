//! `GET /tasks/`: contract 3.4, and 13 for cursors.

use serde::Serialize;

use crate::api::conditional::represent;
use crate::api::cursor;
use crate::api::endpoint::{Call, Inputs};
use crate::api::error::ApiError;
use crate::api::input::{ListTasks, Paging};
use crate::api::reply::Reply;
use crate::domain::Task;
use crate::store::TaskPosition;

/// A page of tasks; contract 3.4.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TaskList {
    /// Newest first.
    tasks: Vec<Task>,
    /// The number of matching tasks on all pages.
    total: i64,
    /// The number of this page, from 1.
    page: i64,
    /// The number of tasks on a full page.
    limit: i64,
    /// The number of pages; at least 1.
    pages: i64,
}

/// A page of tasks in a list by cursor. Nothing is counted, so it has no number and no total.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TaskSlice {
    /// Newest first.
    tasks: Vec<Task>,
    /// The number of tasks on a full page.
    limit: i64,
    /// The `cursor` of the next page; null on the last page.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A page by number, or by cursor.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum TaskListAnswer {
    /// Without `cursor`.
    Page(TaskList),
    /// With `cursor`.
    Slice(TaskSlice),
}

pub(in crate::api) async fn list_tasks(
    call: Call,
    inputs: Inputs<(), ListTasks>,
) -> Result<Reply, ApiError> {
    let query = &inputs.query;
    let answer = match query.paging(&call.caller.user)? {
        Paging::Page(number) => TaskListAnswer::Page(page(&call, query, number).await?),
        Paging::After(position) => TaskListAnswer::Slice(slice(&call, query, position).await?),
    };
    represent(&call.head, &answer)
}

async fn page(call: &Call, query: &ListTasks, number: i64) -> Result<TaskList, ApiError> {
    let (store, user) = (&call.context.store, &call.caller.user);
    let limit = query.limit();
    let page = store
        .tasks(user, &query.filter(), limit, query.offset(number))
        .await?;
    Ok(TaskList {
        tasks: page.tasks,
        total: page.total,
        page: number,
        limit,
        pages: ((page.total + limit - 1) / limit).max(1),
    })
}

async fn slice(
    call: &Call,
    query: &ListTasks,
    after: Option<TaskPosition>,
) -> Result<TaskSlice, ApiError> {
    let (store, user) = (&call.context.store, &call.caller.user);
    let limit = query.limit();
    let slice = store
        .tasks_after(user, &query.filter(), limit, after)
        .await?;
    Ok(TaskSlice {
        tasks: slice.tasks,
        limit,
        next_cursor: slice.next.map(|position| cursor::encode(position, user)),
    })
}
