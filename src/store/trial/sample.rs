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
    /// As long as one may be, in bytes too, and not to be compressed: indexes, triggers and columns
    /// of others may take shorter ones alone.
    description: String,
    other_title: String,
}

/// A character of each length in UTF-8.
const TITLE: &str = "Trial of todoctl doctor: é ✓ 😀";

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
            description: noise(Description::MAX_CHARS),
            other_title: noise(Title::MAX_CHARS),
        }
    }

    /// The task to store.
    pub fn task(&self, priority: Priority) -> NewTask {
        NewTask {
            user_id: self.user.clone(),
            title: title(TITLE),
            description: description(&self.description),
            priority,
            due_date: Some(due()),
        }
    }

    /// A title to change to.
    pub fn other_title(&self) -> Title {
        title(&self.other_title)
    }

    pub fn key(&self) -> IdempotencyKey {
        key(&self.id)
    }

    /// A token or a secret.
    pub fn secret(&self) -> Secret {
        Secret::new(self.id.as_str())
    }
}

/// Random characters of four bytes each: CJK Unified Ideographs Extension B.
fn noise(length: usize) -> String {
    let mut bytes = vec![0; 2 * length];
    // Without randomness the texts are compressed, and the trial shows a little less.
    let _ = getrandom::fill(&mut bytes);
    let pairs = bytes.chunks_exact(2);
    let numbers = pairs.map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    numbers
        .filter_map(|number| char::from_u32(0x2_0000 + number % 0xA6D0))
        .collect()
}

#[expect(clippy::expect_used, reason = "short enough, and not blank")]
fn title(text: &str) -> Title {
    Title::new(text).expect("a valid title")
}

#[expect(clippy::expect_used, reason = "short enough, and not blank")]
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
