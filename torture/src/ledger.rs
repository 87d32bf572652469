//! What the clients sent and what they were told: the evidence that the checker judges.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

/// A moment, in microseconds since the run began.
pub type Moment = u64;

/// A clock that all records of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now(&self) -> Moment {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What a client sees of a task. Titles are unique, so each write can be recognised.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct View {
    pub title: String,
    pub completed: bool,
}

/// A request.
#[derive(Debug, Clone)]
pub enum Action {
    /// `birth` is stored as the description, which no request changes: the same in all attempts
    /// of one create.
    Create {
        birth: String,
        has_key: bool,
    },
    /// PUT or PATCH; `expected` is what the entity tag in `If-Match` stands for.
    Change {
        id: i64,
        title: Option<String>,
        completed: Option<bool>,
        expected: Option<View>,
    },
    Delete {
        id: i64,
        expected: Option<View>,
    },
    BulkDelete {
        ids: Vec<i64>,
    },
    Read {
        id: i64,
    },
    /// `is_whole`: what is not in the answer does not exist.
    List {
        is_whole: bool,
    },
}

/// A task in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: i64,
    pub birth: String,
    pub view: View,
}

/// What the client was told.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Done, or read; with the tasks in the answer.
    Done(Vec<Seen>),
    /// Some ids of a bulk delete were deleted; the others did not exist.
    Deleted(Vec<i64>),
    /// 404.
    NotFound,
    /// 412.
    PreconditionFailed,
    /// 503: it has no effect from now on. A create without a key has none at all.
    Unavailable,
    /// 409, or the connection was lost: it may have an effect at any time.
    Unknown,
    /// No byte of the request was sent.
    NotSent,
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub struct Entry {
    pub user: usize,
    pub sent: Moment,
    pub answered: Moment,
    pub action: Action,
    pub outcome: Outcome,
}

/// All requests of a round, and whatever a single answer showed to be wrong.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Pages>);

#[derive(Debug, Default)]
pub struct Pages {
    pub entries: Vec<Entry>,
    pub complaints: Vec<String>,
    /// Answers by status; 0 is none.
    pub statuses: BTreeMap<u16, u64>,
    /// What each entity tag stands for.
    tagged: HashMap<String, Value>,
}

impl Ledger {
    pub fn enter(&self, entry: Entry) {
        self.pages().entries.push(entry);
    }

    pub fn complain(&self, complaint: String) {
        self.pages().complaints.push(complaint);
    }

    pub fn count(&self, status: u16) {
        *self.pages().statuses.entry(status).or_default() += 1;
    }

    /// Complains if an entity tag stood for something else before.
    pub fn compare_tag(&self, tag: &str, body: &Value) {
        let mut pages = self.pages();
        match pages.tagged.get(tag) {
            Some(before) if before == body => {}
            Some(before) => {
                let complaint = format!("the entity tag {tag} of {before} and of {body}");
                pages.complaints.push(complaint);
            }
            None => {
                pages.tagged.insert(tag.to_owned(), body.clone());
            }
        }
    }

    pub fn take(&self) -> Pages {
        std::mem::take(&mut *self.pages())
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whether it is a write that was acknowledged.
    pub fn is_acknowledged_write(&self) -> bool {
        match (&self.action, &self.outcome) {
            (Action::Read { .. } | Action::List { .. }, _) => false,
            (_, Outcome::Done(_)) => true,
            (_, Outcome::Deleted(ids)) => !ids.is_empty(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entity_tag_stands_for_one_body() {
        let ledger = Ledger::default();
        ledger.compare_tag("\"a\"", &json!({ "id": 1, "updated_at": 1 }));
        ledger.compare_tag("\"a\"", &json!({ "id": 1, "updated_at": 1 }));
        ledger.compare_tag("\"b\"", &json!({ "id": 1, "updated_at": 2 }));
        assert!(ledger.take().complaints.is_empty());
        ledger.compare_tag("\"a\"", &json!({ "id": 1, "updated_at": 1 }));
        ledger.compare_tag("\"a\"", &json!({ "id": 1, "updated_at": 2 }));
        assert_eq!(ledger.take().complaints.len(), 1);
    }
}
