//! The commands of a remedy, and what they run in the database, so that it can be tried before it
//! is shown.

use std::path::Path;

use super::sql::one_line;
use super::{Command, Remedy, Step};

impl Remedy {
    /// The commands, without comments.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|step| match step {
            Step::Command(command) => Some(command.line.as_str()),
            Step::Note(_) | Step::Set(..) | Step::Or(_) => None,
        })
    }

    /// Statements for SQLite's own shell.
    #[must_use]
    pub(crate) fn sql_in_file(file: &Path, statements: &str) -> Self {
        let command = Self::command("sqlite3").arg(file).arg(statements);
        command.running(one_line(statements))
    }

    /// Records what the last command runs.
    pub(super) fn running(mut self, text: String) -> Self {
        if let Some(Step::Command(Command { statements, .. })) = self.0.last_mut() {
            *statements = Some(text);
        }
        self
    }

    /// What each command runs in the configured database as the configured role, in one line;
    /// `None` for a command that does something else.
    pub(crate) fn statements(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().filter_map(|step| match step {
            Step::Command(command) => Some(command.statements.as_deref()),
            Step::Note(_) | Step::Set(..) | Step::Or(_) => None,
        })
    }

    /// With the commands whose statements have a fault as comments, for a person to adapt.
    #[must_use]
    pub(crate) fn without_failing<'a>(self, fault: impl Fn(&str) -> Option<&'a str>) -> Self {
        let mut steps = Vec::with_capacity(self.0.len());
        for step in self.0 {
            let failing = match &step {
                Step::Command(command) => command.statements.as_deref().and_then(&fault),
                Step::Note(_) | Step::Set(..) | Step::Or(_) => None,
            };
            match (failing, step) {
                (Some(fault), Step::Command(Command { line, .. })) => {
                    steps.push(Step::Note(one_line(fault)));
                    steps.push(Step::Note(one_line(&format!("to adapt: {line}"))));
                }
                (_, step) => steps.push(step),
            }
        }
        Self(steps)
    }

    /// As an alternative that is not typed.
    pub(super) fn into_comments(self) -> impl Iterator<Item = Step> {
        self.0.into_iter().map(|step| match step {
            Step::Command(Command { line, .. }) => Step::Note(format!("or: {line}")),
            other => other,
        })
    }
}
