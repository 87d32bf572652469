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
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::config::Warning;

use super::hint::Hint;

mod error;
pub(crate) mod report;
mod terminal;

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

/// Tells the person something that is not data.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Tells what is unwise in the configuration.
pub fn warnings(warnings: &[Warning]) {
    for warning in warnings {
        note(&format!(
            "warning: {}: {}",
            warning.variable, warning.message
        ));
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
