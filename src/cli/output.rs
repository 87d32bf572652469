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

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::config::Warning;
use crate::diagnostics::{Outcome, Report};

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

/// Prints data as a table; no rows print the heading alone.
pub fn table(heading: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(heading.to_vec());
    if !io::stdout().is_terminal() {
        // A pipe has no width of its own.
        table.set_width(120);
    }
    for row in rows {
        table.add_row(row);
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    data(&lines.join("\n"));
}

/// Prints checks: a row each, then what to do about them.
pub fn report(report: &Report, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return json(report);
    }
    let rows = report.checks().iter().map(|check| {
        let time = match check.outcome {
            Outcome::Skip => String::new(),
            _ => format!("{} ms", check.millis),
        };
        let title = check.title.to_owned();
        vec![
            title,
            word(check.outcome).to_owned(),
            time,
            check.detail.clone(),
        ]
    });
    table(&["CHECK", "OUTCOME", "TIME", "DETAIL"], rows.collect());
    data(&report_end(report));
    Ok(())
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
    for check in report.checks() {
        if let Some(remedy) = &check.remedy {
            if text.is_empty() {
                text += "\nWhat to do:\n";
            }
            text += &format!("  {}: {remedy}\n", check.title);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
