//! The filters of a list, as a condition on tasks.

use chrono::NaiveDate;

use crate::domain::{Priority, Timestamp, UserId};
use crate::store::arg::Arg;
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
    dialect: Dialect,
    is_search: bool,
}

impl<'a> Condition<'a> {
    /// The user's tasks that pass all filters but the search.
    pub fn new(
        user: &'a UserId,
        filter: &'a TaskFilter,
        dialect: Dialect,
        is_search: bool,
    ) -> Self {
        let TaskFilter {
            search: _,
            priority,
            completed,
            due_before,
            due_after,
        } = filter;
        let mut condition = Self {
            text: String::new(),
            args: Vec::new(),
            dialect,
            is_search,
        };
        condition.text = format!("user_id = {}", condition.value(user, "text"));
        if let Some(priority) = *priority {
            let priority = condition.value(priority, "prioritylevel");
            condition.and(&format!("priority = {priority}"));
        }
        if let Some(completed) = *completed {
            let completed = condition.value(completed, "boolean");
            condition.and(&format!("completed = {completed}"));
        }
        // A day outside the range of timestamps excludes no task.
        if let Some(day) = *due_before {
            let last = Timestamp::end_of_day(day).unwrap_or(Timestamp::MAX);
            let last = condition.value(last, "timestamptz");
            condition.and(&format!("due_date <= {last}"));
        }
        if let Some(day) = *due_after {
            let first = Timestamp::start_of_day(day).unwrap_or(Timestamp::MAX);
            let first = condition.value(first, "timestamptz");
            condition.and(&format!("due_date >= {first}"));
        }
        condition
    }

    /// Binds a value and returns how the condition has it. PostgreSQL is told its type.
    ///
    /// In a list without a search it is the result of a subquery, so that PostgreSQL does not see it
    /// when it plans. Otherwise plans for the present values may look cheaper than the plan for any,
    /// as where one user has many of all tasks, and it makes one for each query. There is one index
    /// for all of these lists. How a search is best planned depends on its values.
    pub fn value(&mut self, value: impl Into<Arg<'a>>, postgres_type: &str) -> String {
        let number = self.bind(value);
        match self.dialect {
            Dialect::Sqlite => format!("${number}"),
            Dialect::Postgres if self.is_search => format!("CAST(${number} AS {postgres_type})"),
            Dialect::Postgres => format!("(SELECT CAST(${number} AS {postgres_type}))"),
        }
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
