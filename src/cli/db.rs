//! `todoctl db`: looks at the database.

use std::process::ExitCode;
use std::time::Duration;

use crate::diagnostics::{Budget, Report, database};

use super::context::Context;
use super::input;
use super::output::{self, Format};

const CHECK_EXAMPLES: &str = "\
Examples:
  todoctl db check
  DATABASE_URL=postgresql://todo@db/todo todoctl db check
  todoctl db check --format json | jq '.checks[] | select(.outcome == \"fail\")'";

/// For everything: finding the server, waking it, asking.
const BUDGET: Duration = Duration::from_secs(60);

/// Looks at the database.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Check the way to the database, its state and its limits, step by step; changes nothing.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckOptions),
}

/// How `db check` answers.
#[derive(Debug, clap::Args)]
pub struct CheckOptions {
    /// Check this URL instead of the configured one; `-` reads it from standard input, so that a
    /// password stays out of the process list.
    #[arg(long, value_name = "URL", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub url: Option<String>,
    /// How many daemons share the server's connections.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub replicas: u16,
    /// End with 1 also when something is worth a look.
    #[arg(long)]
    pub strict: bool,
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
    let config = match &options.url {
        None => context.database_unprinted(),
        Some(url) if url == "-" => context.database_at(&input::line()?),
        Some(url) => context.database_at(url),
    };
    let clock = context.clock();
    // Even a broken configuration is a row of the report, so nothing aborts here.
    let checks = database::checks(database::Request {
        config: &config,
        replicas: options.replicas.into(),
        clock: &clock,
        budget: Budget::new(BUDGET),
    });
    let report = Report::new(checks.await);
    output::report(&report, options.format)?;
    Ok(ExitCode::from(report.exit_code(options.strict)))
}
