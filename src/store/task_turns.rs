//! The order of the changes of one task.
//!
//! A change begins when those that arrived before it have ended. So they take effect in the order
//! of their arrival, whether they share a statement, run alone, or wait for something first.
//! Changes that wait hold no connection.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::domain::{TaskId, UserId};

use super::error::StoreError;
use super::shares::Share;

/// A user who names somebody else's task does not keep the owner waiting.
type Key = (Share, TaskId);

type Waiting = HashMap<Key, VecDeque<oneshot::Sender<TaskTurn>>>;

/// The tasks that are being changed, and the changes that wait for them.
#[derive(Clone, Default)]
pub(super) struct TaskTurns(Arc<Mutex<Waiting>>);

impl TaskTurns {
    /// Waits until the changes of the task that arrived before have ended, at most until
    /// `deadline`. The next change begins when the turn is dropped.
    pub async fn turn(
        &self,
        user: &UserId,
        task: TaskId,
        deadline: Instant,
    ) -> Result<TaskTurn, StoreError> {
        let key = (Share::of(user), task);
        let turn = match self.lock().entry(key) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                return Ok(self.begin(key));
            }
            Entry::Occupied(mut taken) => {
                let (sender, turn) = oneshot::channel();
                taken.get_mut().push_back(sender);
                turn
            }
        };
        let since = Instant::now();
        match timeout_at(deadline.into(), turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(StoreError::TaskTimeout {
                waited: since.elapsed(),
            }),
        }
    }

    /// The turns of several changes, for one that takes their place together. `tasks` ascend, so
    /// that two of them do not wait for each other.
    pub async fn turns(
        &self,
        user: &UserId,
        tasks: impl IntoIterator<Item = TaskId>,
        deadline: Instant,
    ) -> Result<Vec<TaskTurn>, StoreError> {
        let mut turns = Vec::new();
        for task in tasks {
            turns.push(self.turn(user, task, deadline).await?);
        }
        Ok(turns)
    }

    fn begin(&self, key: Key) -> TaskTurn {
        TaskTurn {
            turns: self.clone(),
            key,
        }
    }

    /// The next change that waits for the task; if there is none, it is free.
    fn next(&self, key: Key) -> Option<oneshot::Sender<TaskTurn>> {
        let mut waiting = self.lock();
        let line = waiting.get_mut(&key)?;
        while let Some(next) = line.pop_front() {
            if !next.is_closed() {
                return Some(next);
            }
        }
        waiting.remove(&key);
        None
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nobody panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that is being changed.
pub(super) struct TaskTurn {
    turns: TaskTurns,
    key: Key,
}

impl Drop for TaskTurn {
    fn drop(&mut self) {
        if let Some(next) = self.turns.next(self.key) {
            // If its caller is gone meanwhile, the turn that comes back passes on as well.
            let _ = next.send(self.turns.begin(self.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn in_the_order_of_arrival() {
        let (turns, alice) = (TaskTurns::default(), user("alice"));
        let first = turns.turn(&alice, 1, soon()).await.unwrap();
        let mut second = pin!(turns.turn(&alice, 1, soon()));
        let mut third = pin!(turns.turn(&alice, 1, soon()));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.await.unwrap();
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        drop(third.await.unwrap());
        assert!(turns.lock().is_empty());
    }

    #[tokio::test]
    async fn other_tasks_and_other_users_do_not_wait() {
        let turns = TaskTurns::default();
        let _held = turns.turn(&user("alice"), 1, soon()).await.unwrap();
        assert!(turns.turn(&user("alice"), 2, soon()).await.is_ok());
        assert!(turns.turn(&user("bob"), 1, soon()).await.is_ok());
    }

    #[tokio::test]
    async fn callers_that_are_gone_are_passed_over() {
        let (turns, alice) = (TaskTurns::default(), user("alice"));
        let first = turns.turn(&alice, 1, soon()).await.unwrap();
        let mut third = pin!(turns.turn(&alice, 1, soon()));
        {
            // One is dropped before it gets its turn, one after.
            let mut before = Box::pin(turns.turn(&alice, 1, soon()));
            let mut after = Box::pin(turns.turn(&alice, 1, soon()));
            assert!(before.as_mut().now_or_never().is_none());
            assert!(after.as_mut().now_or_never().is_none());
            assert!(third.as_mut().now_or_never().is_none());
            drop(before);
            drop(first);
            drop(after);
        }
        assert!(third.await.is_ok());
        assert!(turns.lock().is_empty());
    }

    #[tokio::test]
    async fn a_wait_ends_at_the_deadline() {
        let (turns, alice) = (TaskTurns::default(), user("alice"));
        let _held = turns.turn(&alice, 1, soon()).await.unwrap();
        let late = turns.turn(&alice, 1, Instant::now()).await;
        assert!(matches!(late, Err(StoreError::TaskTimeout { .. })));
    }
}
