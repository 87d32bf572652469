//! The only code that writes to stdout and stderr.
//!
//! Data goes to stdout; notes, questions and errors go to stderr.

use std::io::{self, BufRead, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::ProgressBar;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;

use crate::config::{Remedy, Warning};

use super::hint::Hint;

mod error;
mod metrics;
pub(crate) mod report;
mod terminal;

pub use error::{error, error_text};
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
/// A closed pipe (`todoctl … | head`) is success: its reader needs no more.
pub(crate) fn data(text: &str) -> anyhow::Result<()> {
    data_if_read(text).map(|_| ())
}

/// As [`data`]; false if nobody reads any more.
pub(crate) fn data_if_read(text: &str) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Hint::of(
            error,
            "cannot write to standard output",
            Remedy::note("free disk space, or send the output somewhere else"),
        )
        .into()),
    }
}

/// Waits until nobody can read stdout any more: the other end of its pipe or socket is closed. A
/// write would tell it too, but a command that waits writes nothing.
pub(crate) async fn reader_gone() {
    let (sender, gone) = tokio::sync::oneshot::channel();
    // The thread ends with the process, where stdout is read to the end.
    thread::spawn(move || {
        let stdout = io::stdout();
        // Errors and hang-ups are reported without being asked for (poll(2)).
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        while poll(&mut watched, None) == Err(Errno::INTR) {}
        if watched[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
        {
            // The receiver is dropped when the command has ended.
            let _ = sender.send(());
        } else {
            // What stdout is cannot be watched.
            std::mem::forget(sender);
        }
    });
    let _ = gone.await;
}

/// Replaces what the terminal shows by the first lines of `text`, as many as fit; false if
/// nobody reads any more.
pub(crate) fn redraw(text: &str) -> anyhow::Result<bool> {
    data_if_read(&terminal::screen(text, terminal::height()))
}

/// Prints data as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    data(&serde_json::to_string_pretty(value).context("cannot write the answer as JSON")?)
}

/// Prints a table: as wide as the terminal, or one line a row when stdout is no terminal.
pub(crate) fn table(heading: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    toned_table(heading, rows, &[])
}

/// As [`table`], with colours for the words of a column of outcomes or states.
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
    let plain = |row: Vec<String>| -> Vec<String> {
        row.iter().map(|cell| printable_lines(cell)).collect()
    };
    table
        .load_style(presets::NOTHING)
        .set_header(heading.to_vec())
        .add_rows(rows.into_iter().map(plain));
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

/// `text` in one line, with characters that control a terminal or turn the direction of writing
/// escaped: anybody may have chosen it.
pub(crate) fn printable(text: &str) -> String {
    let steers = |one: char| {
        one.is_control()
            || matches!(one, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut plain = String::with_capacity(text.len());
    for one in text.chars() {
        if steers(one) {
            plain.extend(one.escape_default());
        } else {
            plain.push(one);
        }
    }
    plain
}

/// As [`printable`], with the line breaks of the text.
pub(crate) fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n")
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

/// Prints a note to stderr. Errors are ignored: there is no other place to report them.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints configuration warnings to stderr.
pub(crate) fn warnings(warnings: &[Warning]) {
    for warning in warnings {
        note(&format!("warning: {warning}"));
    }
}

/// Asks for confirmation before something is destroyed; `yes` (from `--yes`) confirms it.
pub(crate) fn confirm(question: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        let what = format!("Not a terminal, so this cannot be asked: {question}");
        return Err(Hint::new(what, Remedy::note("add --yes to confirm")).into());
    }
    // If stderr cannot be written, nobody sees the question; the answer still counts.
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "postgresql://todo@a-rather-long-host-name.eu-central-1.aws.example.com:5432/todo?sslmode=verify-full";

    fn sample(width: Option<u16>) -> String {
        let row = |id: &str, value: &str| vec![id.to_owned(), value.to_owned()];
        let rows = vec![row("1", "short"), row("2", LONG)];
        table_text(&["ID", "VALUE"], rows, width)
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        for (text, expected) in [
            ("laptop ä 🎉", "laptop ä 🎉"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}2J\u{202e}x", "\\u{9b}2J\\u{202e}x"),
        ] {
            assert_eq!(printable(text), expected);
        }
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
}
