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

/// A task, as answers and rows show it. Titles are unique, so each write can be recognised.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct View {
    pub title: String,
    pub completed: bool,
    /// What follows the birth in the description.
    pub note: String,
    pub priority: String,
    /// Microseconds since 1970, as all times here.
    pub due: Option<i64>,
    pub updated: i64,
}

/// A task in an answer, or a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: i64,
    /// The beginning of the description, which no request changes: it tells who created the task.
    pub birth: String,
    pub created: i64,
    pub view: View,
}

/// A place in a list, newest first.
pub type Position = (i64, i64);

impl Seen {
    pub fn position(&self) -> Position {
        (self.created, self.id)
    }
}

/// What a request sets; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub title: Option<String>,
    pub completed: Option<bool>,
    pub note: Option<String>,
    pub priority: Option<&'static str>,
    #[allow(clippy::option_option, reason = "a due date can be taken away")]
    pub due: Option<Option<i64>>,
}

/// What a list is asked for. The text of a search is the title of one task, perhaps spelled
/// otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub search: Option<String>,
    pub completed: Option<bool>,
    pub priority: Option<&'static str>,
    /// Due at this time; no two times that tasks are due at share a day with it.
    pub due: Option<i64>,
}

/// Where a list begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Page(i64),
    /// After a task, or at the first one.
    Cursor(Option<Position>),
}

/// A request.
#[derive(Debug, Clone)]
pub enum Action {
    /// `birth` is the same in all attempts of one create.
    Create {
        birth: String,
        has_key: bool,
        task: Changes,
    },
    /// PUT or PATCH; `expected` is what the entity tag in `If-Match` stands for.
    Change {
        id: i64,
        changes: Changes,
        expected: Option<View>,
    },
    Delete {
        id: i64,
        expected: Option<View>,
    },
    /// `others` do not exist, or are another user's.
    BulkDelete {
        ids: Vec<i64>,
        others: Vec<i64>,
    },
    /// `known` is what the entity tag in `If-None-Match` stands for.
    Read {
        id: i64,
        known: Option<Seen>,
    },
    List {
        filter: Filter,
        start: Start,
        limit: usize,
    },
}

/// What the client was told.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Done, or read; with the tasks in the answer.
    Done(Vec<Seen>),
    /// A page of a list; nothing follows the last one.
    Listed { seen: Vec<Seen>, is_last: bool },
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

/// A request to mark one notification as read, or all that were listed before.
#[derive(Debug, Clone)]
pub struct Mark {
    pub user: String,
    /// `None`: all.
    pub id: Option<i64>,
    pub status: u16,
    /// Listed before the request was sent.
    pub listed: Vec<i64>,
}

/// All requests of a round, and whatever a single answer showed to be wrong.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Pages>);

#[derive(Debug, Default)]
pub struct Pages {
    pub entries: Vec<Entry>,
    pub complaints: Vec<String>,
    pub marks: Vec<Mark>,
    /// Answers by status; 0 is none.
    pub statuses: BTreeMap<u16, u64>,
    /// Those to requests below `/tasks`.
    pub about_tasks: BTreeMap<u16, u64>,
    /// What each entity tag stands for.
    tagged: HashMap<String, Value>,
}

impl Ledger {
    pub fn enter(&self, entry: Entry) {
        self.pages().entries.push(entry);
    }

    pub fn mark(&self, mark: Mark) {
        self.pages().marks.push(mark);
    }

    pub fn complain(&self, complaint: String) {
        self.pages().complaints.push(complaint);
    }

    pub fn count(&self, path: &str, status: u16) {
        let mut pages = self.pages();
        *pages.statuses.entry(status).or_default() += 1;
        if path.starts_with("/tasks") {
            *pages.about_tasks.entry(status).or_default() += 1;
        }
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
