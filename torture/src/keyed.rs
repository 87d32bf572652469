//! Idempotency keys that were used before.

use serde_json::Value;

use crate::http::{Answer, Request};
use crate::ledger::{Action, Outcome};
use crate::round::USERS;
use crate::workload::Worker;
use crate::writes::body_of;

/// A create with a key, and its first answer.
#[derive(Debug, Clone)]
pub struct Kept {
    pub request: Request,
    pub answer: Value,
}

impl Worker {
    /// Uses a key once more: for the same request, for another one, or as another user.
    pub(crate) async fn use_key_again(&mut self) {
        let Some(kept) = self.round.any_kept(&mut self.rng) else {
            return self.create().await;
        };
        match self.rng.u8(..4) {
            0 => self.another_request(kept).await,
            1 => self.another_user().await,
            _ => self.same_request(&kept).await,
        }
    }

    /// The first answer comes again, whatever became of the task.
    async fn same_request(&mut self, kept: &Kept) {
        self.sent += 1;
        if let Answer::Status { code, head, body } = self.send(&kept.request).await {
            let is_first = code == 201 && head.is_replayed && body == kept.answer;
            if !is_first && code != 503 {
                let text = format!(
                    "the create {:?} was answered with {}, and again with {code}, {head:?}, {body}",
                    kept.request.headers, kept.answer
                );
                self.round.ledger.complain(text);
            }
        }
    }

    async fn another_request(&mut self, mut kept: Kept) {
        let title = self.fresh('x');
        if let Some(body) = &mut kept.request.body {
            body["title"] = title.into();
        }
        if let Answer::Status { code, body, .. } = self.send(&kept.request).await
            && !matches!(code, 422 | 503)
        {
            let text = format!("a key of another request, and {code} {body}");
            self.round.ledger.complain(text);
        }
    }

    /// Two users with the same key have a task each.
    async fn another_user(&mut self) {
        if self.round.limits.rows_expire {
            return;
        }
        let key = self.fresh('k');
        for _ in 0..2 {
            let (birth, task) = self.new_task();
            let mut request = self.request("POST", "/tasks/", Some(body_of(&birth, &task)));
            request.headers.push(("Idempotency-Key", key.clone()));
            let action = Action::Create {
                birth,
                has_key: true,
                task,
            };
            let (outcome, head, _) = self.perform_and_show(action, &request).await;
            if matches!(outcome, Outcome::Done(_)) && head.is_replayed {
                let text = format!("another user's answer for the key {key}");
                self.round.ledger.complain(text);
            }
            self.user = (self.user + 1) % USERS;
        }
    }
}
