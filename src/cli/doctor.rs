//! `todoctl doctor`: all checks.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use crate::config::nearest_of;
use crate::diagnostics::{self, GROUPS, Report, Request};

use super::context::Context;
use super::output;
use super::output::report::ReportFormat;
use super::reporting::ReportOptions;
use super::signals::ExitOnSignal;

mod fix;
mod watch;

use fix::{FixOptions, Fixer};
use watch::watch;

/// For all checks, so that the command ends within the 30 s that it promises.
const BUDGET: Duration = Duration::from_secs(28);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  todoctl doctor                                all checks, within 30 s
  todoctl doctor --only database --only config  two groups
  todoctl doctor --only database.tls --strict   exit with 1 on a warning
  todoctl doctor --fix                          fix what is safe, after asking
  todoctl doctor --watch 10                     redraw the terminal every 10 s
  todoctl doctor --pid auto                     as the daemon that runs sees it
  todoctl doctor --format json | jq '.checks[] | select(.outcome == \"fail\")'
  todoctl doctor --format prometheus --output /var/lib/metrics/todoctl.prom

What a check looks at, and what its outcome means: todoctl explain ID, or
docs/checks.md.

Remedies that change the database are tried in a transaction that is rolled
back, for which requests may wait up to a second. --watch and --format
prometheus try none.

A selected check runs after the checks that it needs. Of those, the report has
only the ones that failed.

--fix sets modes of own files, corrects spellings in .env, applies pending
migrations and restores dropped indexes and triggers. It deletes nothing, and
shows each change before it asks.

Exit codes: 0 no check failed, 1 a check failed, 2 error; --watch ends with the
code of its last run. Changes nothing without --fix.")]
pub(crate) struct Options {
    /// Run only this check, or the checks of this group: config, database, services, daemon.
    #[arg(long, value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// How many daemons share the database server's connections.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) replicas: u16,
    #[command(flatten)]
    pub(crate) reporting: ReportOptions,
    /// Run the checks again SECONDS after each run, 60 by default: redraws a terminal,
    /// otherwise prints only what changed (with --format json, a report on each line).
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60",
          value_parser = clap::value_parser!(u64).range(1..=86_400), conflicts_with = "fix")]
    watch: Option<u64>,
    #[command(flatten)]
    fix: FixOptions,
}

/// Runs the command. A broken `.env` file is a finding of the report.
pub(crate) async fn run(
    options: &Options,
    context: &Context,
    on_signal: &ExitOnSignal,
) -> anyhow::Result<ExitCode> {
    let only: Vec<&str> = options.only.iter().map(String::as_str).collect();
    for wanted in &only {
        if !diagnostics::ids().any(|id| diagnostics::selects(wanted, id)) {
            if let Some(meant) = nearest_of(wanted, diagnostics::ids()) {
                bail!("--only {wanted}: there is no such check; did you mean {meant}?");
            }
            let groups: Vec<&str> = GROUPS.iter().map(|group| group.prefix).collect();
            bail!(
                "--only {wanted}: there is no such check; groups are {}, ids are listed by todoctl doctor --verbose",
                groups.join(", ")
            );
        }
    }
    // Checks selected by id are always listed.
    let reporting = options.reporting.listing(!only.is_empty());
    if let Some(seconds) = options.watch {
        let seconds = Duration::from_secs(seconds);
        let diagnose = async || diagnose(options, &context.read_again(), &only).await;
        return watch(&reporting, seconds, diagnose, on_signal).await;
    }
    let report = if options.fix.fix {
        fix(options, context, &only).await?
    } else {
        tokio::select! {
            report = diagnose(options, context, &only) => report,
            () = reporting.unread() => return Ok(ExitCode::SUCCESS),
        }
    };
    reporting.deliver(&report)
}

async fn diagnose(options: &Options, context: &Context, only: &[&str]) -> Report {
    let progress = output::Progress::start("checking configuration, database, services, daemon");
    let checks = diagnostics::Context::new(Request {
        source: diagnostics::with_daemon(context.source()),
        broken: context.broken().cloned(),
        clock: context.clock(),
        replicas: options.replicas.into(),
        file_must_exist: false,
        // These runs are repeated, and the locks of a trial would be, too.
        tries_remedies: options.watch.is_none()
            && options.reporting.format != ReportFormat::Prometheus,
    });
    let done = |group: &diagnostics::Group| progress.done(group.title);
    let report = diagnostics::run(&checks, only, BUDGET, done).await;
    progress.end();
    report
}

/// Fixes and diagnoses by turns: a fix may show what else is to be done.
async fn fix(options: &Options, context: &Context, only: &[&str]) -> anyhow::Result<Report> {
    let mut fixer = Fixer::new(&options.fix, context.clock())?;
    let mut report = diagnose(options, context, only).await;
    while fixer.offer(&report, &context.read_again()).await? {
        report = diagnose(options, &context.read_again(), only).await;
    }
    Ok(report.with_fixed(fixer.finish()))
}
