//! The operations of a history.

use serde_json::Value;
use todoctl::domain::{Priority, Timestamp};

pub const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// The time at which every history begins: shortly before a day ends.
pub const START: &str = "2031-05-10T23:00:00.000001Z";

pub const HOUR: i64 = 3_600_000_000;

/// The task that `owner` created after `number` others. There may be none: then it is an id that
/// does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskRef {
    pub owner: usize,
    pub number: usize,
}

/// An id in a path or in the body of a bulk request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    Task(TaskRef),
    /// A number that no task has.
    Impossible(&'static str),
    /// Not an integer.
    Word,
}

/// A field of a body.
#[derive(Debug, Clone, PartialEq)]
pub enum Field<T> {
    Absent,
    Null,
    Is(T),
    /// A value that is refused with this code.
    Wrong(Value, &'static str),
}

/// A due date, as it is written and as it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub text: String,
    pub at: Timestamp,
}

/// The body of a create or an update.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    pub title: Field<String>,
    pub description: Field<String>,
    pub priority: Field<Priority>,
    pub due_date: Field<Due>,
    pub completed: Field<bool>,
}

impl Body {
    const EMPTY: Self = Self {
        title: Field::Absent,
        description: Field::Absent,
        priority: Field::Absent,
        due_date: Field::Absent,
        completed: Field::Absent,
    };

    pub fn titled(title: &str) -> Self {
        Self {
            title: Field::Is(title.to_owned()),
            ..Self::EMPTY
        }
    }

    /// What a PATCH changes.
    pub fn completion(completed: &Field<bool>) -> Self {
        Self {
            completed: completed.clone(),
            ..Self::EMPTY
        }
    }
}

/// The tags that a condition names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    Any,
    /// Tags that the user was given, by their number, and whether each is sent as a weak one.
    /// Beyond the last one: a tag that nothing has.
    These(Vec<(usize, bool)>),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    pub if_match: Option<Tags>,
    pub if_none_match: Option<Tags>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    pub search: Option<String>,
    pub priority: Option<Priority>,
    pub completed: Option<(&'static str, bool)>,
    /// Days after the first of May 2031.
    pub due_before: Option<u32>,
    pub due_after: Option<u32>,
}

/// The cursor of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Start,
    /// One that `owner` was given, by its number; beyond the last one: a text that is no cursor.
    Seen {
        owner: usize,
        number: usize,
    },
}

/// A query that is refused: the parameter as it is written, the field and the code.
pub type Refused = (&'static str, &'static str, &'static str);

#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Create {
        body: Body,
        /// The one with a space is malformed.
        key: Option<&'static str>,
    },
    Read(Id, Conditions),
    Update(Id, Body, Conditions),
    Complete(Id, Field<bool>, Conditions),
    Delete(Id, Conditions),
    BulkDelete(Vec<Id>),
    List {
        filter: Filter,
        page: Option<i64>,
        limit: Option<i64>,
        refused: Option<Refused>,
        conditions: Conditions,
    },
    Continue {
        filter: Filter,
        limit: Option<i64>,
        from: From,
    },
    Notifications,
    /// About this task: whether it is overdue, and how many there were about it before.
    MarkRead(TaskRef, bool, usize),
    MarkAllRead,
}

impl Request {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Read(..) => "read",
            Self::Update(..) => "update",
            Self::Complete(..) => "complete",
            Self::Delete(..) => "delete",
            Self::BulkDelete(_) => "bulk delete",
            Self::List { .. } => "list",
            Self::Continue { .. } => "continue",
            Self::Notifications => "notifications",
            Self::MarkRead(..) => "mark read",
            Self::MarkAllRead => "mark all read",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub user: usize,
    pub request: Request,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The users send theirs at the same time, each user one after the other.
    Calls(Vec<Call>),
    /// The clock moves by this number of microseconds.
    Clock(i64),
    Remind,
    /// All rows become as another program writes them: without folded texts.
    Unfold,
    /// The upkeep of searches folds them.
    Fold,
}
