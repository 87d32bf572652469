//! A user of the model: what docs/contract.md says about one user's requests.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use todoctl::domain::Priority;

use super::answer::{Answer, LISTED, join_ties};
use super::requests::{Body, Conditions, Filter, HOUR, Id, Tags, TaskRef, USERS};
use super::task::{Fields, Task, time};

#[derive(Debug, Clone, Default)]
pub struct Account {
    /// By number; `None` where it was deleted.
    pub tasks: Vec<Option<Task>>,
    pub keys: BTreeMap<&'static str, Kept>,
    /// What the tags that the user was given stand for.
    pub tags: Vec<Value>,
    /// Positions: creation time and number of a task.
    pub cursors: Vec<(i64, usize)>,
    pub notices: Vec<Notice>,
}

/// A response that is kept for its idempotency key.
#[derive(Debug, Clone)]
pub struct Kept {
    pub fields: Fields,
    pub body: Value,
    pub at: i64,
}

#[derive(Debug, Clone)]
pub struct Notice {
    pub task: usize,
    pub is_overdue: bool,
    /// How many there were before of this kind about this task.
    pub number: usize,
    pub message: String,
    pub is_read: bool,
    pub created_at: i64,
    /// The due date or the day that it is about.
    pub about: i64,
}

impl Account {
    pub fn task(&self, user: usize, id: Id) -> Option<usize> {
        match id {
            Id::Task(TaskRef { owner, number }) if owner == user => {
                self.tasks.get(number)?.as_ref().map(|_| number)
            }
            _ => None,
        }
    }

    /// Whether a tag for `shown` is among `tags`; weak ones count if `weak` says so.
    pub fn names(&self, tags: &Tags, shown: &Value, weak: bool) -> bool {
        match tags {
            Tags::Any => true,
            Tags::These(tags) => tags.iter().any(|(number, is_weak)| {
                (weak || !is_weak) && self.tags.get(*number) == Some(shown)
            }),
        }
    }

    /// RFC 9110, section 13.2.2: the status when a condition does not hold.
    pub fn refusal(&self, when: &Conditions, shown: &Value, is_change: bool) -> Option<u16> {
        let is_wrong = |tags| !self.names(tags, shown, false);
        if when.if_match.as_ref().is_some_and(is_wrong) {
            return Some(412);
        }
        let is_known = |tags| self.names(tags, shown, true);
        let status = if is_change { 412 } else { 304 };
        when.if_none_match
            .as_ref()
            .is_some_and(is_known)
            .then_some(status)
    }

    pub fn tagged(&mut self, status: u16, body: Value) -> Answer {
        self.tags.push(body.clone());
        Answer::tagged(status, body)
    }

    /// What a GET shows.
    pub fn show(&mut self, when: &Conditions, body: Value) -> Answer {
        match self.refusal(when, &body, false) {
            Some(304) => Answer::empty(304),
            Some(status) => Answer::plain(status),
            None => self.tagged(200, body),
        }
    }

    pub fn create(
        &mut self,
        user: usize,
        now: i64,
        body: &Body,
        key: Option<&'static str>,
    ) -> Answer {
        let refusals = body.refusals(true);
        if !refusals.is_empty() {
            return Answer::invalid(&refusals);
        }
        if key.is_some_and(|key| key.contains(' ')) {
            return Answer::plain(400);
        }
        let mut fields = Fields {
            title: String::new(),
            description: None,
            priority: Priority::Medium,
            due: None,
        };
        body.apply(&mut fields, &mut false);
        if let Some(kept) = key.and_then(|key| self.keys.get(key)).cloned()
            && kept.at > now - 24 * HOUR
        {
            if kept.fields != fields {
                let field = "header.Idempotency-Key".to_owned();
                return Answer::invalid(&[(field, "idempotency_key_reused".to_owned())]);
            }
            return self.tagged(201, kept.body).replayed();
        }
        let task = Task {
            fields: fields.clone(),
            completed: false,
            created_at: now,
            updated_at: now,
            is_reminded: false,
        };
        let body = task.json(user, self.tasks.len());
        self.tasks.push(Some(task));
        if let Some(key) = key {
            let body = body.clone();
            self.keys.insert(
                key,
                Kept {
                    fields,
                    body,
                    at: now,
                },
            );
        }
        self.tagged(201, body)
    }

    /// The task to change, or the answer that says why it is not changed.
    pub fn changeable(&self, user: usize, id: Id, when: &Conditions) -> Result<usize, Answer> {
        let Some(number) = self.task(user, id) else {
            return Err(Answer::plain(404));
        };
        let task = self.tasks[number].as_ref().unwrap();
        match self.refusal(when, &task.json(user, number), true) {
            Some(status) => Err(Answer::plain(status)),
            None => Ok(number),
        }
    }

