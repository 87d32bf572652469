//! What the clients do: every kind of request, on few tasks at a time, so that requests meet.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::answers::understand;
use crate::daemon::{TIME_LIMIT, TOKEN};
use crate::http::{Answer, Client, Head, Request};
use crate::ledger::{Action, Changes, Entry, Filter, Outcome, Start};
use crate::round::{Known, Mix, Round, USERS};
use crate::writes::Change;

/// An answer that takes longer was not limited by the time limit. A busy machine, a daemon that is
/// stopped for a while, and a new connection take some of it.
const TOO_LATE: Duration = TIME_LIMIT.saturating_add(Duration::from_secs(6));

/// One client.
pub struct Worker {
    pub(crate) mix: Mix,
    pub(crate) round: Arc<Round>,
    pub(crate) number: usize,
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
                task: Changes::default(),
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
            self.list(Filter::default(), Start::Page(1), 1000).await;
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
            20..52 => self.change(&task, Change::Title).await,
            52..60 => self.change(&task, Change::Several).await,
            60..80 => self.change(&task, Change::Completion).await,
            80..89 => self.delete(&task).await,
            89..95 => self.bulk_delete(&task).await,
            95..97 => self.some_list(&task).await,
            _ => self.read(&task).await,
        }
    }

    async fn step(&mut self) {
        let Some(task) = self.round.pick(self.user, &mut self.rng) else {
            return self.create().await;
        };
        match self.rng.u8(..100) {
            0..22 => self.create().await,
            22..42 => self.change(&task, Change::Title).await,
            42..49 => self.change(&task, Change::Several).await,
            49..58 => self.change(&task, Change::Completion).await,
            58..64 => self.delete(&task).await,
            64..67 => self.bulk_delete(&task).await,
            67..80 => self.read(&task).await,
            80..87 => self.some_list(&task).await,
            87..90 => self.trespass(task.seen.id).await,
            90..96 => self.notifications().await,
            _ => self.use_key_again().await,
        }
    }

    /// A name that no other write has.
    pub(crate) fn fresh(&mut self, kind: char) -> String {
        self.sent += 1;
        format!("{kind}{}.{}.{}", self.round.number, self.number, self.sent)
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
        let started = Instant::now();
        let answer = self.clients[daemon].send(request).await;
        let ledger = &self.round.ledger;
        let took = started.elapsed();
        if took > TOO_LATE && !matches!(answer, Answer::Silent) {
            ledger.complain(format!(
                "{} {} took {took:.1?}: {answer:?}",
                request.method, request.path
            ));
        }
        match &answer {
            Answer::Status { code, body, .. } => {
                ledger.count(&request.path, *code);
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
                ledger.count(&request.path, 0);
                ledger.complain(format!("no answer to {} {}", request.method, request.path));
            }
            Answer::Lost => ledger.count(&request.path, 0),
            Answer::NotSent => {
                sleep(Duration::from_millis(5)).await;
            }
        }
        answer
    }

    /// Sends a request, and enters it in the ledger.
    pub(crate) async fn perform(&mut self, action: Action, request: &Request) -> Outcome {
        self.perform_and_show(action, request).await.0
    }

    /// The same; also the headers and the body of the answer.
    pub(crate) async fn perform_and_show(
        &mut self,
        action: Action,
        request: &Request,
    ) -> (Outcome, Head, Value) {
        let sent = self.round.stopwatch.now();
        let answer = self.send(request).await;
        let answered = self.round.stopwatch.now();
        let user = self.user;
        let (outcome, head, body) = match answer {
            Answer::Status { code, head, body } => {
                if let Some(tag) = head.etag.as_ref().filter(|_| code != 304) {
                    self.round.ledger.compare_tag(tag, &body);
                }
                let owner = self.round.user(user);
                let outcome = understand(&action, code, &body, &owner).unwrap_or_else(|| {
                    if code >= 500 {
                        // Complained about already.
                        return Outcome::Unknown;
                    }
                    let complaint = format!(
                        "{} {} {action:?}: {code} {body}",
                        request.method, request.path
                    );
                    self.round.ledger.complain(complaint);
                    Outcome::Unknown
                });
                self.learn(&action, &outcome, head.etag.as_deref());
                (outcome, head, body)
            }
            Answer::NotSent => (Outcome::NotSent, Head::default(), Value::Null),
            Answer::Lost | Answer::Silent => (Outcome::Unknown, Head::default(), Value::Null),
        };
        self.round.ledger.enter(Entry {
            user,
            sent,
            answered,
            action,
            outcome: outcome.clone(),
        });
        (outcome, head, body)
    }

    fn learn(&self, action: &Action, outcome: &Outcome, etag: Option<&str>) {
        let user = self.user;
        match (action, outcome) {
            (
                Action::Create { .. } | Action::Change { .. } | Action::Read { .. },
                Outcome::Done(seen),
            ) => {
                for seen in seen.iter().cloned() {
                    let etag = etag.map(str::to_owned);
                    self.round.remember(user, Known { seen, etag });
                }
            }
            (Action::Delete { id, .. }, Outcome::Done(_)) if matches!(self.mix, Mix::Alone(_)) => {
                self.round.forget(user, &[*id]);
            }
            // A deleted task is asked for once more.
            (
                Action::Delete { id, .. } | Action::Change { id, .. } | Action::Read { id, .. },
                Outcome::NotFound,
            ) => {
                self.round.forget(user, &[*id]);
            }
            (_, Outcome::Deleted(ids)) => self.round.forget(user, ids),
            _ => {}
        }
    }
}
