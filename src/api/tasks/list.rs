//! `GET /tasks/`: contract 3.4, and 13 for cursors.

use serde::Serialize;
use warp::reply::Response;

use crate::api::call::{Call, json_bytes};
use crate::api::conditional::represent;
use crate::api::cursor;
use crate::api::error::ApiError;
use crate::api::error_body::PlainError;
use crate::api::input::{self, ListTasks, Paging, Sources};
use crate::domain::Task;
use crate::store::TaskPosition;

/// A page of tasks; contract 3.4.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TaskList {
    /// Newest first.
    tasks: Vec<Task>,
    /// All that match, on every page together.
    total: i64,
    /// This page's number, from 1.
    page: i64,
    /// Tasks on a full page.
    limit: i64,
    /// How many pages there are; at least 1.
    pages: i64,
}

/// A page of tasks that was asked for by cursor: nothing is counted, so it has neither a
/// number nor a total.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TaskSlice {
    /// Newest first.
    tasks: Vec<Task>,
    /// Tasks on a full page.
    limit: i64,
    /// The `cursor` of the next page; null when this is the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// One of the two, as the query wants it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum TaskListAnswer {
    /// Without `cursor`.
    Page(TaskList),
    /// With `cursor`.
    Slice(TaskSlice),
}

/// The caller's tasks, newest first.
#[utoipa::path(
    get, path = "/tasks/", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    responses(
        (status = 200, description = "Tasks", body = TaskListAnswer),
        (status = 304, description = "The list is what the client knows"),
        (status = 412, description = "The list is not what the client knows", body = PlainError),
    ),
)]
pub(in crate::api) async fn list_tasks(call: &Call) -> Result<Response, ApiError> {
    let sources = Sources {
        query: &call.head.query,
        ..Sources::default()
    };
    let ((), query, ()) = input::read::<(), ListTasks, ()>(&sources)?;
    let answer = match query.paging(&call.caller.user)? {
        Paging::Page(number) => TaskListAnswer::Page(page(call, &query, number).await?),
        Paging::After(position) => TaskListAnswer::Slice(slice(call, &query, position).await?),
    };
    represent(&call.head, json_bytes(&answer)?)
}

async fn page(call: &Call, query: &ListTasks, number: i64) -> Result<TaskList, ApiError> {
    let (store, user) = (&call.context.store, &call.caller.user);
    let (limit, offset) = (query.limit(), query.offset(number));
    let page = store.tasks(user, &query.filter(), limit, offset).await?;
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
