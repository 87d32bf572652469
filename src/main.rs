//! Parses the command line, runs the command, renders its error.

use std::process::ExitCode;

use clap::Parser;
use todoctl::cli::{self, Cli, output};

/// What scripts can rely on: 0 yes, 1 a negative answer, 2 it could not be done.
fn main() -> ExitCode {
    match cli::run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::from(2)
        }
    }
}
