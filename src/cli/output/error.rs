//! Renders every error in one form: what happened, why, what to do.
//!
//! ```text
//! error: what happened
//!   because: each cause, once
//!   remedy: a command, or what to change
//! ```

use std::io;

use crate::api::ServeError;
use crate::cli::hint::Hint;
use crate::config::{ConfigError, Remedy, Source};
use crate::services::daemon::DaemonError;
use crate::store::messages::{self, Place};
use crate::store::migrate::MigrateError;
use crate::store::{ConnectError, StoreError, causes, known_message};

use super::terminal::{Tone, stderr_has_colour};
use super::{note, printable_lines};

/// Prints why a command failed, and what to do about it.
///
/// `source` is where a remedy has to change variables.
pub fn error(error: &anyhow::Error, source: &Source) {
    note(&lines(error, source).render(stderr_has_colour()));
}

/// The same as plain text.
pub fn error_text(error: &anyhow::Error, source: &Source) -> String {
    lines(error, source).render(false)
}

fn lines(error: &anyhow::Error, source: &Source) -> Lines {
    let mut lines = Lines::default();
    if let Some(config) = error.downcast_ref::<ConfigError>() {
        lines.config(config, source);
    } else if let Some(MigrateError::Statement(failed)) = error.downcast_ref::<MigrateError>() {
        lines.add(
            "error",
            format!(
                "{} migration {} ({}) failed",
                failed.what, failed.version, failed.description
            ),
        );
        lines.add("because", &failed.reason);
        lines.add("statement", &failed.statement);
    } else {
        lines.chain(error);
    }
    if let Some(remedy) = error.chain().find_map(remedy) {
        lines.add("remedy", remedy.at(source).to_string());
    }
    lines
}

/// Labels and texts, in the order in which they are printed.
#[derive(Default)]
struct Lines(Vec<(&'static str, String)>);

impl Lines {
    fn add(&mut self, label: &'static str, text: impl Into<String>) {
        self.0.push((label, printable_lines(&text.into())));
    }

    fn chain(&mut self, error: &anyhow::Error) {
        let labels = std::iter::once("error").chain(std::iter::repeat("because"));
        for (label, text) in labels.zip(causes(error.as_ref())) {
            self.add(label, text);
        }
    }

    fn config(&mut self, error: &ConfigError, source: &Source) {
        let count = error.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        self.add("error", format!("the configuration has {count} {noun}"));
        for (problem, remedy) in error.with_remedies() {
            self.add("because", problem.to_string());
            if let Some(remedy) = remedy {
                self.add("remedy", remedy.at(source).to_string());
            }
        }
    }

    /// Further lines of a text are indented, so that the labels stay visible.
    fn render(&self, colour: bool) -> String {
        let line = |(index, (label, text)): (usize, &(&str, String))| {
            let indent = if index == 0 { "" } else { "  " };
            let text = text.trim_end().replace('\n', "\n    ");
            let label = match (colour, *label) {
                (true, "error") => Tone::Bad.paint(label),
                (true, "remedy") => Tone::Good.paint(label),
                _ => (*label).to_owned(),
            };
            format!("{indent}{label}: {text}")
        };
        let lines: Vec<String> = self.0.iter().enumerate().map(line).collect();
        lines.join("\n")
    }
}

/// The remedy that an error carries.
fn remedy(error: &(dyn std::error::Error + 'static)) -> Option<Remedy> {
    if let Some(hint) = error.downcast_ref::<Hint>() {
        return Some(hint.remedy.clone());
    }
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        return Some(error.remedy.clone());
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return store_remedy(error);
    }
    if let Some(error) = error.downcast_ref::<MigrateError>() {
        return Some(error.remedy());
    }
    if let Some(error) = error.downcast_ref::<ServeError>() {
        return Some(error.remedy());
    }
    // A thread that cannot be started.
    if let Some(error) = error.downcast_ref::<io::Error>()
        && error.kind() == io::ErrorKind::WouldBlock
    {
        return messages::by_id("system.no-threads").map(|known| (known.remedy)(Place::Unknown));
    }
    if let Some(DaemonError::Url(_)) = error.downcast_ref::<DaemonError>() {
        return Some(Remedy::note(
            "write the URL as in --url http://127.0.0.1:8000",
        ));
    }
    None
}

/// The remedy of the known message behind the error, or else a general one.
fn store_remedy(error: &StoreError) -> Option<Remedy> {
    if let StoreError::Connect(error) = error {
        // It names the server or the file.
        return Some(error.remedy.clone());
    }
    if let Some(known) = known_message(error) {
        return Some((known.remedy)(Place::Unknown));
    }
    match error {
        StoreError::Corrupt { .. } => Some(Remedy::note(
            "correct that row by hand, or restore it from a backup",
        )),
        StoreError::Closed => None,
        _ => Some(Remedy::command("todoctl db check")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Problem;

    fn text(error: impl Into<anyhow::Error>) -> String {
        lines(&error.into(), &Source::default()).render(false)
    }

    #[test]
    fn labels_are_coloured_on_a_terminal() {
        let hint = Hint::new("it failed", Remedy::command("todoctl doctor"));
        assert_eq!(
            lines(&hint.into(), &Source::default()).render(true),
            format!(
                "{}: it failed\n  {}: todoctl doctor",
                Tone::Bad.paint("error"),
                Tone::Good.paint("remedy")
            )
        );
    }

    #[test]
    fn error_cause_and_remedy() {
        let hint = Hint::of(
            std::io::Error::other("the disk is full"),
            "nothing was written",
            Remedy::command("todoctl db check"),
        );
        assert_eq!(
            text(hint),
            "error: nothing was written\n  because: the disk is full\n  remedy: todoctl db check"
        );
    }

    #[test]
    fn a_cause_is_not_repeated() {
        let error =
            anyhow::Error::new(std::io::Error::other("refused")).context("cannot connect: refused");
        assert_eq!(text(error), "error: cannot connect: refused");
    }

    #[test]
    fn each_problem_of_a_configuration_has_its_remedy() {
        let problem = |variable: &str| Problem {
            variable: variable.to_owned(),
            message: "is not set".to_owned(),
            remedy: Remedy::set(variable.to_owned(), 1),
        };
        let error = ConfigError {
            problems: vec![problem("A"), problem("B")],
        };
        assert_eq!(
            text(error),
            "error: the configuration has 2 problems\n  because: A is not set\n  remedy: todoctl config set A=1\n  \
             because: B is not set\n  remedy: todoctl config set B=1"
        );
    }

    #[test]
    fn errors_of_the_library_have_remedies() {
        let unknown = StoreError::Query(sqlx::Error::RowNotFound);
        assert!(text(unknown).ends_with("\n  remedy: todoctl db check"));
        let lost = StoreError::ConnectionLost(sqlx::Error::WorkerCrashed);
        assert!(text(lost).contains("\n  remedy: # nothing, if it happened once"));
    }
}
