//! `/tasks`: contract section 3.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use bytes::Buf;
use futures_util::Stream;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::domain::{Task, TaskChanges, TaskId};
use crate::store::Conditional;

use super::call::{Call, answered, json, json_body, json_bytes, no_content};
use super::conditional::{Preconditions, represent, represent_new};
use super::context::ApiContext;
use super::error::ApiError;
use super::error_body::PlainError;
use super::idempotency;
use super::input::{
    self, BulkDelete, CompleteTask, CreateTask, Input, ItemId, RowId, Sources, TaskPath, UpdateTask,
};
use super::request::{Head, endpoint, with};
use super::route_table::{TASK, TASKS, TASKS_BULK_DELETE};

pub(super) mod list;

use list::list_tasks;

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

/// What became of each id, in the order of the request.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BulkDeleted {
    /// These were deleted.
    #[schema(value_type = Vec<i64>)]
    deleted: Vec<TaskId>,
    /// These do not exist or are somebody else's.
    #[schema(value_type = Vec<i64>)]
    not_found: Vec<Value>,
}

/// One task.
#[utoipa::path(
    get, path = "/tasks/{task_id}", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    responses(
        (status = 200, description = "The task", body = Task),
        (status = 304, description = "It is what the client knows"),
        (status = 412, description = "It is not what the client knows", body = PlainError),
    ),
)]
pub(super) async fn get_task(call: &Call) -> Result<Response, ApiError> {
    let id = task_id(&call.head)?;
    let task = match id.number() {
        Some(id) => call.context.store.task(&call.caller.user, id).await?,
        None => None,
    };
    found(&call.head, task)
}

/// Creates a task.
#[utoipa::path(
    post, path = "/tasks/", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    responses((status = 201, description = "The new task", body = Task)),
)]
pub(super) async fn create_task<S, B>(call: &Call, body: S) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let key = idempotency::key(&call.head.headers)?;
    let body = json_body(call, body).await?;
    let ((), (), create) = read::<(), CreateTask>(&call.head, body.as_ref())?;
    let task = create.into_task(call.caller.user.clone());
    match key {
        Some(key) => idempotency::create_once(&call.context.store, &task, &key).await,
        None => {
            call.head.creating.store(true, Ordering::Relaxed);
            let task = call.context.store.create_task(&task).await?;
            Ok(represent_new(json_bytes(&task)?))
        }
    }
}

/// Changes the fields that are present.
#[utoipa::path(
    put, path = "/tasks/{task_id}", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    responses(
        (status = 200, description = "The task as it now is", body = Task),
        (status = 412, description = "It is not what the client knows", body = PlainError),
    ),
)]
pub(super) async fn update_task<S, B>(call: &Call, body: S) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let body = json_body(call, body).await?;
    change::<UpdateTask>(call, body.as_ref()).await
}

/// Marks a task as done, or as not done.
#[utoipa::path(
    patch, path = "/tasks/{task_id}", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    responses(
        (status = 200, description = "The task as it now is", body = Task),
        (status = 412, description = "It is not what the client knows", body = PlainError),
    ),
)]
pub(super) async fn complete_task<S, B>(call: &Call, body: S) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let body = json_body(call, body).await?;
    change::<CompleteTask>(call, body.as_ref()).await
}

/// Checks path and body together, then applies the change.
async fn change<B: Input + Into<TaskChanges>>(
    call: &Call,
    body: Option<&Value>,
) -> Result<Response, ApiError> {
    let (path, (), body) = read::<TaskPath, B>(&call.head, body)?;
    let id = path.task_id.number();
    let changes = body.into();
    let (store, user) = (&call.context.store, &call.caller.user);
    let task = match (id, Preconditions::of(&call.head.headers)) {
        (Some(id), None) => store.update_task(user, id, &changes).await?,
        (Some(id), Some(conditions)) => {
            let holds = |task: &Task| conditions.allow_change(task);
            done(store.update_task_if(user, id, &changes, holds).await?)?
        }
        (None, _) => None,
    };
    found(&call.head, task)
}

/// Deletes a task and its notifications.
#[utoipa::path(
    delete, path = "/tasks/{task_id}", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    responses(
        (status = 204, description = "It is gone"),
        (status = 412, description = "It is not what the client knows", body = PlainError),
    ),
)]
pub(super) async fn delete_task(call: &Call) -> Result<Response, ApiError> {
    let (store, user) = (&call.context.store, &call.caller.user);
    let deleted = match (
        task_id(&call.head)?.number(),
        Preconditions::of(&call.head.headers),
    ) {
        (Some(id), None) => store.delete_task(user, id).await?,
        (Some(id), Some(conditions)) => {
            let holds = |task: &Task| conditions.allow_change(task);
            done(store.delete_task_if(user, id, holds).await?)?.is_some()
        }
        (None, _) => false,
    };
    if !deleted {
        return Err(ApiError::task_not_found(call.head.parameter()));
    }
    Ok(no_content())
}

/// Deletes many tasks at once; ids that do not exist are no error.
#[utoipa::path(
    post, path = "/tasks/bulk-delete", tag = "tasks", security(("bearer" = []), ("bearer" = [], "user" = [])),
    responses((status = 200, description = "What became of each id", body = BulkDeleted)),
)]
pub(super) async fn bulk_delete<S, B>(call: &Call, body: S) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let body = json_body(call, body).await?;
    let ((), (), wanted) = read::<(), BulkDelete>(&call.head, body.as_ref())?;
    let wanted = wanted.task_ids;
    let possible: Vec<TaskId> = wanted
        .iter()
        .filter_map(|id| match id {
            ItemId::Possible(id) => Some(*id),
            ItemId::Impossible(_) => None,
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
            ItemId::Possible(id) => Value::from(id),
            ItemId::Impossible(value) => value,
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

fn read<P: Input, B: Input>(head: &Head, body: Option<&Value>) -> Result<(P, (), B), ApiError> {
    let path = [("task_id", head.parameter())];
    let sources = Sources {
        path: &path,
        query: "",
        body,
    };
    Ok(input::read(&sources)?)
}

fn task_id(head: &Head) -> Result<RowId, ApiError> {
    let (path, (), ()) = read::<TaskPath, ()>(head, None)?;
    Ok(path.task_id)
}

/// What a change under a condition came to; `None` when there was nothing to change.
fn done<T>(outcome: Conditional<T>) -> Result<Option<T>, ApiError> {
    match outcome {
        Conditional::Done(value) => Ok(Some(value)),
        Conditional::NotFound => Ok(None),
        Conditional::Refused => Err(ApiError::precondition_failed()),
    }
}

fn found(head: &Head, task: Option<Task>) -> Result<Response, ApiError> {
    match task {
        Some(task) => represent(head, json_bytes(&task)?),
        None => Err(ApiError::task_not_found(head.parameter())),
    }
}
