//! `/tasks`: contract section 3.

use std::collections::HashSet;

use bytes::Buf;
use futures_util::Stream;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::domain::{Task, TaskChanges, TaskId};

use super::body::{self, BulkId};
use super::call::{Call, answered, json, json_body, no_content};
use super::context::ApiContext;
use super::error::ApiError;
use super::query::{ListQuery, path_id};
use super::request::{Head, endpoint, with};
use super::route_table::{TASK, TASKS, TASKS_BULK_DELETE};
use super::schema::{BulkDelete, CompleteTask, CreateTask, ListParameters, UpdateTask};
use super::validation::Faults;

/// Every route below `/tasks`.
pub(super) fn routes(context: &ApiContext) -> BoxedFilter<(Response,)> {
    let body = warp::body::stream;
    let get = endpoint(&TASK, Method::GET)
        .and(with(context))
        .then(|head, context| answered(head, context, |call| async move { get_task(&call).await }));
    let list = endpoint(&TASKS, Method::GET)
        .and(with(context))
        .then(|head, context| {
            answered(head, context, |call| async move { list_tasks(&call).await })
        });
    let create = endpoint(&TASKS, Method::POST)
        .and(with(context))
        .and(body())
        .then(|head, context, body| {
            answered(head, context, |call| async move {
                create_task(&call, body).await
            })
        });
    let update = endpoint(&TASK, Method::PUT)
        .and(with(context))
        .and(body())
        .then(|head, context, body| {
            answered(head, context, |call| async move {
                update_task(&call, body).await
            })
        });
    let complete = endpoint(&TASK, Method::PATCH)
        .and(with(context))
        .and(body())
        .then(|head, context, body| {
            answered(head, context, |call| async move {
                complete_task(&call, body).await
            })
        });
    let delete = endpoint(&TASK, Method::DELETE)
        .and(with(context))
        .then(|head, context| {
            answered(
                head,
                context,
                |call| async move { delete_task(&call).await },
            )
        });
    let bulk_delete = endpoint(&TASKS_BULK_DELETE, Method::POST)
        .and(with(context))
        .and(body())
        .then(|head, context, body| {
            answered(head, context, |call| async move {
                bulk_delete(&call, body).await
            })
        });
    get.or(list)
        .unify()
        .or(create)
        .unify()
        .or(complete)
        .unify()
        .or(update)
        .unify()
        .or(delete)
        .unify()
        .or(bulk_delete)
        .unify()
        .boxed()
}

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

/// What became of each id, in the order of the request.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BulkDeleted {
    /// These were deleted.
    deleted: Vec<TaskId>,
    /// These do not exist or are somebody else's.
    #[schema(value_type = Vec<i64>)]
    not_found: Vec<Value>,
}

/// One task.
#[utoipa::path(
    get, path = "/tasks/{task_id}", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    params(("task_id" = i64, Path, description = "The task's id")),
    responses((status = 200, description = "The task", body = Task)),
)]
pub(super) async fn get_task(call: &Call) -> Result<Response, ApiError> {
    let id = task_id(&call.head)?;
    let task = match id {
        Some(id) => call.context.store.task(&call.caller.user, id).await?,
        None => None,
    };
    found(&call.head, task)
}

/// The caller's tasks, newest first.
#[utoipa::path(
    get, path = "/tasks/", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    params(ListParameters),
    responses((status = 200, description = "A page of tasks", body = TaskList)),
)]
pub(super) async fn list_tasks(call: &Call) -> Result<Response, ApiError> {
    let mut faults = Faults::default();
    let query = ListQuery::read(&call.head.query, &mut faults);
    let query = faults.finish(Some(query))?;
    let page = call
        .context
        .store
        .tasks(
            &call.caller.user,
            &query.filter,
            query.limit,
            query.offset(),
        )
        .await?;
    json(
        StatusCode::OK,
        &TaskList {
            tasks: page.tasks,
            total: page.total,
            page: query.page,
            limit: query.limit,
            pages: ((page.total + query.limit - 1) / query.limit).max(1),
        },
    )
}

