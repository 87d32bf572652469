//! `todoctl doctor`: looks at everything, and says what to type.

use std::process::ExitCode;

use anyhow::bail;

use crate::diagnostics::Report;
use crate::diagnostics::doctor::{self, Group};

use super::context::Context;
use super::output::{self, Format};

/// What is looked at, and how the answer is printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  todoctl doctor                                everything, within 30 s
  todoctl doctor --only database --only config  two groups
  todoctl doctor --only database.tls --strict   one check; a warning is exit code 1
  todoctl doctor --format json | jq '.checks[] | select(.outcome == \"fail\")'

Exit codes: 0 nothing failed, 1 something did, 2 it could not look. Changes nothing.")]
pub struct Options {
    /// Only this check, or every check of a group: config, database, services, daemon.
    #[arg(long, value_name = "ID")]
    pub only: Vec<String>,
    /// End with 1 also when something is worth a look.
    #[arg(long)]
    pub strict: bool,
    /// How many daemons share the database server's connections.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub replicas: u16,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Runs the command. A broken `.env` file is a row of the report, like everything else.
pub async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    for wanted in &options.only {
        if !doctor::ids().any(|id| doctor::selects(wanted, id)) {
            let groups: Vec<&str> = Group::ALL.map(Group::prefix).to_vec();
            bail!(
                "--only {wanted}: no check is called that; groups are {}, and the ids are those of todoctl doctor --format json",
                groups.join(", ")
            );
        }
    }
    let progress = output::Progress::start("looking at configuration, database, services, daemon");
    let clock = context.clock();
    let request = doctor::Request {
        source: context.source(),
        broken: context.broken(),
        clock: &clock,
        replicas: options.replicas.into(),
        only: &options.only,
    };
    let checks = doctor::checks(request, |group| progress.done(group.title())).await;
    progress.end();
    let report = Report::new(checks);
    output::grouped_report(&report, options.format)?;
    Ok(ExitCode::from(report.exit_code(options.strict)))
}
