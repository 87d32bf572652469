//! The one place that writes to stdout and stderr.
//!
//! Data on stdout; notes, questions and errors on stderr, so that a pipe sees
//! data alone. Nothing depends on colour.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the one place"
)]

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::config::Warning;
use crate::diagnostics::doctor::{self, Group};
use crate::diagnostics::{Check, Outcome, Report};

use super::hint::Hint;

mod error;

pub use error::error;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs; the names in it are stable.
    Json,
}

/// Prints data as it is, with a line break behind it.
///
/// A reader that went away (`todoctl … | head`) is no fault.
pub fn data(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Prints data as indented JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    data(&serde_json::to_string_pretty(value).context("cannot write the answer as JSON")?);
    Ok(())
}

/// A terminal of the usual size; a pipe, which has none, is taken for one.
const PIPE_WIDTH: u16 = 80;

/// Prints data as a table that fits the terminal; no rows print the heading alone.
pub fn table(heading: &[&str], rows: Vec<Vec<String>>) {
    data(&table_text(heading, rows, ContentArrangement::Dynamic));
}

/// The same with each value on one line, however long, so that it can be copied.
pub fn unbroken_table(heading: &[&str], rows: Vec<Vec<String>>) {
    data(&table_text(heading, rows, ContentArrangement::Disabled));
}

fn table_text(heading: &[&str], rows: Vec<Vec<String>>, fit: ContentArrangement) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(fit)
        .set_header(heading.to_vec())
        .add_rows(rows);
    if !io::stdout().is_terminal() {
        table.set_width(PIPE_WIDTH);
    }
    lines_of(&table)
}

/// The lines of a table, without the blanks that fill the last column.
fn lines_of(table: &Table) -> String {
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Prints checks: a row each, then what to do about them.
pub fn report(report: &Report, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return json(report);
    }
    data(&report_table(report.checks()));
    data(&report_end(report));
    Ok(())
}

/// The same with a table for each group, which is what stands before the dot of an id.
pub fn grouped_report(report: &Report, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return json(report);
    }
    for group in Group::ALL {
        let checks = report.checks().iter();
        let here: Vec<Check> = checks
            .filter(|check| doctor::selects(group.prefix(), check.id))
            .cloned()
            .collect();
        if !here.is_empty() {
            data(&format!("{}\n{}\n", group.title(), report_table(&here)));
        }
    }
    data(report_end(report).trim_start());
    Ok(())
}

/// Columns of fixed widths, so that long details wrap at the same place everywhere.
const REPORT_COLUMNS: [(&str, u16); 3] = [("CHECK", 17), ("OUTCOME", 9), ("TIME", 10)];

fn report_table(checks: &[Check]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    let width = match table.width() {
        Some(width) if io::stdout().is_terminal() => width.max(PIPE_WIDTH),
        _ => PIPE_WIDTH,
    };
    table.set_width(width);
    let heading = REPORT_COLUMNS.map(|(name, _)| name);
    table.set_header(heading.into_iter().chain(["DETAIL"]));
    for check in checks {
        let time = match check.outcome {
            Outcome::Skip => String::new(),
            _ => format!("{} ms", check.millis),
        };
        table.add_row([check.title, word(check.outcome), &time, &check.detail]);
    }
    for (index, (_, width)) in REPORT_COLUMNS.into_iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
        }
    }
    lines_of(&table)
}

/// What a long command is doing, on a terminal; elsewhere nothing.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows `text` on stderr until [`Progress::end`].
    #[must_use]
    pub fn start(text: &'static str) -> Self {
        // The library draws on terminals only.
        let bar = ProgressBar::new_spinner().with_message(text);
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Adds that `what` is done.
    pub fn done(&self, what: &str) {
        self.0
            .set_message(format!("{}; {what}: done", self.0.message()));
    }

    /// Takes the line away.
    pub fn end(self) {
        self.0.finish_and_clear();
    }
}

/// Words of their own rather than colours, so that a log shows the same.
fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "ok",
        Outcome::Warn => "WARN",
        Outcome::Fail => "FAIL",
        Outcome::Skip => "skipped",
    }
}

/// What stands beneath a report's table.
fn report_end(report: &Report) -> String {
    let mut text = String::new();
    // What is broken first: a warning may be gone with it.
    let (broken, others): (Vec<_>, Vec<_>) = report
        .checks()
        .iter()
        .partition(|check| check.outcome == Outcome::Fail);
    for check in broken.into_iter().chain(others) {
        if let Some(remedy) = &check.remedy {
            if text.is_empty() {
                text += "\nWhat to do:\n";
            }
            for line in remedy.lines() {
                text += &format!("  {}: {line}\n", check.title);
            }
        }
    }
    let summary = report.summary();
    let counts = [
        (summary.pass, "ok"),
        (summary.warn, "worth a look"),
        (summary.fail, "failed"),
        (summary.skip, "skipped"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    text + "\n" + &told.join(", ")
}

/// Tells the person something that is not data.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints the configuration's warnings.
pub fn warnings(warnings: &[Warning]) {
    for warning in warnings {
        note(&format!("warning: {warning}"));
    }
}

/// Asks before something is destroyed; `yes` answers in advance.
///
/// Without a terminal nobody can answer, so there it is an error that names `--yes`.
pub fn confirm(question: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(Hint::new(
            format!("nobody is there to answer: {question}"),
            "add --yes if that is what you want",
        )
        .into());
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::check::{Name, Verdict};

    #[test]
    fn a_report_ends_with_remedies_and_counts() {
        let (url, login) = (
            Name {
                id: "database.url",
                title: "URL",
            },
            Name {
                id: "database.login",
                title: "Login",
            },
        );
        let passed = url.done(Verdict::pass("fine"), Duration::ZERO);
        assert_eq!(report_end(&Report::new(vec![passed.clone()])), "\n1 ok");
        let failed = login.done(
            Verdict::fail("no", "todoctl migrate up".to_owned()),
            Duration::ZERO,
        );
        let skipped = login.skipped("not checked");
        assert_eq!(
            report_end(&Report::new(vec![passed, failed, skipped])),
            "\nWhat to do:\n  Login: todoctl migrate up\n\n1 ok, 1 failed, 1 skipped"
        );
    }
}
