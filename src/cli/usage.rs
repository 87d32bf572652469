//! Parses the command line. A usage error is rendered like every other error.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::Cli;
use super::hint::Hint;
use super::output::stdout_has_colour;

/// What the command line asks for.
pub(crate) enum Parsed {
    Run(Cli),
    /// `--help`, `--version` or `help`: a text for stdout.
    Show(String),
    /// No subcommand: the help, for stderr.
    Nothing(String),
}

/// Parses the command line of this process.
pub(crate) fn parse() -> Result<Parsed, Hint> {
    let error = match Cli::try_parse() {
        Ok(cli) => return Ok(Parsed::Run(cli)),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Ok(Parsed::Nothing(error.render().to_string()));
    }
    if error.use_stderr() {
        return Err(explained(&error, std::env::args_os().skip(1)));
    }
    let text = error.render();
    Ok(Parsed::Show(if stdout_has_colour() {
        text.ansi().to_string()
    } else {
        text.to_string()
    }))
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
    fn usage_errors_name_the_help_of_their_command() {
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
