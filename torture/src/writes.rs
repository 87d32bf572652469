//! Requests that create, change and delete tasks.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::http::Request;
use crate::keyed::Kept;
use crate::ledger::{Action, Changes, Outcome, View};
use crate::round::{Known, Mix, USERS, text_of};
use crate::workload::Worker;

const PRIORITIES: [&str; 4] = ["Low", "Medium", "High", "Urgent"];

/// Longer lists of tasks to delete do not share a statement with others.
const LONG_LIST: usize = 60;

/// What a change sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// PUT of a title, now and then with another field.
    Title,
    /// PUT of any fields, or of none.
    Several,
    /// PATCH.
    Completion,
}

impl Worker {
    pub(crate) async fn create(&mut self) {
        let has_key = self.rng.u8(..3) == 0 && !self.round.limits.rows_expire;
        let (birth, task) = self.new_task();
        let mut request = self.request("POST", "/tasks/", Some(body_of(&birth, &task)));
        if has_key {
            request.headers.push(("Idempotency-Key", birth.clone()));
        }
        let action = Action::Create {
            birth,
            has_key,
            task,
        };
        if has_key && self.rng.u8(..6) == 0 {
            self.twice(action, request).await;
            return;
        }
        for _ in 0..6 {
            let (outcome, _, body) = self.perform_and_show(action.clone(), &request).await;
            let repeat = match outcome {
                Outcome::Unavailable => has_key || self.rng.bool(),
                Outcome::Unknown => has_key,
                Outcome::NotSent => true,
                _ => false,
            };
            if has_key && matches!(outcome, Outcome::Done(_)) {
                self.round.keep(Kept {
                    request: request.clone(),
                    answer: body,
                });
            }
            if !repeat || self.round.is_over.load(SeqCst) {
                return;
            }
            sleep(Duration::from_millis(self.rng.u64(..30))).await;
        }
    }

    /// A name for a task, and its other fields.
    pub(crate) fn new_task(&mut self) -> (String, Changes) {
        let due = self.rng.u8(..3) == 0;
        let task = Changes {
            due: due.then(|| Some(self.round.dues.any(&mut self.rng))),
            priority: (self.rng.u8(..4) == 0).then(|| self.priority()),
            ..Changes::default()
        };
        (self.fresh('b'), task)
    }

