//! `/tasks`: contract section 3.

use std::collections::HashSet;

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::domain::{Task, TaskChanges, TaskId};
use crate::store::Conditional;

use super::conditional::{Preconditions, represent, represent_new};
use super::endpoint::{Call, Inputs};
use super::error::ApiError;
use super::idempotency;
use super::input::{BulkDelete, CompleteTask, CreateTask, ItemId, RowId, TaskPath, UpdateTask};
use super::json::ToJson as _;
use super::reply::Reply;

mod list;

pub(super) use list::{TaskListAnswer, list_tasks};

pub(super) async fn get_task(call: Call, inputs: Inputs<TaskPath>) -> Result<Reply, ApiError> {
    let id = inputs.path.task_id;
    let task = match id.number() {
        Some(number) => call.context.store.task(&call.caller.user, number).await?,
        None => None,
    };
    found(&call, &id, task)
}

pub(super) async fn create_task(
    call: Call,
    inputs: Inputs<(), (), CreateTask>,
) -> Result<Reply, ApiError> {
    let store = &call.context.store;
    let task = inputs.body.into_task(call.caller.user);
    match idempotency::key(call.head.headers())? {
        Some(key) => Box::pin(idempotency::create_once(store, &task, &key)).await,
        None => {
            let task = store.create_task(&task).await?;
            Ok(represent_new(task.to_json()))
        }
    }
}

pub(super) async fn update_task(
    call: Call,
    inputs: Inputs<TaskPath, (), UpdateTask>,
) -> Result<Reply, ApiError> {
    change(&call, &inputs.path.task_id, &inputs.body.into()).await
}

pub(super) async fn complete_task(
    call: Call,
    inputs: Inputs<TaskPath, (), CompleteTask>,
) -> Result<Reply, ApiError> {
    change(&call, &inputs.path.task_id, &inputs.body.into()).await
}

async fn change(call: &Call, id: &RowId, changes: &TaskChanges) -> Result<Reply, ApiError> {
    let (store, user) = (&call.context.store, &call.caller.user);
    let task = match (id.number(), Preconditions::of(call.head.headers())) {
        (Some(number), None) => store.update_task(user, number, changes).await?,
        (Some(number), Some(conditions)) => {
            let holds = |task: &Task| conditions.allow_change(task);
            let change = store.update_task_if(user, number, changes, holds);
            done(Box::pin(change).await?)?
        }
        (None, _) => None,
    };
    found(call, id, task)
}

pub(super) async fn delete_task(call: Call, inputs: Inputs<TaskPath>) -> Result<Reply, ApiError> {
    let (store, user) = (&call.context.store, &call.caller.user);
    let id = inputs.path.task_id;
    let is_deleted = match (id.number(), Preconditions::of(call.head.headers())) {
        (Some(number), None) => store.delete_task(user, number).await?,
        (Some(number), Some(conditions)) => {
            let holds = |task: &Task| conditions.allow_change(task);
            let delete = store.delete_task_if(user, number, holds);
            done(Box::pin(delete).await?)?.is_some()
        }
        (None, _) => false,
    };
    if !is_deleted {
        return Err(ApiError::task_not_found(&id));
    }
    Ok(Reply::no_content())
}

/// The outcome for each id, in the order of the request.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct BulkDeleted {
    /// Ids of deleted tasks.
    #[schema(value_type = Vec<i64>)]
    deleted: Vec<TaskId>,
    /// Ids that do not exist or belong to another user.
    #[schema(value_type = Vec<i64>)]
    not_found: Vec<Value>,
}

pub(super) async fn bulk_delete(
    call: Call,
    inputs: Inputs<(), (), BulkDelete>,
) -> Result<Reply, ApiError> {
    let wanted = inputs.body.task_ids;
    let possible: Vec<TaskId> = wanted
        .iter()
        .filter_map(|id| match id {
            ItemId::Possible(id) => Some(*id),
            ItemId::Impossible(_) => None,
        })
        .collect();
    let store = &call.context.store;
    let gone = store.delete_tasks(&call.caller.user, &possible).await?;
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
    Ok(Reply::json(StatusCode::OK, &answer)?)
}

/// The result of a change with conditions; `None` if there is no such task.
fn done<T>(outcome: Conditional<T>) -> Result<Option<T>, ApiError> {
    match outcome {
        Conditional::Done(value) => Ok(Some(value)),
        Conditional::NotFound => Ok(None),
        Conditional::Refused => Err(ApiError::PreconditionFailed),
    }
}

fn found(call: &Call, id: &RowId, task: Option<Task>) -> Result<Reply, ApiError> {
    match task {
        Some(task) => represent(&call.head, &task),
        None => Err(ApiError::task_not_found(id)),
    }
}
