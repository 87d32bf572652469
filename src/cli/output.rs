//! The only code that writes to stdout and stderr.
//!
//! Data goes to stdout; notes, questions and errors go to stderr.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "only this module prints"
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
mod terminal;

pub use error::error;
pub(crate) use terminal::{Tone, stdout_has_colour};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Table,
    /// JSON for programs; its keys are stable.
    Json,
}

/// Prints data, followed by a line break.
///
/// A closed pipe (`todoctl … | head`) is success: its reader has read what it wanted.
pub(crate) fn data(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Hint::of(
            error,
            "cannot write to standard output",
            "free disk space, or send the output somewhere else",
        )
        .into()),
        _ => Ok(()),
    }
}

/// Prints data as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    data(&serde_json::to_string_pretty(value).context("cannot write the answer as JSON")?)
}

/// Prints a table: as wide as the terminal, or one line a row when stdout is no terminal.
pub(crate) fn table(heading: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    toned_table(heading, rows, &[])
}

/// The same with colours for the words of a column that holds outcomes or states.
pub(crate) fn toned_table(
    heading: &[&str],
    rows: Vec<Vec<String>>,
    tones: &[(&str, Tone)],
) -> anyhow::Result<()> {
    let text = table_text(heading, rows, terminal::width());
    data(&in_colour(text, tones))
}

/// Prints a table with each value on one line, whatever its length, so that it can be copied.
pub(crate) fn unbroken_table(heading: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    data(&table_text(heading, rows, None))
}

fn table_text(heading: &[&str], rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(heading.to_vec())
        .add_rows(rows);
    match width {
        Some(width) => table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    lines_of(&table)
}

/// The lines of a table, without the blanks that fill the last column.
fn lines_of(table: &Table) -> String {
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn in_colour(text: String, tones: &[(&str, Tone)]) -> String {
    if stdout_has_colour() {
        coloured(&text, tones)
    } else {
        text
    }
}

/// Colours the first of the words in each line that stands alone.
///
/// The colours are added after the layout, which would count their bytes as columns.
fn coloured(text: &str, tones: &[(&str, Tone)]) -> String {
    let line = |line: &str| {
        let found = tones.iter().filter_map(|(word, tone)| {
            let at = format!("{line} ").find(&format!(" {word} "))? + 1;
            Some((at, *word, *tone))
        });
        match found.min_by_key(|(at, ..)| *at) {
            Some((at, word, tone)) => {
                let (before, after) = (&line[..at], &line[at + word.len()..]);
                format!("{before}{}{after}", tone.paint(word))
            }
            None => line.to_owned(),
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Prints checks: a row each, then what to do about them.
pub fn report(report: &Report, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return json(report);
    }
    data(&report_table(report.checks()))?;
    data(&report_end(report))
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
            data(&format!("{}\n{}\n", group.title(), report_table(&here)))?;
        }
    }
    data(report_end(report).trim_start())
}

/// How wide a report is where stdout is no terminal.
const PIPE_WIDTH: u16 = 80;

/// Columns of fixed widths, so that long details wrap at the same place everywhere.
const REPORT_COLUMNS: [(&str, u16); 3] = [("CHECK", 17), ("OUTCOME", 9), ("TIME", 10)];

fn report_table(checks: &[Check]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(terminal::width().unwrap_or(PIPE_WIDTH));
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
    in_colour(lines_of(&table), &OUTCOMES)
}

/// A spinner on stderr while a command works; invisible unless stderr is a terminal.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn start(text: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(text);
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Adds that `what` is done.
    pub(crate) fn done(&self, what: &str) {
        self.0
            .set_message(format!("{}; {what}: done", self.0.message()));
    }

    /// Removes the spinner.
    pub(crate) fn end(self) {
        self.0.finish_and_clear();
    }
}

/// The colours of the words below.
const OUTCOMES: [(&str, Tone); 4] = [
    ("ok", Tone::Good),
    ("WARN", Tone::Attention),
    ("FAIL", Tone::Bad),
    ("skipped", Tone::Muted),
];

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
        (summary.warn, "with warnings"),
        (summary.fail, "failed"),
        (summary.skip, "skipped"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    text + "\n" + &told.join(", ")
}

/// Prints a note to stderr. If stderr cannot be written, there is nowhere left to say so.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints configuration warnings to stderr.
pub(crate) fn warnings(warnings: &[Warning]) {
    for warning in warnings {
        note(&format!(
            "warning: {}: {}",
            warning.variable, warning.message
        ));
    }
}

/// Asks for confirmation before something is destroyed; `yes` (from `--yes`) confirms it.
pub(crate) fn confirm(question: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        let what = format!("Not a terminal, so this cannot be asked: {question}");
        return Err(Hint::new(what, "add --yes to confirm").into());
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

    const LONG: &str = "postgresql://todo@a-rather-long-host-name.eu-central-1.aws.example.com:5432/todo?sslmode=verify-full";

    fn sample(width: Option<u16>) -> String {
        let row = |id: &str, value: &str| vec![id.to_owned(), value.to_owned()];
        let rows = vec![row("1", "short"), row("2", LONG)];
        table_text(&["ID", "VALUE"], rows, width)
    }

    #[test]
    fn a_pipe_gets_one_line_a_row() {
        let text = sample(None);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains(LONG), "{text}");
    }

    #[test]
    fn a_table_fits_its_terminal() {
        for width in [80, 100, 140] {
            let text = sample(Some(width));
            let widest = text.lines().map(str::len).max();
            assert!(widest <= Some(width.into()), "{text}");
        }
        assert_eq!(sample(Some(140)).lines().count(), 3);
    }

    #[test]
    fn the_first_outcome_of_a_line_is_coloured() {
        let tones = [("ok", Tone::Good), ("FAIL", Tone::Bad)];
        let painted = Tone::Bad.paint("FAIL");
        assert_eq!(
            coloured(" Login  FAIL  not ok \n token  4", &tones),
            format!(" Login  {painted}  not ok \n token  4")
        );
        assert!(coloured(" 1  ok", &tones).ends_with(&Tone::Good.paint("ok")));
    }

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
