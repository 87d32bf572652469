//! What the clients do: every kind of request, on few tasks at a time, so that requests meet.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::answers::understand;
use crate::daemon::TOKEN;
use crate::http::{Answer, Client, Request};
use crate::ledger::{Action, Entry, Outcome, Seen, View};
use crate::round::{Known, Mix, Round, USERS};

/// One client.
pub struct Worker {
    mix: Mix,
    pub(crate) round: Arc<Round>,
    number: usize,
    pub(crate) rng: Rng,
    clients: Vec<Client>,
    pub(crate) sent: usize,
    pub(crate) user: usize,
}

impl Worker {
    pub fn new(round: &Arc<Round>, number: usize, mix: Mix, rng: Rng) -> Self {
        Self {
            mix,
            round: Arc::clone(round),
            number,
            rng,
            clients: round
                .ports
                .iter()
                .map(|&port| Client::new(port, TOKEN))
                .collect(),
            sent: 0,
            user: 0,
        }
    }

    /// A client of one daemon.
    pub fn of(round: &Arc<Round>, daemon: usize, rng: Rng) -> Self {
        let mut worker = Self::new(round, 100 + daemon, Mix::Meeting, rng);
        worker.clients = vec![Client::new(round.ports[daemon], TOKEN)];
        worker
    }

