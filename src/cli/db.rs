//! `todoctl db`: checks of the database, and its own client.

use std::process::ExitCode;
use std::time::Duration;

use crate::diagnostics;

mod psql;

use super::context::Context;
use super::input;
use super::reporting::ReportOptions;

const CHECK_EXAMPLES: &str = "\
Examples:
  todoctl db check
  DATABASE_URL=postgresql://todo@db/todo todoctl db check
  todoctl db check --format json | jq '.checks[] | select(.outcome == \"fail\")'

Exit codes: 0 no check failed, 1 a check failed, 2 error. Changes nothing.";

/// For all checks: a suspended database takes long to wake up.
const BUDGET: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check the connection to the database, its state and its limits, step by step
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckOptions),
    /// Open psql with the configured URL, or run statements with -c
    #[command(after_help = psql::EXAMPLES)]
    Psql(psql::Options),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckOptions {
    /// Check this URL instead of the configured one; `-` reads it from standard input, which
    /// keeps a password out of the process list
    #[arg(long, value_name = "URL", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) url: Option<String>,
    /// How many daemons share the server's connections
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) replicas: u16,
    #[command(flatten)]
    pub(crate) reporting: ReportOptions,
}

pub(crate) async fn run(command: &Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(options) => check(options, context).await,
        Command::Psql(options) => psql::run(options, context).await,
    }
}

async fn check(options: &CheckOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let mut source = context.source().clone();
    match options.url.as_deref() {
        None => {}
        Some("-") => source.replace("DATABASE_URL", &input::line()?),
        Some(url) => source.replace("DATABASE_URL", url),
    }
    let checks = diagnostics::Context::new(diagnostics::Request {
        source,
        broken: None,
        clock: context.clock(),
        replicas: options.replicas.into(),
        file_must_exist: true,
        tries_remedies: false,
    });
    let mut report = diagnostics::run(&checks, &["database"], BUDGET, |_| ()).await;
    if options.url.is_some() {
        report = report.without_fixes();
    }
    options.reporting.deliver(&report)
}
