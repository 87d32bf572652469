//! `todoctl explain`: what a message from a log means, or what a check looks at.

use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use crate::config::{Remedy, nearest_of};
use crate::diagnostics::explain::{Explanation, explain};
use crate::diagnostics::{Description, describe, ids};
use crate::store::messages::Retry;

use super::hint::Hint;
use super::input;
use super::output::{self, Format, report};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  todoctl explain 'FATAL: remaining connection slots are reserved'
  docker logs todo 2>&1 | tail -n 100 | todoctl explain
  journalctl -u todoctl -n 100 | todoctl explain
  todoctl explain database.tls                  a check of doctor
  todoctl explain database                      the checks of a group

Of several lines, the last known message is explained. JSON logs are understood.

Exit codes: 0 the message is known, 1 it is unknown, 2 error.")]
pub(crate) struct Options {
    /// A message, a log line, or the id of a check; `-` or nothing reads standard input.
    pub(crate) message: Option<String>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// The JSON document about checks.
#[derive(Debug, Serialize)]
struct Checks {
    schema: u32,
    checks: Vec<Description>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let message = match options.message.as_deref() {
        None | Some("-") => input::text()?,
        Some(message) => message.trim().to_owned(),
    };
    if message.is_empty() {
        bail!("there is no message: todoctl explain 'MESSAGE'");
    }
    let checks = describe(&message);
    if !checks.is_empty() {
        match options.format {
            Format::Table => output::data(&report::descriptions(&checks))?,
            Format::Json => output::json(&Checks { schema: 1, checks })?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(meant) = check_id(&message).and_then(|id| nearest_of(id, ids())) {
        return Err(Hint::new(
            format!("there is no check {message}; did you mean {meant}?"),
            Remedy::command("todoctl explain").arg(meant),
        )
        .into());
    }
    let explanation = explain(&message);
    match options.format {
        Format::Table => output::data(&text(&explanation))?,
        Format::Json => output::json(&explanation)?,
    }
    Ok(ExitCode::from(u8::from(explanation.id.is_none())))
}

/// The message, if it has the form of the id of a check and is no known message's.
fn check_id(message: &str) -> Option<&str> {
    let is_part = |part: &str| {
        let mut letters = part.bytes();
        !part.is_empty() && letters.all(|sign| sign.is_ascii_lowercase() || sign == b'_')
    };
    let has_parts = message.contains('.') && message.split('.').all(is_part);
    (has_parts && explain(message).id.is_none()).then_some(message)
}

fn text(explanation: &Explanation) -> String {
    let retry = match explanation.retry {
        Some(Retry::Yes) => "yes, in a few seconds",
        Some(Retry::Later) => "when the cause is gone",
        Some(Retry::No) => "no, it fails until something is changed",
        None => "unknown",
    };
    let mut text = format!("{}\nTry again: {retry}\nWhat to do:", explanation.meaning);
    for step in &explanation.remedy {
        text += &format!("\n  {step}");
    }
    if let Some(id) = explanation.id {
        text += &format!("\nMessage id: {id}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_an_id_is_one() {
        assert_eq!(check_id("database.lokcs"), Some("database.lokcs"));
        for message in ["deadlock detected", "neon.quota", "database", "a.B", "a..b"] {
            assert_eq!(check_id(message), None, "{message}");
        }
        for (misspelt, meant) in [
            ("database.lokcs", "database.locks"),
            ("databse.trial", "database.trial"),
            ("daemon.databases", "daemon.database"),
        ] {
            assert_eq!(nearest_of(misspelt, ids()), Some(meant));
        }
        assert_eq!(nearest_of("moon.phase", ids()), None);
    }
}
