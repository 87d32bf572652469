//! Parses the command line, runs the command, renders its error.

use std::process::ExitCode;

use todoctl::cli::{self, output, usage};

/// What scripts can rely on: 0 yes, 1 a negative answer, 2 it could not be done.
fn main() -> ExitCode {
    let parsed = usage::parse().map_err(Into::into);
    match parsed.and_then(|cli| cli::run(&cli)) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::from(2)
        }
    }
}
