//! A task of the model, and what a body changes of it.

use serde_json::{Value, json};
use todoctl::domain::{Priority, Timestamp, fold};

use super::requests::{Body, Field, Filter, HOUR, TaskRef, USERS};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    pub title: String,
    pub description: Option<String>,
    pub priority: Priority,
    pub due: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct Task {
    pub fields: Fields,
    pub completed: bool,
    pub created_at: i64,
    pub updated_at: i64,
    /// Of the due date that it has now.
    pub is_reminded: bool,
}

pub fn time(micros: i64) -> String {
    Timestamp::from_micros(micros).unwrap().to_string()
}

/// The first microsecond of the day `days` after the first of May 2031.
pub fn day(days: u32) -> i64 {
    let first: Timestamp = "2031-05-01".parse().unwrap();
    first.micros() + i64::from(days) * 24 * HOUR
}

pub fn not_blank(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

impl Task {
    pub fn json(&self, user: usize, number: usize) -> Value {
        let Fields {
            title,
            description,
            priority,
            due,
        } = &self.fields;
        json!({
            "id": TaskRef { owner: user, number }.name(),
            "user_id": USERS[user],
            "title": title,
            "description": description,
            "completed": self.completed,
            "priority": priority.as_str(),
            "due_date": due.map(time),
            "created_at": time(self.created_at),
            "updated_at": time(self.updated_at),
        })
    }

    pub fn passes(&self, filter: &Filter) -> bool {
        let Fields {
            title,
            description,
            priority,
            due,
        } = &self.fields;
        let wanted = filter.search.as_deref().map(fold).unwrap_or_default();
        let has = |text: &String| fold(text).contains(&wanted);
        (wanted.is_empty() || has(title) || description.as_ref().is_some_and(has))
            && filter.priority.is_none_or(|wanted| wanted == *priority)
            && filter
                .completed
                .is_none_or(|(_, wanted)| wanted == self.completed)
            && filter
                .due_before
                .is_none_or(|last| due.is_some_and(|due| due < day(last + 1)))
            && filter
                .due_after
                .is_none_or(|first| due.is_some_and(|due| due >= day(first)))
    }
}

impl Body {
    /// The fields that are refused, and their codes, in a create or in an update.
    pub fn refusals(&self, is_new: bool) -> Vec<(String, String)> {
        fn of<T>(
            name: &str,
            field: &Field<T>,
            absent: Option<&str>,
            null: Option<&str>,
        ) -> Option<(String, String)> {
            let code = match field {
                Field::Absent => absent,
                Field::Null => null,
                Field::Is(_) => None,
                Field::Wrong(_, code) => Some(*code),
            };
            code.map(|code| (name.to_owned(), code.to_owned()))
        }
        let when_new = |code| is_new.then_some(code);
        [
            of(
                "title",
                &self.title,
                when_new("missing"),
                when_new("string_type"),
            ),
            of("description", &self.description, None, None),
            of("priority", &self.priority, None, when_new("enum")),
            of("due_date", &self.due_date, None, None),
            of("completed", &self.completed, None, None).filter(|_| !is_new),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    pub fn is_good(&self) -> bool {
        self.refusals(true).is_empty()
    }

    /// The fields that this changes; whether any is to change.
    pub fn apply(&self, fields: &mut Fields, completed: &mut bool) -> bool {
        let mut changes = false;
        if let Field::Is(title) = &self.title {
            title.trim().clone_into(&mut fields.title);
            changes = true;
        }
        match &self.description {
            Field::Is(text) => (fields.description, changes) = (not_blank(text), true),
            Field::Null => (fields.description, changes) = (None, true),
            Field::Absent | Field::Wrong(..) => {}
        }
        if let Field::Is(priority) = self.priority {
            (fields.priority, changes) = (priority, true);
        }
        match &self.due_date {
            Field::Is(due) => (fields.due, changes) = (Some(due.at.micros()), true),
            Field::Null => (fields.due, changes) = (None, true),
            Field::Absent | Field::Wrong(..) => {}
        }
        if let Field::Is(flag) = self.completed {
            (*completed, changes) = (flag, true);
        }
        changes
    }
}