    pub fn update(
        &mut self,
        user: usize,
        now: i64,
        id: Id,
        body: &Body,
        when: &Conditions,
    ) -> Answer {
        let refusals: Vec<_> = id
            .refusal()
            .into_iter()
            .chain(body.refusals(false))
            .collect();
        if !refusals.is_empty() {
            return Answer::invalid(&refusals);
        }
        let number = match self.changeable(user, id, when) {
            Ok(number) => number,
            Err(answer) => return answer,
        };
        let task = self.tasks[number].as_mut().unwrap();
        let before = task.fields.due;
        if body.apply(&mut task.fields, &mut task.completed) {
            task.updated_at = now;
            task.is_reminded &= task.fields.due == before;
        }
        let shown = task.json(user, number);
        self.tagged(200, shown)
    }

    pub fn delete(&mut self, number: usize) {
        self.tasks[number] = None;
        self.notices.retain(|notice| notice.task != number);
    }

    pub fn bulk_delete(&mut self, user: usize, ids: &[Id]) -> Answer {
        let refusals: Vec<_> = ids
            .iter()
            .enumerate()
            .filter(|(_, id)| **id == Id::Word)
            .map(|(index, _)| (format!("task_ids.{index}"), "int_type".to_owned()))
            .collect();
        if !refusals.is_empty() {
            return Answer::invalid(&refusals);
        }
        let (mut deleted, mut not_found) = (Vec::new(), Vec::new());
        for (index, id) in ids.iter().enumerate() {
            if ids[..index].contains(id) {
                continue;
            }
            match self.task(user, *id) {
                Some(number) => {
                    self.delete(number);
                    deleted.push(id.name());
                }
                None => not_found.push(id.name()),
            }
        }
        Answer::of(200, json!({ "deleted": deleted, "not_found": not_found }))
    }

    /// Numbers of the tasks that pass, newest first.
    pub fn matching(&self, filter: &Filter) -> Vec<(i64, usize)> {
        let passing = self.tasks.iter().enumerate().filter_map(|(number, task)| {
            let task = task.as_ref().filter(|task| task.passes(filter))?;
            Some((task.created_at, number))
        });
        let mut found: Vec<_> = passing.collect();
        found.sort_unstable();
        found.reverse();
        found
    }

    pub fn shown(&self, user: usize, found: &[(i64, usize)]) -> Vec<Value> {
        let json = |number: usize| self.tasks[number].as_ref().unwrap().json(user, number);
        found.iter().map(|(_, number)| json(*number)).collect()
    }

    pub fn notifications(&self, user: usize) -> Answer {
        let unread = self.notices.iter().filter(|notice| !notice.is_read).count();
        let mut newest: Vec<&Notice> = self.notices.iter().collect();
        newest.sort_by_key(|notice| std::cmp::Reverse(notice.created_at));
        newest.truncate(LISTED);
        let mut list = newest.into_iter().map(|notice| notice.json(user)).collect();
        join_ties(&mut list);
        Answer::of(
            200,
            json!({ "notifications": list, "unread_count": unread }),
        )
    }

    /// A run of the reminder job, which also forgets the keys that have expired.
    pub fn remind(&mut self, now: i64) {
        self.keys.retain(|_, kept| kept.at > now - 24 * HOUR);
        let today = now - now.rem_euclid(24 * HOUR);
        for is_overdue in [false, true] {
            for (number, task) in self.tasks.iter_mut().enumerate() {
                let Some(task) = task.as_mut().filter(|task| !task.completed) else {
                    continue;
                };
                let Some(due) = task.fields.due else { continue };
                let told =
                    |notice: &&Notice| notice.task == number && notice.is_overdue == is_overdue;
                let about = if is_overdue { today } else { due };
                let is_wanted = if is_overdue {
                    let is_today = |notice: &Notice| notice.created_at >= today;
                    due < now && !self.notices.iter().filter(told).any(is_today)
                } else {
                    (now..=now + 24 * HOUR).contains(&due) && !task.is_reminded
                };
                if !is_wanted {
                    continue;
                }
                task.is_reminded |= !is_overdue;
                if self
                    .notices
                    .iter()
                    .filter(told)
                    .any(|notice| notice.about == about)
                {
                    continue;
                }
                let what = if is_overdue { "overdue" } else { "due soon" };
                self.notices.push(Notice {
                    task: number,
                    is_overdue,
                    number: self.notices.iter().filter(told).count(),
                    message: format!("\"{}\" is {what}", task.fields.title),
                    is_read: false,
                    created_at: now,
                    about,
                });
            }
        }
    }
}

impl Notice {
    pub fn json(&self, user: usize) -> Value {
        let task = TaskRef {
            owner: user,
            number: self.task,
        };
        json!({
            "id": task.notice_name(self.is_overdue, self.number),
            "user_id": USERS[user],
            "task_id": task.name(),
            "type": if self.is_overdue { "overdue" } else { "due_soon" },
            "message": self.message,
            "is_read": self.is_read,
            "sent_email": false,
            "created_at": time(self.created_at),
        })
    }
}
