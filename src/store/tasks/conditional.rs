//! Changes under a condition, which is looked at once the row is locked: nobody
//! can change the task between the look and the change.

use crate::domain::{Task, TaskChanges, TaskId, UserId};
use crate::store::dialect::{Sql, per_engine};
use crate::store::transaction::transaction;
use crate::store::{Store, StoreError};

use super::{DELETE, bind_update, task_of};

/// SQLite's transactions exclude each other from their start, so there is no row to lock.
const LOCK: Sql = per_engine!(
    [concat!("SELECT ", columns!(), " FROM tasks WHERE id = $1 AND user_id = $2")]
    { postgres: " FOR UPDATE", sqlite: "" }
    => ""
);

/// What became of a change under a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditional<T> {
    /// The condition held, and the change is made.
    Done(T),
    /// There is no such row, or it is somebody else's.
    NotFound,
    /// The condition did not hold; nothing was changed.
    Refused,
}

impl Store {
    /// [`Store::update_task`], if `holds` says so of the task as it is before.
    pub async fn update_task_if(
        &self,
        user: &UserId,
        id: TaskId,
        changes: &TaskChanges,
        holds: impl FnOnce(&Task) -> bool + Send,
    ) -> Result<Conditional<Task>, StoreError> {
        let now = self.clock.now();
        transaction!(self, |connection| {
            let row = sqlx::query(connection.text(&LOCK))
                .persistent(connection.persistent())
                .bind(id)
                .bind(user.as_str())
                .fetch_optional(&mut *connection)
                .await?;
            let Some(task) = row.as_ref().map(task_of).transpose()? else {
                return Ok(Conditional::NotFound);
            };
            if !holds(&task) {
                return Ok(Conditional::Refused);
            }
            if changes.is_empty() {
                return Ok(Conditional::Done(task));
            }
            let row = bind_update!(connection, user, id, changes, now)
                .fetch_one(&mut *connection)
                .await?;
            Ok(Conditional::Done(task_of(&row)?))
        })
    }

    /// [`Store::delete_task`], if `holds` says so of the task as it is before.
    pub async fn delete_task_if(
        &self,
        user: &UserId,
        id: TaskId,
        holds: impl FnOnce(&Task) -> bool + Send,
    ) -> Result<Conditional<()>, StoreError> {
        transaction!(self, |connection| {
            let row = sqlx::query(connection.text(&LOCK))
                .persistent(connection.persistent())
                .bind(id)
                .bind(user.as_str())
                .fetch_optional(&mut *connection)
                .await?;
            let Some(task) = row.as_ref().map(task_of).transpose()? else {
                return Ok(Conditional::NotFound);
            };
            if !holds(&task) {
                return Ok(Conditional::Refused);
            }
            sqlx::query(DELETE)
                .persistent(connection.persistent())
                .bind(id)
                .bind(user.as_str())
                .execute(&mut *connection)
                .await?;
            Ok(Conditional::Done(()))
        })
    }
}