/// Creates a task.
#[utoipa::path(
    post, path = "/tasks/", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    request_body = CreateTask,
    responses((status = 201, description = "The new task", body = Task)),
)]
pub(super) async fn create_task<S, B>(call: &Call, body: S) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let body = json_body(call, body).await?;
    let task = body::new_task(call.caller.user.clone(), body.as_ref(), Faults::default())?;
    let task = call.context.store.create_task(&task).await?;
    json(StatusCode::CREATED, &task)
}

/// Changes the fields that are present.
#[utoipa::path(
    put, path = "/tasks/{task_id}", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    params(("task_id" = i64, Path, description = "The task's id")),
    request_body = UpdateTask,
    responses((status = 200, description = "The task as it now is", body = Task)),
)]
pub(super) async fn update_task<S, B>(call: &Call, body: S) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let body = json_body(call, body).await?;
    change(call, |faults| body::task_changes(body.as_ref(), faults)).await
}

/// Marks a task as done, or as not done.
#[utoipa::path(
    patch, path = "/tasks/{task_id}", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    params(("task_id" = i64, Path, description = "The task's id")),
    request_body = CompleteTask,
    responses((status = 200, description = "The task as it now is", body = Task)),
)]
pub(super) async fn complete_task<S, B>(call: &Call, body: S) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let body = json_body(call, body).await?;
    change(call, |faults| body::completion(body.as_ref(), faults)).await
}

/// Checks path and body together, then applies the change.
async fn change(
    call: &Call,
    read: impl FnOnce(Faults) -> Result<TaskChanges, ApiError>,
) -> Result<Response, ApiError> {
    let mut faults = Faults::default();
    let id = path_id("task_id", call.head.parameter(), &mut faults);
    let changes = read(faults)?;
    let task = match id {
        Some(id) => {
            call.context
                .store
                .update_task(&call.caller.user, id, &changes)
                .await?
        }
        None => None,
    };
    found(&call.head, task)
}

/// Deletes a task and its notifications.
#[utoipa::path(
    delete, path = "/tasks/{task_id}", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    params(("task_id" = i64, Path, description = "The task's id")),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete_task(call: &Call) -> Result<Response, ApiError> {
    let deleted = match task_id(&call.head)? {
        Some(id) => {
            call.context
                .store
                .delete_task(&call.caller.user, id)
                .await?
        }
        None => false,
    };
    if !deleted {
        return Err(ApiError::task_not_found(call.head.parameter()));
    }
    Ok(no_content())
}

/// Deletes many tasks at once; ids that do not exist are no error.
#[utoipa::path(
    post, path = "/tasks/bulk-delete", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    request_body = BulkDelete,
    responses((status = 200, description = "What became of each id", body = BulkDeleted)),
)]
pub(super) async fn bulk_delete<S, B>(call: &Call, body: S) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let body = json_body(call, body).await?;
    let wanted = body::bulk_ids(body.as_ref(), Faults::default())?;
    let possible: Vec<TaskId> = wanted
        .iter()
        .filter_map(|id| match id {
            BulkId::Possible(id) => Some(*id),
            BulkId::Impossible(_) => None,
        })
        .collect();
    let gone = call
        .context
        .store
        .delete_tasks(&call.caller.user, &possible)
        .await?;
    let gone: HashSet<TaskId> = gone.into_iter().collect();
    let mut seen = HashSet::new();
    let mut answer = BulkDeleted {
        deleted: Vec::new(),
        not_found: Vec::new(),
    };
    for id in wanted {
        let value = match id {
            BulkId::Possible(id) => Value::from(id),
            BulkId::Impossible(value) => value,
        };
        // A repeated id is reported once (contract 10.27).
        if !seen.insert(value.to_string()) {
            continue;
        }
        match value.as_i64().filter(|id| gone.contains(id)) {
            Some(id) => answer.deleted.push(id),
            None => answer.not_found.push(value),
        }
    }
    json(StatusCode::OK, &answer)
}

fn task_id(head: &Head) -> Result<Option<TaskId>, ApiError> {
    let mut faults = Faults::default();
    let id = path_id("task_id", head.parameter(), &mut faults);
    faults.finish(Some(id))
}

fn found(head: &Head, task: Option<Task>) -> Result<Response, ApiError> {
    match task {
        Some(task) => json(StatusCode::OK, &task),
        None => Err(ApiError::task_not_found(head.parameter())),
    }
}
