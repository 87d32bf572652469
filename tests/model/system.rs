//! A daemon on one engine, and what its users were given by it.

use std::collections::HashMap;

use futures_util::future::join_all;
use reqwest::Response;
use serde_json::{Map, Value, json};
use todoctl::clock::Clock;
use todoctl::domain::UserId;
use todoctl::jobs::{self, SearchUpkeep, Stop};
use todoctl::telemetry::JobMetrics;

use super::answer::{Answer, join_ties};
use super::encoding::error;
use super::requests::{Body, Call, Conditions, From, Id, Request, Step, Tags, TaskRef, USERS};
use crate::api::daemon::Daemon;
use crate::api::request::{self, read};
use crate::support::Engine;

/// Ids from here on stand for tasks that do not exist.
const UNKNOWN: i64 = 9_000_000_000_000;

pub struct System {
    daemon: Daemon,
    metrics: JobMetrics,
    users: Vec<Known>,
}

/// What a user was given, in the order in which it was.
#[derive(Debug, Clone, Default)]
struct Known {
    tasks: Vec<i64>,
    tags: Vec<String>,
    /// What each tag stands for.
    shown: HashMap<String, Value>,
    cursors: Vec<String>,
    /// By task and whether it is overdue.
    notices: HashMap<(i64, bool), Vec<i64>>,
}

/// One user's calls, and what other users had before them.
struct Session<'a> {
    daemon: &'a Daemon,
    user: usize,
    known: &'a mut Known,
    others: &'a [Known],
}

impl System {
    pub async fn start(engine: Engine, clock: Clock) -> Self {
        // Few connections, so that calls of several users share statements.
        let daemon = Daemon::start_at(engine, clock, |config| config.database.pool.size = 2).await;
        Self {
            daemon,
            metrics: JobMetrics::new().unwrap(),
            users: vec![Known::default(); USERS.len()],
        }
    }

    pub fn engine(&self) -> Engine {
        self.daemon.database.engine()
    }

    /// Forgets everything.
    pub async fn reset(&mut self) {
        self.users = vec![Known::default(); USERS.len()];
        let rows =
            "DELETE FROM tasks; DELETE FROM notifications; DELETE FROM todoctl_idempotency_keys;";
        self.daemon.database.execute(rows).await;
    }

    /// Does one step; the answers to its calls, or what is wrong with one of them.
    pub async fn apply(&mut self, step: &Step) -> Result<Vec<Answer>, String> {
        match step {
            Step::Calls(calls) => return self.answers(calls).await,
            // The clock is the systems' common one.
            Step::Clock(_) => {}
            Step::Remind => self.remind().await,
            Step::Unfold => {
                let rows = "UPDATE tasks SET search_title = NULL, search_description = NULL";
                self.daemon.database.execute(rows).await;
            }
            Step::Fold => {
                let mut upkeep = SearchUpkeep::new(self.daemon.store.clone());
                upkeep.run(&Stop::never()).await.unwrap();
            }
        }
        Ok(Vec::new())
    }

    async fn answers(&mut self, calls: &[Call]) -> Result<Vec<Answer>, String> {
        let others = self.users.clone();
        let sessions = self.users.iter_mut().enumerate().map(|(user, known)| {
            let mut session = Session {
                daemon: &self.daemon,
                user,
                known,
                others: &others,
            };
            async move {
                let mut answers = Vec::new();
                for (number, call) in calls.iter().enumerate() {
                    if call.user == user {
                        answers.push((number, session.answer(&call.request).await?));
                    }
                }
                Ok::<_, String>(answers)
            }
        });
        let mut answers = Vec::new();
        for of_one_user in join_all(sessions).await {
            answers.extend(of_one_user?);
        }
        answers.sort_by_key(|(number, _)| *number);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    async fn remind(&mut self) {
        let Daemon { store, clock, .. } = &self.daemon;
        let run = jobs::run_reminders(store, clock, false, &Stop::never(), &self.metrics).await;
        assert_eq!(run.unwrap().skipped, 0);
        for (user, known) in USERS.iter().zip(&mut self.users) {
            let user = UserId::new(*user).unwrap();
            let list = store.notifications(&user, i64::MAX).await.unwrap();
            let mut all = list.notifications;
            all.sort_by_key(|notice| notice.id);
            for notice in all {
                let about = (notice.task_id.unwrap(), notice.kind == "overdue");
                let ids = known.notices.entry(about).or_default();
                if !ids.contains(&notice.id) {
                    ids.push(notice.id);
                }
            }
        }
    }
}

impl Session<'_> {
    fn tasks_of(&self, user: usize) -> &[i64] {
        if user == self.user {
            &self.known.tasks
        } else {
            &self.others[user].tasks
        }
    }

