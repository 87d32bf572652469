//! The model: all users and the time, on vectors in memory.

use serde_json::json;
use todoctl::domain::Timestamp;

use super::account::{Account, Notice};
use super::answer::Answer;
use super::requests::{Body, Call, Field, Filter, From, Id, Request, START, Step, TaskRef, USERS};
use super::strategies::Given;

#[derive(Debug, Clone)]
pub struct Model {
    now: i64,
    users: Vec<Account>,
}

impl Model {
    pub fn new() -> Self {
        Self {
            now: START.parse::<Timestamp>().unwrap().micros(),
            users: vec![Account::default(); USERS.len()],
        }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now).unwrap()
    }

    pub fn given(&self) -> Vec<Given> {
        let given = |(owner, user): (usize, &Account)| {
            let about = |notice: &Notice| {
                let number = notice.task;
                (TaskRef { owner, number }, notice.is_overdue, notice.number)
            };
            Given {
                tasks: user.tasks.len(),
                tags: user.tags.len(),
                cursors: user.cursors.len(),
                notices: user.notices.iter().map(about).collect(),
            }
        };
        self.users.iter().enumerate().map(given).collect()
    }

    /// Does one step; the answers to its calls.
    pub fn apply(&mut self, step: &Step) -> Vec<Answer> {
        match step {
            Step::Calls(calls) => return calls.iter().map(|call| self.answer(call)).collect(),
            Step::Clock(micros) => self.now += micros,
            Step::Remind => {
                for user in &mut self.users {
                    user.remind(self.now);
                }
            }
            Step::Unfold | Step::Fold => {}
        }
        Vec::new()
    }

    fn answer(&mut self, Call { user, request }: &Call) -> Answer {
        let (user, now) = (*user, self.now);
        if let Request::Continue {
            filter,
            limit,
            from,
        } = request
        {
            return self.list_on(user, filter, *limit, *from);
        }
        let account = &mut self.users[user];
        match request {
            Request::Create { body, key } => account.create(user, now, body, *key),
            Request::Read(Id::Word, _) | Request::Delete(Id::Word, _) => {
                Answer::invalid(Id::Word.refusal().as_slice())
            }
            Request::Read(id, when) => match account.task(user, *id) {
                Some(number) => {
                    let shown = account.tasks[number].as_ref().unwrap().json(user, number);
                    account.show(when, shown)
                }
                None => Answer::plain(404),
            },
            Request::Update(id, body, when) => account.update(user, now, *id, body, when),
            Request::Complete(id, completed, when) => {
                let body = Body::completion(completed);
                let refusals = match completed {
                    Field::Absent => vec![("completed".to_owned(), "missing".to_owned())],
                    Field::Null => vec![("completed".to_owned(), "bool_type".to_owned())],
                    Field::Is(_) | Field::Wrong(..) => body.refusals(false),
                };
                if refusals.is_empty() {
                    return account.update(user, now, *id, &body, when);
                }
                Answer::invalid(&[id.refusal().into_iter().collect(), refusals].concat())
            }
            Request::Delete(id, when) => match account.changeable(user, *id, when) {
                Ok(number) => {
                    account.delete(number);
                    Answer::empty(204)
                }
                Err(answer) => answer,
            },
            Request::BulkDelete(ids) => account.bulk_delete(user, ids),
            Request::List {
                refused: Some((_, field, code)),
                ..
            } => Answer::invalid(&[((*field).to_owned(), (*code).to_owned())]),
            Request::List {
                filter,
                page,
                limit,
                refused: None,
                conditions,
            } => {
                let found = account.matching(filter);
                let (page, limit) = (page.unwrap_or(1), limit.unwrap_or(1000));
                let size = usize::try_from(limit).unwrap();
                let skipped = usize::try_from((page - 1).saturating_mul(limit)).unwrap();
                let part: Vec<_> = found.iter().skip(skipped).take(size).copied().collect();
                let body = json!({
                    "tasks": account.shown(user, &part),
                    "total": found.len(),
                    "page": page,
                    "limit": limit,
                    "pages": found.len().div_ceil(size).max(1),
                });
                account.show(conditions, body)
            }
            Request::Continue { .. } => unreachable!("answered above"),
            Request::Notifications => account.notifications(user),
            Request::MarkRead(task, is_overdue, number) => {
                let is_it = |notice: &&mut Notice| {
                    task.owner == user
                        && (notice.task, notice.is_overdue, notice.number)
                            == (task.number, *is_overdue, *number)
                };
                match account.notices.iter_mut().find(is_it) {
                    Some(notice) => {
                        notice.is_read = true;
                        Answer::of(200, notice.json(user))
                    }
                    None => Answer::plain(404),
                }
            }
            Request::MarkAllRead => {
                for notice in &mut account.notices {
                    notice.is_read = true;
                }
                Answer::empty(204)
            }
        }
    }

    /// A list by cursor.
    fn list_on(&mut self, user: usize, filter: &Filter, limit: Option<i64>, from: From) -> Answer {
        let after = match from {
            From::Start => None,
            From::Seen { owner, number } => {
                let seen = self.users[owner].cursors.get(number);
                match seen.filter(|_| owner == user) {
                    Some(position) => Some(*position),
                    None => {
                        let field = "query.cursor".to_owned();
                        return Answer::invalid(&[(field, "value_error".to_owned())]);
                    }
                }
            }
        };
        let account = &mut self.users[user];
        let limit = limit.unwrap_or(1000);
        let size = usize::try_from(limit).unwrap();
        let mut found = account.matching(filter);
        found.retain(|position| after.is_none_or(|after| *position < after));
        let continues = found.len() > size;
        found.truncate(size);
        if continues {
            account.cursors.extend(found.last());
        }
        let body = json!({
            "tasks": account.shown(user, &found),
            "limit": limit,
            "next_cursor": continues,
        });
        account.tagged(200, body)
    }
}
