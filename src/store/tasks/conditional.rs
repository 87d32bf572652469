//! Conditional changes. The condition is checked after the row is locked, so the task cannot
//! change between the check and the change.

use crate::domain::{Task, TaskChanges, TaskId, UserId};
use crate::store::arg::args;
use crate::store::database::Store;
use crate::store::error::StoreError;
use crate::store::session::Session;
use crate::store::sql::{Sql, per_engine};

use super::change::{DELETE, UPDATE, update_args};

/// SQLite's transactions exclude each other from their start, so there is no row to lock.
static LOCK: Sql = per_engine!(
    [concat!("SELECT ", task_columns!(), " FROM tasks WHERE id = $1 AND user_id = $2")]
    { postgres: " FOR UPDATE", sqlite: "" }
    => ""
);

/// The outcome of a conditional change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditional<T> {
    /// The condition held, and the change was made.
    Done(T),
    /// There is no such row, or it belongs to another user.
    NotFound,
    /// The condition did not hold; nothing was changed.
    Refused,
}

impl Store {
    /// [`Store::update_task`], if the current task satisfies `condition`.
    pub async fn update_task_if(
        &self,
        user: &UserId,
        id: TaskId,
        changes: &TaskChanges,
        condition: impl Fn(&Task) -> bool + Send + Sync,
    ) -> Result<Conditional<Task>, StoreError> {
        let _turn = self.turn(user, id).await?;
        let args = update_args(user, id, changes, self.now());
        self.transaction(|| {
            async |tx| match lock_if(tx, user, id, &condition).await? {
                Conditional::Done(_) if !changes.is_empty() => {
                    let updated = tx.run(UPDATE, &args).await?;
                    Ok(Conditional::Done(updated.one()?))
                }
                unchanged => Ok(unchanged),
            }
        })
        .await
    }

    /// [`Store::delete_task`], if the current task satisfies `condition`.
    pub async fn delete_task_if(
        &self,
        user: &UserId,
        id: TaskId,
        condition: impl Fn(&Task) -> bool + Send + Sync,
    ) -> Result<Conditional<()>, StoreError> {
        let _turn = self.turn(user, id).await?;
        self.transaction(|| {
            async |tx| match lock_if(tx, user, id, &condition).await? {
                Conditional::Done(_) => {
                    tx.run(DELETE, &args![id, user]).await?;
                    Ok(Conditional::Done(()))
                }
                Conditional::NotFound => Ok(Conditional::NotFound),
                Conditional::Refused => Ok(Conditional::Refused),
            }
        })
        .await
    }
}

/// Locks the user's task and returns it if it satisfies `condition`.
async fn lock_if(
    tx: &mut Session,
    user: &UserId,
    id: TaskId,
    condition: &impl Fn(&Task) -> bool,
) -> Result<Conditional<Task>, StoreError> {
    Ok(match tx.run(&LOCK, &args![id, user]).await?.optional()? {
        None => Conditional::NotFound,
        Some(task) if condition(&task) => Conditional::Done(task),
        Some(_) => Conditional::Refused,
    })
}