    fn real(&self, task: TaskRef) -> i64 {
        let TaskRef { owner, number } = task;
        let known = self.tasks_of(owner).get(number).copied();
        known.unwrap_or_else(|| {
            let place = number * USERS.len() + owner;
            UNKNOWN + i64::try_from(place).unwrap()
        })
    }

    /// The name of the task that has this id; the id itself if nobody was given it.
    fn name(&self, id: &Value) -> Value {
        let Some(number) = id.as_i64() else {
            return id.clone();
        };
        if let Ok(place) = usize::try_from(number - UNKNOWN) {
            let (owner, number) = (place % USERS.len(), place / USERS.len());
            return TaskRef { owner, number }.name().into();
        }
        for owner in 0..USERS.len() {
            let found = self.tasks_of(owner).iter().position(|id| *id == number);
            if let Some(number) = found {
                return TaskRef { owner, number }.name().into();
            }
        }
        id.clone()
    }

    fn id(&self, id: Id) -> String {
        match id {
            Id::Task(task) => self.real(task).to_string(),
            Id::Impossible(number) => number.to_owned(),
            Id::Word => "word".to_owned(),
        }
    }

    async fn answer(&mut self, request: &Request) -> Result<Answer, String> {
        let response = self.request(request).user(USERS[self.user]).send().await;
        self.canonical(response.map_err(|error| error.to_string())?)
            .await
    }

    fn request(&self, request: &Request) -> request::Request {
        let daemon = self.daemon;
        let path = |id: Id| format!("/tasks/{}", self.id(id));
        match request {
            Request::Create { body, key } => {
                let request = daemon.post("/tasks/").json(&body.json());
                match key {
                    Some(key) => request.header("Idempotency-Key", *key),
                    None => request,
                }
            }
            Request::Read(id, when) => self.when(daemon.get(&path(*id)), when),
            Request::Update(id, body, when) => {
                self.when(daemon.put(&path(*id)).json(&body.json()), when)
            }
            Request::Complete(id, completed, when) => {
                let body = Body::completion(completed).json();
                self.when(daemon.patch(&path(*id)).json(&body), when)
            }
            Request::Delete(id, when) => self.when(daemon.delete(&path(*id)), when),
            Request::BulkDelete(ids) => {
                let ids: Vec<Value> = ids
                    .iter()
                    .map(|id| serde_json::from_str(&self.id(*id)).unwrap_or("word".into()))
                    .collect();
                let body = json!({ "task_ids": ids });
                daemon.post("/tasks/bulk-delete").json(&body)
            }
            Request::List {
                filter,
                page,
                limit,
                refused,
                conditions,
            } => {
                let mut query = filter.query();
                for (name, value) in [("page", page), ("limit", limit)] {
                    if let Some(value) = value {
                        query.append_pair(name, &value.to_string());
                    }
                }
                let refused = refused.map_or("", |(parameter, ..)| parameter);
                let path = format!("/tasks/?{}&{refused}", query.finish());
                self.when(daemon.get(&path), conditions)
            }
            Request::Continue {
                filter,
                limit,
                from,
            } => {
                let mut query = filter.query();
                if let Some(limit) = limit {
                    query.append_pair("limit", &limit.to_string());
                }
                query.append_pair("cursor", self.cursor(*from));
                daemon.get(&format!("/tasks/?{}", query.finish()))
            }
            Request::Notifications => daemon.get("/notifications/"),
            Request::MarkRead(task, is_overdue, number) => {
                let known = if task.owner == self.user {
                    &*self.known
                } else {
                    &self.others[task.owner]
                };
                let ids = known.notices.get(&(self.real(*task), *is_overdue));
                let id = ids.and_then(|ids| ids.get(*number)).copied();
                daemon.patch(&format!("/notifications/{}/read", id.unwrap_or(UNKNOWN)))
            }
            Request::MarkAllRead => daemon.post("/notifications/read-all"),
        }
    }

