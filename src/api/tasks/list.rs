//! `GET /tasks/`: contract 3.4, and 13 for cursors.

use serde::Serialize;

use crate::api::conditional::represent;
use crate::api::cursor;
use crate::api::endpoint::{Call, Inputs};
use crate::api::error::ApiError;
use crate::api::input::{ListTasks, Paging};
use crate::api::json::{ToJson, write_member};
use crate::api::reply::Reply;
use crate::domain::{Task, write_json_text};
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

impl ToJson for TaskListAnswer {
    fn length(&self) -> usize {
        let (Self::Page(TaskList { tasks, .. }) | Self::Slice(TaskSlice { tasks, .. })) = self;
        tasks.length() + 128
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"tasks\":");
        match self {
            Self::Page(TaskList {
                tasks,
                total,
                page,
                limit,
                pages,
            }) => {
                tasks.write(out);
                write_member(",\"total\":", total, out);
                write_member(",\"page\":", page, out);
                write_member(",\"limit\":", limit, out);
                write_member(",\"pages\":", pages, out);
            }
            Self::Slice(TaskSlice {
                tasks,
                limit,
                next_cursor,
            }) => {
                tasks.write(out);
                write_member(",\"limit\":", limit, out);
                out.extend_from_slice(b",\"next_cursor\":");
                match next_cursor {
                    Some(cursor) => write_json_text(cursor, out),
                    None => out.extend_from_slice(b"null"),
                }
            }
        }
        out.push(b'}');
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_serde_json() {
        let page = TaskListAnswer::Page(TaskList {
            tasks: Vec::new(),
            total: 41,
            page: 3,
            limit: 20,
            pages: 2,
        });
        let slice = |next_cursor| {
            TaskListAnswer::Slice(TaskSlice {
                tasks: Vec::new(),
                limit: 7,
                next_cursor,
            })
        };
        for answer in [page, slice(None), slice(Some("abc".to_owned()))] {
            let text = String::from_utf8(answer.to_json()).unwrap();
            assert_eq!(text, serde_json::to_string(&answer).unwrap());
        }
    }
}
