//! `todoctl db`: looks at the database.

use std::process::ExitCode;

use crate::diagnostics::{Report, database};

use super::context::Context;
use super::output::{self, Format};

const CHECK_EXAMPLES: &str = "\
Examples:
  todoctl db check
  DATABASE_URL=postgresql://todo@db/todo todoctl db check
  todoctl db check --format json | jq '.checks[] | select(.outcome == \"fail\")'";

/// Looks at the database.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Check URL, connection, login, queries and migrations; changes nothing.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckOptions),
}

/// How `db check` answers.
#[derive(Debug, clap::Args)]
pub struct CheckOptions {
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Runs the command.
pub async fn run(command: &Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(options) => check(options, context).await,
    }
}

async fn check(options: &CheckOptions, context: &Context) -> anyhow::Result<ExitCode> {
    // Even a broken configuration is a row of the report, so nothing aborts here.
    let report = Report::new(database::checks(&context.database_unprinted()).await);
    output::report(&report, options.format)?;
    Ok(ExitCode::from(report.exit_code(false)))
}
