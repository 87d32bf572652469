//! Work on tasks.

use crate::domain::{Description, Patch, Priority, Task, TaskChanges};
use crate::store::database::Store;
use crate::store::idempotency::Once;
use crate::store::tasks::{Conditional, TaskFilter};

use super::fault::{TrialFault, same, seen, stored};
use super::sample::{Sample, due};

const TABLE: &str = "tasks";
const KEYS: &str = "todoctl_idempotency_keys";

pub(super) async fn create(store: &Store, sample: &Sample) -> Result<Task, TrialFault> {
    let sent = sample.task(Priority::High);
    let task = stored(TABLE, store.create_task(&sent).await)?;
    same(
        TABLE,
        &[
            ("user_id", task.user_id == sent.user_id.as_str()),
            ("title", task.title == sent.title.as_str()),
            (
                "description",
                task.description.as_deref() == sent.description.as_ref().map(Description::as_str),
            ),
            ("completed", !task.completed),
            ("priority", task.priority == sent.priority),
            ("due_date", task.due_date == sent.due_date),
        ],
    )?;
    Ok(task)
}

pub(super) async fn read(store: &Store, sample: &Sample, task: &Task) -> Result<(), TrialFault> {
    seen(TABLE, store.task(&sample.user, task.id).await?).map(drop)
}

pub(super) async fn list(store: &Store, sample: &Sample, task: &Task) -> Result<(), TrialFault> {
    let filter = TaskFilter {
        priority: Some(Priority::High),
        completed: Some(false),
        ..TaskFilter::default()
    };
    let page = store.tasks(&sample.user, &filter, 1, 0).await?;
    seen(TABLE, page.tasks.first())?;
    let slice = store.tasks_after(&sample.user, &filter, 1, None).await?;
    seen(TABLE, slice.tasks.iter().find(|one| one.id == task.id)).map(drop)
}

pub(super) async fn search(store: &Store, sample: &Sample, task: &Task) -> Result<(), TrialFault> {
    let filter = TaskFilter {
        // Another case, as users type it.
        search: Some("TODOCTL DOCTOR: É".to_owned()),
        ..TaskFilter::default()
    };
    let page = store.tasks(&sample.user, &filter, 1, 0).await?;
    seen(TABLE, page.tasks.iter().find(|one| one.id == task.id)).map(drop)
}

pub(super) async fn change(store: &Store, sample: &Sample, task: &Task) -> Result<(), TrialFault> {
    let title = sample.other_title();
    let changes = TaskChanges {
        title: Some(title.clone()),
        description: Patch::Set(None),
        priority: Some(Priority::Urgent),
        due_date: Patch::Set(Some(due())),
        ..TaskChanges::default()
    };
    let changed = store.update_task(&sample.user, task.id, &changes).await?;
    let changed = changed.ok_or(TrialFault::Swallowed(TABLE))?;
    same(
        TABLE,
        &[
            ("title", changed.title == title.as_str()),
            ("description", changed.description.is_none()),
            ("priority", changed.priority == Priority::Urgent),
            ("due_date", changed.due_date == Some(due())),
        ],
    )
}

/// As with `If-Match`: the row is locked first.
pub(super) async fn complete(
    store: &Store,
    sample: &Sample,
    task: &Task,
) -> Result<(), TrialFault> {
    let changes = TaskChanges {
        completed: Some(true),
        priority: Some(Priority::Low),
        ..TaskChanges::default()
    };
    let any = |_: &Task| true;
    let completed = store.update_task_if(&sample.user, task.id, &changes, any);
    match stored(TABLE, completed.await)? {
        Conditional::Done(task) => same(TABLE, &[("completed", task.completed)]),
        Conditional::NotFound | Conditional::Refused => Err(TrialFault::Unseen(TABLE)),
    }
}

pub(super) async fn create_once(store: &Store, sample: &Sample) -> Result<(), TrialFault> {
    let task = sample.task(Priority::Medium);
    let key = sample.key();
    let answer = |task: &Task| task.id.to_string();
    let first = store.create_task_once(&task, &key, "trial", answer).await;
    let Once::Created(first) = stored(KEYS, first)? else {
        return Err(TrialFault::Unseen(KEYS));
    };
    match store.create_task_once(&task, &key, "trial", answer).await? {
        Once::Repeated(again) => same(KEYS, &[("answer", again == first)]),
        Once::Created(_) | Once::Reused => Err(TrialFault::Unseen(KEYS)),
    }
}

/// By its number alone.
pub(super) async fn delete(store: &Store, sample: &Sample, task: &Task) -> Result<(), TrialFault> {
    if store.delete_task(&sample.user, task.id).await? {
        Ok(())
    } else {
        Err(TrialFault::Swallowed(TABLE))
    }
}

/// Among several.
pub(super) async fn delete_several(
    store: &Store,
    sample: &Sample,
    task: &Task,
) -> Result<(), TrialFault> {
    let deleted = store.delete_tasks(&sample.user, &[task.id]).await?;
    if deleted == [task.id] {
        Ok(())
    } else {
        Err(TrialFault::Swallowed(TABLE))
    }
}
