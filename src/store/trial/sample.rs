//! What a trial stores.

use crate::config::Secret;
use crate::domain::{Description, IdempotencyKey, NewTask, Priority, Timestamp, Title, UserId};

/// 2001, with microseconds, which show whether a column keeps them.
const DUE: i64 = 978_307_200_123_456;

/// When the tasks are due: before any task of a user.
pub(super) fn due() -> Timestamp {
    Timestamp::from_micros_clamped(DUE)
}

/// Values that nobody else has.
pub(super) struct Sample {
    /// Random, so that two trials do not wait for each other's rows.
    pub id: String,
    pub user: UserId,
    pub now: Timestamp,
}

/// A character of each length in UTF-8.
const TITLE: &str = "Trial of todoctl doctor: é ✓ 😀";
const OTHER_TITLE: &str = "Changed by todoctl doctor";

impl Sample {
    pub fn new(now: Timestamp) -> Self {
        let mut bytes = [0; 12];
        // The time alone tells two trials apart as well, unless they begin together.
        let _ = getrandom::fill(&mut bytes);
        let id = format!("todoctl-doctor-{}-{}", now.micros(), hex::encode(bytes));
        Self {
            user: user(&id),
            id,
            now,
        }
    }

    /// The task to store.
    pub fn task(&self, priority: Priority) -> NewTask {
        NewTask {
            user_id: self.user.clone(),
            title: title(TITLE),
            description: description("Rolled back"),
            priority,
            due_date: Some(due()),
        }
    }

    /// A title to change to.
    pub fn other_title() -> Title {
        title(OTHER_TITLE)
    }

    pub fn key(&self) -> IdempotencyKey {
        key(&self.id)
    }

    /// A token or a secret.
    pub fn secret(&self) -> Secret {
        Secret::new(self.id.as_str())
    }
}

#[expect(clippy::expect_used, reason = "constants that are short and not blank")]
fn title(text: &str) -> Title {
    Title::new(text).expect("a valid title")
}

#[expect(clippy::expect_used, reason = "constants that are short and not blank")]
fn description(text: &str) -> Option<Description> {
    Description::new(text).expect("a valid description")
}

#[expect(clippy::expect_used, reason = "short, and of visible characters")]
fn user(id: &str) -> UserId {
    UserId::new(id).expect("a valid user id")
}

#[expect(clippy::expect_used, reason = "short, and of visible characters")]
fn key(id: &str) -> IdempotencyKey {
    IdempotencyKey::new(id.as_bytes()).expect("a valid key")
}