    /// Creates tasks until one is acknowledged; whether that was within `limit`.
    pub async fn until_created(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            let birth = self.fresh('b');
            let body = json!({ "title": birth, "description": birth });
            let request = self.request("POST", "/tasks/", Some(body));
            let action = Action::Create {
                birth,
                has_key: false,
            };
            if matches!(self.perform(action, &request).await, Outcome::Done(_)) {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Lists all tasks of each user.
    pub async fn look(&mut self) {
        for user in 0..USERS {
            self.user = user;
            self.list("?limit=1000", true).await;
        }
    }

    /// What each user is told to be unread.
    pub async fn unread(&mut self) -> Vec<(String, Value)> {
        let mut told = Vec::new();
        for user in 0..USERS {
            self.user = user;
            let request = self.request("GET", "/notifications/", None);
            if let Answer::Status {
                code: 200, body, ..
            } = self.send(&request).await
            {
                told.push((self.round.user(user), body["unread_count"].clone()));
            }
        }
        told
    }

    /// Sends requests until the round is over, `most` at most.
    pub async fn run(mut self, most: usize) {
        while self.sent < most && !self.round.is_over.load(SeqCst) {
            match self.mix {
                Mix::Meeting => {
                    self.user = self.rng.usize(..USERS);
                    self.step().await;
                    if self.rng.u8(..4) == 0 {
                        sleep(Duration::from_micros(self.rng.u64(..2000))).await;
                    }
                }
                Mix::Alone(user) => {
                    self.user = user;
                    self.step_alone().await;
                }
            }
        }
    }

    async fn step_alone(&mut self) {
        let Some(task) = self.round.pick(self.user, &mut self.rng) else {
            return self.create().await;
        };
        match self.rng.u8(..100) {
            0..20 => self.create().await,
            20..60 => self.change(&task, true).await,
            60..82 => self.change(&task, false).await,
            82..92 => self.delete(&task).await,
            92..98 => self.bulk_delete(&task).await,
            _ => self.read(task.id).await,
        }
    }

    async fn step(&mut self) {
        let Some(task) = self.round.pick(self.user, &mut self.rng) else {
            return self.create().await;
        };
        match self.rng.u8(..100) {
            0..26 => self.create().await,
            26..50 => self.change(&task, true).await,
            50..62 => self.change(&task, false).await,
            62..69 => self.delete(&task).await,
            69..71 => self.bulk_delete(&task).await,
            71..88 => self.read(task.id).await,
            88..92 => self.list("?limit=20", false).await,
            92..93 => self.list("?limit=1000", true).await,
            93..95 => {
                self.list(&format!("?search={}", task.view.title), false)
                    .await;
            }
            95..98 => self.trespass(task.id).await,
            _ => self.notifications().await,
        }
    }

    /// A name that no other write has.
    pub(crate) fn fresh(&mut self, kind: char) -> String {
        self.sent += 1;
        format!("{kind}{}.{}.{}", self.round.number, self.number, self.sent)
    }

    async fn create(&mut self) {
        let birth = self.fresh('b');
        let has_key = self.rng.u8(..3) == 0 && !self.round.limits.rows_expire;
        let mut body = json!({ "title": birth, "description": birth });
        match self.rng.u8(..16) {
            0..2 => body["due_date"] = "2020-01-01T00:00:00Z".into(),
            2 => body["due_date"] = self.round.soon.clone().into(),
            _ => {}
        }
        let mut request = self.request("POST", "/tasks/", Some(body));
        if has_key {
            request.headers.push(("Idempotency-Key", birth.clone()));
        }
        let action = Action::Create { birth, has_key };
        if has_key && self.rng.u8(..6) == 0 {
            self.twice(action, request).await;
            return;
        }
        for _ in 0..6 {
            let outcome = self.perform(action.clone(), &request).await;
            let repeat = match outcome {
                Outcome::Unavailable => has_key || self.rng.bool(),
                Outcome::Unknown => has_key,
                Outcome::NotSent => true,
                _ => false,
            };
            if !repeat || self.round.is_over.load(SeqCst) {
                return;
            }
            sleep(Duration::from_millis(self.rng.u64(..30))).await;
        }
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
    async fn change(&mut self, task: &Known, renames: bool) {
        for _ in 0..4 {
            let outcome = self.change_once(task, renames).await;
            let has_failed = matches!(outcome, Outcome::Unavailable | Outcome::Unknown);
            if !has_failed || self.rng.u8(..4) == 0 || self.round.is_over.load(SeqCst) {
                return;
            }
        }
    }

    async fn change_once(&mut self, task: &Known, renames: bool) -> Outcome {
        let (title, completed) = if renames {
            (
                Some(self.fresh('t')),
                (self.rng.u8(..8) == 0).then(|| self.rng.bool()),
            )
        } else {
            self.sent += 1;
            (None, Some(self.rng.bool()))
        };
        let path = format!("/tasks/{}", task.id);
        let mut request = match &title {
            Some(title) => {
                let mut body = json!({ "title": title });
                if let Some(completed) = completed {
                    body["completed"] = completed.into();
                }
                self.request("PUT", &path, Some(body))
            }
            None => self.request("PATCH", &path, Some(json!({ "completed": completed }))),
        };
        let expected = self.condition(task, &mut request);
        let action = Action::Change {
            id: task.id,
            title,
            completed,
            expected,
        };
        self.perform(action, &request).await
    }

    /// `If-Match`, now and then.
    fn condition(&mut self, task: &Known, request: &mut Request) -> Option<View> {
        let one_of = match self.mix {
            Mix::Meeting => 3,
            Mix::Alone(_) => 12,
        };
        let etag = task.etag.clone().filter(|_| self.rng.u8(..one_of) == 0)?;
        request.headers.push(("If-Match", etag));
        Some(task.view.clone())
    }

    async fn delete(&mut self, task: &Known) {
        self.sent += 1;
        let mut request = self.request("DELETE", &format!("/tasks/{}", task.id), None);
        let expected = self.condition(task, &mut request);
        let action = Action::Delete {
            id: task.id,
            expected,
        };
        self.perform(action, &request).await;
    }

    async fn bulk_delete(&mut self, task: &Known) {
        self.sent += 1;
        let other = self
            .round
            .pick(self.user, &mut self.rng)
            .map(|other| other.id);
        let mut ids = vec![task.id];
        ids.extend(other.filter(|&other| other != task.id));
        let body = json!({ "task_ids": ids });
        let request = self.request("POST", "/tasks/bulk-delete", Some(body));
        self.perform(Action::BulkDelete { ids }, &request).await;
    }

    async fn read(&mut self, id: i64) {
        self.sent += 1;
        let request = self.request("GET", &format!("/tasks/{id}"), None);
        self.perform(Action::Read { id }, &request).await;
    }

    async fn list(&mut self, query: &str, is_whole: bool) {
        self.sent += 1;
        let request = self.request("GET", &format!("/tasks/{query}"), None);
        self.perform(Action::List { is_whole }, &request).await;
    }

    pub(crate) fn request(&self, method: &'static str, path: &str, body: Option<Value>) -> Request {
        Request {
            method,
            path: path.to_owned(),
            user: self.round.user(self.user),
            token: self.round.tokens[self.user].clone(),
            headers: Vec::new(),
            body,
        }
    }

    /// Sends a request to the next daemon.
    pub(crate) async fn send(&mut self, request: &Request) -> Answer {
        let daemon = self.rng.usize(..self.clients.len());
        let answer = self.clients[daemon].send(request).await;
        let ledger = &self.round.ledger;
        match &answer {
            Answer::Status { code, body, .. } => {
                ledger.count(*code);
                if *code == 503 {
                    sleep(Duration::from_millis(3)).await;
                }
                if *code >= 500 && *code != 503 {
                    ledger.complain(format!(
                        "{} {}: {code} {body}",
                        request.method, request.path
                    ));
                }
            }
            Answer::Silent => {
                ledger.count(0);
                ledger.complain(format!("no answer to {} {}", request.method, request.path));
            }
            Answer::Lost => ledger.count(0),
            Answer::NotSent => {
                sleep(Duration::from_millis(5)).await;
            }
        }
        answer
    }

    /// Sends a request, and enters it in the ledger.
    async fn perform(&mut self, action: Action, request: &Request) -> Outcome {
        let sent = self.round.stopwatch.now();
        let answer = self.send(request).await;
        let answered = self.round.stopwatch.now();
        let user = self.user;
        let outcome = match answer {
            Answer::Status { code, etag, body } => {
                if let Some(tag) = &etag {
                    self.round.ledger.compare_tag(tag, &body);
                }
                let owner = self.round.user(user);
                let outcome = understand(&action, code, &body, &owner).unwrap_or_else(|| {
                    if code >= 500 {
                        // Complained about already.
                        return Outcome::Unknown;
                    }
                    let complaint = format!("{action:?}: {code} {body}");
                    self.round.ledger.complain(complaint);
                    Outcome::Unknown
                });
                self.learn(&action, &outcome, etag.as_deref());
                outcome
            }
            Answer::NotSent => Outcome::NotSent,
            Answer::Lost | Answer::Silent => Outcome::Unknown,
        };
        self.round.ledger.enter(Entry {
            user,
            sent,
            answered,
            action,
            outcome: outcome.clone(),
        });
        outcome
    }

    fn learn(&self, action: &Action, outcome: &Outcome, etag: Option<&str>) {
        let user = self.user;
        match (action, outcome) {
            (
                Action::Create { .. } | Action::Change { .. } | Action::Read { .. },
                Outcome::Done(seen),
            ) => {
                for Seen { id, view, .. } in seen.iter().cloned() {
                    self.round.remember(
                        user,
                        Known {
                            id,
                            view,
                            etag: etag.map(str::to_owned),
                        },
                    );
                }
            }
            (Action::Delete { id, .. }, Outcome::Done(_)) if matches!(self.mix, Mix::Alone(_)) => {
                self.round.forget(user, &[*id]);
            }
            // A deleted task is asked for once more.
            (
                Action::Delete { id, .. } | Action::Change { id, .. } | Action::Read { id },
                Outcome::NotFound,
            ) => {
                self.round.forget(user, &[*id]);
            }
            (_, Outcome::Deleted(ids)) => self.round.forget(user, ids),
            _ => {}
        }
    }
}