    fn cursor(&self, from: From) -> &str {
        let From::Seen { owner, number } = from else {
            return "";
        };
        let cursors = if owner == self.user {
            &self.known.cursors
        } else {
            &self.others[owner].cursors
        };
        cursors.get(number).map_or("none", String::as_str)
    }

    fn when(&self, mut request: request::Request, when: &Conditions) -> request::Request {
        for (name, tags) in [
            ("If-Match", &when.if_match),
            ("If-None-Match", &when.if_none_match),
        ] {
            let value = match tags {
                None => continue,
                Some(Tags::Any) => "*".to_owned(),
                Some(Tags::These(tags)) => {
                    let tags: Vec<String> = tags
                        .iter()
                        .map(|(number, is_weak)| {
                            let tag = self.known.tags.get(*number);
                            let tag = tag.map_or("\"none\"", String::as_str);
                            format!("{}{tag}", if *is_weak { "W/" } else { "" })
                        })
                        .collect();
                    tags.join(", ")
                }
            };
            request = request.header(name, value);
        }
        request
    }

    /// The answer in the form in which it is compared. What it gives to the user is remembered.
    async fn canonical(&mut self, response: Response) -> Result<Answer, String> {
        let header = |name| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let (tag, replayed) = (header("etag"), header("idempotency-replayed"));
        let (status, body) = read(response).await;
        let status = status.as_u16();
        if status >= 400 {
            return Ok(Answer::of(status, error(&body)));
        }
        if let (201, Some(id)) = (status, body["id"].as_i64())
            && !self.known.tasks.contains(&id)
        {
            self.known.tasks.push(id);
        }
        let body = match body {
            Value::Object(fields) => self.named(fields),
            Value::String(text) if text.is_empty() => Value::Null,
            other => return Err(format!("{status} with the body {other}")),
        };
        if let (200 | 201, Some(tag)) = (status, &tag) {
            let is_new = !self.known.shown.contains_key(tag);
            let known = self
                .known
                .shown
                .entry(tag.clone())
                .or_insert_with(|| body.clone());
            if *known != body
                || (is_new
                    && self
                        .known
                        .shown
                        .values()
                        .filter(|one| **one == body)
                        .count()
                        > 1)
            {
                return Err(format!("the tag {tag} is not that of {body} alone"));
            }
            self.known.tags.push(tag.clone());
        }
        Ok(Answer {
            status,
            is_tagged: tag.is_some() && status != 304,
            is_replayed: replayed.as_deref() == Some("true"),
            body,
        })
    }

    /// A body with names in place of ids.
    fn named(&mut self, mut body: Map<String, Value>) -> Value {
        if let Some(cursor) = body.get_mut("next_cursor") {
            self.known
                .cursors
                .extend(cursor.as_str().map(str::to_owned));
            *cursor = cursor.is_string().into();
        }
        for list in ["tasks", "notifications", "deleted", "not_found"] {
            if let Some(Value::Array(items)) = body.get_mut(list) {
                for item in &mut *items {
                    *item = self.named_item(item);
                }
                if list == "notifications" {
                    join_ties(items);
                }
            }
        }
        self.named_item(&Value::Object(body))
    }

    /// A task, a notification, an id, or another body.
    fn named_item(&self, item: &Value) -> Value {
        let Value::Object(fields) = item else {
            return self.name(item);
        };
        let mut fields = fields.clone();
        if let (Some(id), Some(task)) = (fields.get("id"), fields.get("task_id")) {
            let is_overdue = fields["type"] == "overdue";
            let ids = task
                .as_i64()
                .and_then(|task| self.known.notices.get(&(task, is_overdue)));
            let number = ids.and_then(|ids| ids.iter().position(|one| Some(*one) == id.as_i64()));
            let kind = if is_overdue { "overdue" } else { "due_soon" };
            let task = self.name(task);
            let name = format!(
                "{kind} {} {}",
                task.as_str().unwrap_or("?"),
                number.unwrap_or(usize::MAX)
            );
            fields.insert("id".to_owned(), name.into());
            fields.insert("task_id".to_owned(), task);
        } else if let Some(id) = fields.get("id") {
            let name = self.name(id);
            fields.insert("id".to_owned(), name);
        }
        Value::Object(fields)
    }
}
