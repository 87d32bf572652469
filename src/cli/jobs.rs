//! `todoctl jobs`: runs a job of the daemon now, once.
//!
//! For hosts that give a daemon no time between requests: their scheduler calls this.

use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use crate::jobs::outbox::{Delivered, Outbox};
use crate::jobs::reminders::ReminderRun;
use crate::jobs::{self, Stop};
use crate::services::mail::Mailer;
use crate::store::{Store, StoreError};
use crate::telemetry::{self, JobMetrics};

use super::context::Context;
use super::hint::Hint;
use super::output::{self, Format};

/// What is said where the schema is not there yet.
const NOT_MIGRATED: &str = "the database has no tables for reminders yet";

/// What can be done with jobs.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run a job now, beside whatever daemons run it too.
    Run(RunOptions),
}

/// Which job.
#[derive(Debug, clap::Args)]
pub struct RunOptions {
    /// The job's name.
    #[arg(value_enum, value_name = "JOB")]
    pub job: Job,
    /// How the counts are printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// The jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Job {
    /// Notify of tasks that are due soon or overdue, and send the mails that wait.
    Reminders,
}

/// Runs the command.
pub async fn run(command: &Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(options) => match options.job {
            Job::Reminders => reminders(options, context).await,
        },
    }
}

/// What a run came to; `mail` is null where no mail key is configured.
#[derive(Serialize)]
struct Outcome {
    reminders: ReminderRun,
    mail: Option<Delivered>,
}

/// Exits with 1 when a task was left out or a mail was given up.
async fn reminders(options: &RunOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let config = context.jobs()?;
    telemetry::start_logging(&config.telemetry)
        .map_err(|error| Hint::of(error, "LOG_LEVEL is no log filter", "LOG_LEVEL=info"))?;
    let mailer = Mailer::new(&config.services)?;
    let store = context.store(&config.database).await?;
    let outcome = work(&store, mailer, context).await;
    store.close().await;
    let outcome = outcome?;
    print(&outcome, options.format)?;
    let given_up = outcome.mail.is_some_and(|mail| mail.dead > 0);
    let fine = outcome.reminders.skipped == 0 && !given_up;
    Ok(ExitCode::from(u8::from(!fine)))
}

async fn work(store: &Store, mailer: Option<Mailer>, context: &Context) -> anyhow::Result<Outcome> {
    let clock = context.clock();
    let metrics = JobMetrics::new().context("cannot set up metrics")?;
    let stop = Stop::never();
    let reminders = jobs::run_reminders(store, &clock, mailer.is_some(), &stop, &metrics)
        .await
        .map_err(explained)?;
    let mail = match mailer {
        Some(mailer) => {
            let outbox = Outbox::new(store.clone(), clock, mailer, metrics);
            Some(outbox.deliver(&stop).await.map_err(explained)?)
        }
        None => None,
    };
    Ok(Outcome { reminders, mail })
}

fn print(outcome: &Outcome, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::json(outcome);
    }
    let reminders = &outcome.reminders;
    let mut rows = vec![
        ("due soon: notifications", reminders.due_soon),
        ("overdue: notifications", reminders.overdue),
        ("tasks left out", reminders.skipped),
    ];
    if let Some(mail) = &outcome.mail {
        rows.extend([
            ("mails sent", mail.sent),
            ("mails to be tried again", mail.postponed),
            ("mails without an address", mail.skipped),
            ("mails given up", mail.dead),
        ]);
    }
    let row = |(what, count): (&str, usize)| vec![what.to_owned(), count.to_string()];
    output::table(&["REMINDERS", "COUNT"], rows.into_iter().map(row).collect());
    if outcome.mail.is_none() {
        output::note("no mails: RESEND_API_KEY is not set");
    }
    if reminders.skipped > 0 {
        output::note("the log above names the tasks that were left out, and why");
    }
    Ok(())
}

fn explained(error: StoreError) -> anyhow::Error {
    if error.wants_migration() {
        return Hint::of(error, NOT_MIGRATED, "todoctl migrate up").into();
    }
    error.into()
}
