//! Answers in the form in which they are compared: ids are names, texts of errors are left out.

use serde_json::{Value, json};
use todoctl::domain::Timestamp;

use super::requests::{Id, TaskRef, USERS};

/// The most notifications of a list.
pub const LISTED: usize = 50;

#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Whether it has a tag that the user did not send.
    pub is_tagged: bool,
    pub is_replayed: bool,
    pub body: Value,
}

impl Answer {
    pub fn of(status: u16, body: Value) -> Self {
        Self {
            status,
            is_tagged: false,
            is_replayed: false,
            body,
        }
    }

    pub fn empty(status: u16) -> Self {
        Self::of(status, Value::Null)
    }

    pub fn tagged(status: u16, body: Value) -> Self {
        Self {
            is_tagged: true,
            ..Self::of(status, body)
        }
    }

    pub fn replayed(self) -> Self {
        Self {
            is_replayed: true,
            ..self
        }
    }

    /// Contract 1.1 (a).
    pub fn plain(status: u16) -> Self {
        Self::of(status, json!("plain"))
    }

    /// Contract 1.1 (c): fields and codes.
    pub fn invalid(refusals: &[(String, String)]) -> Self {
        Self::of(
            422,
            json!({ "type": "validation_error", "errors": refusals }),
        )
    }
}

impl TaskRef {
    pub fn name(self) -> String {
        format!("{}/{}", USERS[self.owner], self.number)
    }

    pub fn notice_name(self, is_overdue: bool, number: usize) -> String {
        let kind = if is_overdue { "overdue" } else { "due_soon" };
        format!("{kind} {} {number}", self.name())
    }
}

impl Id {
    pub fn name(self) -> Value {
        match self {
            Self::Task(task) => task.name().into(),
            Self::Impossible(number) => serde_json::from_str(number).unwrap(),
            Self::Word => "word".into(),
        }
    }

    /// How it is refused in a path.
    pub fn refusal(self) -> Option<(String, String)> {
        (self == Self::Word).then(|| ("path.task_id".to_owned(), "int_parsing".to_owned()))
    }
}

/// Brings notifications of the same time into one order: that of their ids is not determined.
/// Which ones of the last time are in a full list is not determined either: they are counted.
pub fn join_ties(list: &mut Vec<Value>) {
    let newest_first = |one: &Value| {
        let text = |name: &str| one[name].as_str().unwrap().to_owned();
        let at: Timestamp = text("created_at").parse().unwrap();
        (std::cmp::Reverse(at), text("id"))
    };
    list.sort_by_key(newest_first);
    if list.len() == LISTED {
        let last = list[LISTED - 1]["created_at"].clone();
        list.retain(|one| one["created_at"] != last);
        list.push(json!({ "others": LISTED - list.len(), "created_at": last }));
    }
}
