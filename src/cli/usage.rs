//! Parses the command line. A usage error is rendered like every other error.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

use crate::config::{Remedy, Variable};

use super::hint::Hint;
use super::output::stdout_has_colour;

/// What the command line asks for.
pub(crate) enum Parsed {
    Run(ArgMatches),
    /// `--help`, `--version` or `help`: a text for stdout.
    Show(String),
    /// No subcommand: the help, for stderr.
    Nothing(String),
}

/// Parses the arguments of this process as `command` declares them.
pub(crate) fn parse(command: &Command) -> Result<Parsed, Hint> {
    let error = match command.clone().try_get_matches() {
        Ok(matches) => return Ok(Parsed::Run(matches)),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Ok(Parsed::Nothing(error.render().to_string()));
    }
    if error.use_stderr() {
        return Err(explained(command, &error, std::env::args_os().skip(1)));
    }
    let text = error.render();
    Ok(Parsed::Show(if stdout_has_colour() {
        text.ansi().to_string()
    } else {
        text.to_string()
    }))
}

fn explained(
    command: &Command,
    error: &clap::Error,
    arguments: impl Iterator<Item = OsString>,
) -> Hint {
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
    let what = without_secrets(&what);
    if let Some(name) = variable_of(error) {
        let typed = command_of(command, arguments);
        return Hint::of(
            format!("that is set with the variable {name}"),
            what,
            Remedy::note(format!(
                "set {name} in the .env file, with todoctl config set, or in the environment of {typed}"
            )),
        );
    }
    let help = Remedy::command(format!("{} --help", command_of(command, arguments)));
    if tips.is_empty() {
        Hint::new(what, help)
    } else {
        Hint::of(tips.join("; "), what, help)
    }
}

/// The variable that an unknown option stands for: `PORT` for `--port`.
fn variable_of(error: &clap::Error) -> Option<&'static str> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let name = argument.strip_prefix("--")?.split('=').next()?;
    let name = name.to_ascii_uppercase().replace('-', "_");
    Variable::of(&name).map(|one| one.name)
}

/// The text without the user, password and query of URLs: clap repeats the wrong argument.
fn without_secrets(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        plain += before;
        let end = url.find(['\'', '"', ' ', '\n']).unwrap_or(url.len());
        let (url, after) = url.split_at(end);
        if url.contains(['@', '?', '#']) {
            plain += "…";
        } else {
            plain += url;
        }
        rest = after;
    }
    plain + rest
}

/// The innermost subcommand that the arguments name.
fn command_of(mut command: &Command, arguments: impl Iterator<Item = OsString>) -> String {
    let mut path = command.get_name().to_owned();
    for argument in arguments {
        if let Some(inner) = command.find_subcommand(&argument) {
            path = format!("{path} {}", inner.get_name());
            command = inner;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[track_caller]
    fn check(arguments: &[&str], what: &str, remedy: &str) {
        let command = Cli::command();
        let whole = ["todoctl"].iter().chain(arguments);
        let error = command.clone().try_get_matches_from(whole).unwrap_err();
        let hint = explained(&command, &error, arguments.iter().map(OsString::from));
        assert_eq!(hint.to_string(), what);
        assert_eq!(hint.remedy.to_string(), remedy);
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
        for (option, name) in [
            ("--port", "PORT"),
            ("--host=0.0.0.0", "HOST"),
            ("--log-level", "LOG_LEVEL"),
            ("--database-url=postgresql://u:canary@h/d", "DATABASE_URL"),
        ] {
            check(
                &["serve", option, "9000"],
                &format!(
                    "unexpected argument '{}' found",
                    option.split('=').next().unwrap()
                ),
                &format!(
                    "# set {name} in the .env file, with todoctl config set, or in the environment of todoctl serve"
                ),
            );
        }
        check(
            &["health", "http://ops:canary@127.0.0.1/?token=canary"],
            "unexpected argument 'http://…' found",
            "todoctl health --help",
        );
        check(
            &["serve", "--url=http://127.0.0.1/?token=canary"],
            "unexpected argument '--url' found",
            "todoctl serve --help",
        );
    }
}
