//! The filters of a list, as a condition on tasks.

use chrono::NaiveDate;

use crate::domain::{Priority, Timestamp, UserId};
use crate::store::arg::{Arg, args};
use crate::store::dialect::Dialect;

/// Which tasks a list shows; `None` does not filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// Part of the title or of the description, as [`fold`](crate::domain::fold) compares.
    pub search: Option<String>,
    /// Of exactly this priority.
    pub priority: Option<Priority>,
    /// Completed, or open.
    pub completed: Option<bool>,
    /// Due at or before the end of this UTC day.
    pub due_before: Option<NaiveDate>,
    /// Due at or after the start of this UTC day.
    pub due_after: Option<NaiveDate>,
}

/// A condition with only the filters that are in use, and the values bound to it.
pub(super) struct Condition<'a> {
    pub text: String,
    pub args: Vec<Arg<'a>>,
}

impl<'a> Condition<'a> {
    /// The user's tasks that pass all filters but the search.
    pub fn new(user: &'a UserId, filter: &'a TaskFilter, dialect: Dialect) -> Self {
        let TaskFilter {
            search: _,
            priority,
            completed,
            due_before,
            due_after,
        } = filter;
        let mut condition = Self {
            text: "user_id = $1".to_owned(),
            args: Vec::from(args![user]),
        };
        if let Some(priority) = *priority {
            let number = condition.bind(priority);
            condition.and(&format!("priority = ${number}{}", dialect.priority_cast()));
        }
        if let Some(completed) = *completed {
            let number = condition.bind(completed);
            condition.and(&format!("completed = ${number}"));
        }
        // A day outside the range of timestamps excludes no task.
        if let Some(day) = *due_before {
            let number = condition.bind(Timestamp::end_of_day(day).unwrap_or(Timestamp::MAX));
            condition.and(&format!("due_date <= ${number}"));
        }
        if let Some(day) = *due_after {
            let number = condition.bind(Timestamp::start_of_day(day).unwrap_or(Timestamp::MAX));
            condition.and(&format!("due_date >= ${number}"));
        }
        condition
    }

    /// Binds a value and returns the number of its parameter.
    pub fn bind(&mut self, value: impl Into<Arg<'a>>) -> usize {
        self.args.push(value.into());
        self.args.len()
    }

    pub fn and(&mut self, condition: &str) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
    }
}
