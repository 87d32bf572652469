//! A command line that is not understood, told like every other error.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::Cli;
use super::hint::Hint;

/// Parses the command line of this process.
///
/// Help and version are printed here, and end it.
pub fn parse() -> Result<Cli, Hint> {
    Cli::try_parse().map_err(|error| {
        let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        if is_help || !error.use_stderr() {
            error.exit();
        }
        explained(&error, std::env::args_os().skip(1))
    })
}

fn explained(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> Hint {
    let text = error.render().to_string();
    let mut what = String::new();
    let mut tips = Vec::new();
    for paragraph in text.split("\n\n").map(str::trim) {
        if let Some(first) = paragraph.strip_prefix("error: ") {
            first.clone_into(&mut what);
        } else if paragraph.starts_with("tip: ") {
            let lines = paragraph.lines();
            tips.extend(lines.map(|line| line.trim().trim_start_matches("tip: ").to_owned()));
        }
    }
    let help = format!("{} --help", command_of(arguments));
    if tips.is_empty() {
        Hint::new(what, help)
    } else {
        Hint::of(tips.join("; "), what, help)
    }
}

/// The innermost subcommand that the arguments name.
fn command_of(arguments: impl Iterator<Item = OsString>) -> String {
    let mut command = Cli::command();
    let mut path = command.get_name().to_owned();
    for argument in arguments {
        if let Some(inner) = command.find_subcommand(&argument) {
            path = format!("{path} {}", inner.get_name());
            command = inner.clone();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], what: &str, remedy: &str) {
        let whole = ["todoctl"].iter().chain(arguments);
        let error = Cli::try_parse_from(whole).unwrap_err();
        let hint = explained(&error, arguments.iter().map(OsString::from));
        assert_eq!(hint.to_string(), what);
        assert_eq!(hint.remedy, remedy);
    }

    #[test]
    fn what_is_wrong_and_whose_help_tells_more() {
        check(
            &["serv"],
            "unrecognized subcommand 'serv'",
            "todoctl --help",
        );
        check(
            &["migrate", "down", "--steps", "0"],
            "invalid value '0' for '--steps <N>': 0 is not in 1..=65535",
            "todoctl migrate down --help",
        );
    }
}