    fn priority(&mut self) -> &'static str {
        PRIORITIES[self.rng.usize(..PRIORITIES.len())]
    }

    /// The same request on two connections at a time.
    async fn twice(&mut self, action: Action, request: Request) {
        let mut other = Self::new(&self.round, self.number, self.mix, self.rng.fork());
        other.user = self.user;
        tokio::join!(
            self.perform(action.clone(), &request),
            other.perform(action.clone(), &request)
        );
    }

    /// Changes a task. If that fails, it is mostly tried again, as people do, with another value:
    /// then the first one must not come later.
    pub(crate) async fn change(&mut self, task: &Known, change: Change) {
        for _ in 0..4 {
            let outcome = self.change_once(task, change).await;
            let has_failed = matches!(outcome, Outcome::Unavailable | Outcome::Unknown);
            if !has_failed || self.rng.u8(..4) == 0 || self.round.is_over.load(SeqCst) {
                return;
            }
        }
    }

    async fn change_once(&mut self, task: &Known, change: Change) -> Outcome {
        self.sent += 1;
        let changes = self.changes(change);
        let id = task.seen.id;
        let path = format!("/tasks/{id}");
        let mut request = match change {
            Change::Completion => {
                let body = json!({ "completed": changes.completed });
                self.request("PATCH", &path, Some(body))
            }
            Change::Title | Change::Several => {
                let body = put_body(&changes, &task.seen.birth);
                self.request("PUT", &path, Some(body))
            }
        };
        let expected = self.condition(task, &mut request);
        let action = Action::Change {
            id,
            changes,
            expected,
        };
        self.perform(action, &request).await
    }

    fn changes(&mut self, change: Change) -> Changes {
        let mut changes = Changes::default();
        match change {
            Change::Completion => changes.completed = Some(self.rng.bool()),
            Change::Title => {
                let title = self.fresh('t');
                let is_long = self.rng.u8(..4) == 0;
                changes.title = Some(if is_long { title + " Straße" } else { title });
                changes.completed = (self.rng.u8(..8) == 0).then(|| self.rng.bool());
            }
            Change::Several => {
                changes.title = (self.rng.u8(..4) == 0).then(|| self.fresh('t'));
                changes.completed = (self.rng.u8(..4) == 0).then(|| self.rng.bool());
                changes.note = (self.rng.u8(..3) == 0).then(|| self.fresh('n'));
                changes.priority = (self.rng.u8(..3) == 0).then(|| self.priority());
                changes.due = match self.rng.u8(..8) {
                    0 => Some(None),
                    1..5 => Some(Some(self.round.dues.any(&mut self.rng))),
                    _ => None,
                };
            }
        }
        changes
    }

    /// `If-Match`, now and then.
    fn condition(&mut self, task: &Known, request: &mut Request) -> Option<View> {
        let one_of = match self.mix {
            Mix::Meeting => 3,
            Mix::Alone(_) => 12,
        };
        let etag = task.etag.clone().filter(|_| self.rng.u8(..one_of) == 0)?;
        request.headers.push(("If-Match", etag));
        Some(task.seen.view.clone())
    }

    pub(crate) async fn delete(&mut self, task: &Known) {
        self.sent += 1;
        let id = task.seen.id;
        let mut request = self.request("DELETE", &format!("/tasks/{id}"), None);
        let expected = self.condition(task, &mut request);
        self.perform(Action::Delete { id, expected }, &request)
            .await;
    }

    /// Deletes several tasks, and names some that are not the user's.
    pub(crate) async fn bulk_delete(&mut self, task: &Known) {
        self.sent += 1;
        let mut ids = vec![task.seen.id];
        for _ in 0..self.rng.usize(..4) {
            let other = self.round.pick(self.user, &mut self.rng);
            ids.extend(
                other
                    .map(|other| other.seen.id)
                    .filter(|id| !ids.contains(id)),
            );
        }
        let mut others = Vec::new();
        if matches!(self.mix, Mix::Meeting) && self.rng.bool() {
            let neighbour = (self.user + 1) % USERS;
            let foreign = self.round.pick(neighbour, &mut self.rng);
            others.extend(foreign.map(|foreign| foreign.seen.id));
        }
        if self.rng.u8(..8) == 0 {
            others.extend((1..).map(|id| -id).take(LONG_LIST));
        }
        let mut wanted = [&ids[..], &others].concat();
        if self.rng.u8(..4) == 0 {
            wanted.push(task.seen.id);
        }
        let body = json!({ "task_ids": wanted });
        let request = self.request("POST", "/tasks/bulk-delete", Some(body));
        self.perform(Action::BulkDelete { ids, others }, &request)
            .await;
    }
}

/// The body that creates a task.
pub fn body_of(birth: &str, task: &Changes) -> Value {
    let mut body = json!({ "title": birth, "description": birth });
    if let Some(priority) = task.priority {
        body["priority"] = priority.into();
    }
    if let Some(Some(due)) = task.due {
        body["due_date"] = text_of(due).into();
    }
    body
}

fn put_body(changes: &Changes, birth: &str) -> Value {
    let Changes {
        title,
        completed,
        note,
        priority,
        due,
    } = changes;
    let mut body = json!({});
    if let Some(title) = title {
        body["title"] = title.as_str().into();
    }
    if let Some(completed) = completed {
        body["completed"] = (*completed).into();
    }
    if let Some(note) = note {
        body["description"] = format!("{birth} {note}").into();
    }
    if let Some(priority) = priority {
        body["priority"] = (*priority).into();
    }
    if let Some(due) = due {
        body["due_date"] = due.map_or(Value::Null, |due| text_of(due).into());
    }
    body
}
