//! The order of the changes of one task.
//!
//! A change begins when those that arrived before it have ended. So they take effect in the order
//! of their arrival, whether they share a statement, run alone, or wait for something first.
//! Changes that wait hold no connection.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::domain::{TaskId, UserId};

use super::client::while_client_waits;
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
        let entered = self.enter(&mut self.lock(), (Share::of(user), task));
        entered.turn(deadline).await
    }

    /// The same for a change of several tasks. It enters all lines at once: of two changes, one is
    /// ahead of the other in all lines that they share.
    pub async fn turns(
        &self,
        user: &UserId,
        tasks: &BTreeSet<TaskId>,
        deadline: Instant,
    ) -> Result<Vec<TaskTurn>, StoreError> {
        let share = Share::of(user);
        let entered: Vec<_> = {
            let mut waiting = self.lock();
            let enter = |task: &TaskId| self.enter(&mut waiting, (share, *task));
            tasks.iter().map(enter).collect()
        };
        let mut turns = Vec::with_capacity(entered.len());
        for one in entered {
            turns.push(one.turn(deadline).await?);
        }
        Ok(turns)
    }

    fn enter(&self, waiting: &mut Waiting, key: Key) -> Entered {
        match waiting.entry(key) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                Entered::Free(self.begin(key))
            }
            Entry::Occupied(mut line) => {
                let (sender, turn) = oneshot::channel();
                line.get_mut().push_back(sender);
                Entered::Waiting(turn)
            }
        }
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

/// The place of a change in the line for its task.
enum Entered {
    Free(TaskTurn),
    Waiting(oneshot::Receiver<TaskTurn>),
}

impl Entered {
    async fn turn(self, deadline: Instant) -> Result<TaskTurn, StoreError> {
        let turn = match self {
            Self::Free(turn) => return Ok(turn),
            Self::Waiting(turn) => turn,
        };
        let since = Instant::now();
        let turn = pin!(timeout_at(deadline.into(), turn));
        match while_client_waits(turn).await? {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(StoreError::TaskTimeout {
                waited: since.elapsed(),
            }),
        }
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
    async fn a_change_of_several_tasks_has_one_place_in_all_lines() {
        let (turns, alice) = (TaskTurns::default(), user("alice"));
        let first = turns.turn(&alice, 1, soon()).await.unwrap();
        let (both, other) = (BTreeSet::from([1, 2]), BTreeSet::from([2, 1, 3]));
        let mut both = pin!(turns.turns(&alice, &both, soon()));
        let mut other = pin!(turns.turns(&alice, &other, soon()));
        let mut last = pin!(turns.turn(&alice, 2, soon()));
        assert!(both.as_mut().now_or_never().is_none());
        assert!(other.as_mut().now_or_never().is_none());
        assert!(last.as_mut().now_or_never().is_none());
        drop(first);
        drop(both.await.unwrap());
        assert!(last.as_mut().now_or_never().is_none());
        drop(other.await.unwrap());
        drop(last.await.unwrap());
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
