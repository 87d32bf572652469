//! `todoctl jobs`: runs a background job of the daemon once.
//!
//! For hosts that suspend the daemon between requests: their scheduler runs this command.

use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use crate::jobs::outbox::{Delivered, Outbox};
use crate::jobs::reminders::ReminderRun;
use crate::jobs::{self, Stop};
use crate::services::mail::Mailer;
use crate::store::Store;
use crate::telemetry::JobMetrics;

use super::context::{Context, start_logging};
use super::hint::Hint;
use super::output::{self, Format};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Run a job now. Daemons may run it at the same time.
    Run(RunOptions),
}

#[derive(Debug, clap::Args)]
pub(super) struct RunOptions {
    /// The job to run.
    #[arg(value_enum, value_name = "JOB")]
    job: Job,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Job {
    /// Create notifications for tasks that are due soon or overdue, and send queued mail.
    Reminders,
}

pub(super) async fn run(command: &Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(options) => match options.job {
            Job::Reminders => reminders(options, context).await,
        },
    }
}

/// The JSON output; `mail` is null if no mail key is configured.
#[derive(Serialize)]
struct Outcome {
    reminders: ReminderRun,
    mail: Option<Delivered>,
    /// The provider refuses the configuration.
    #[serde(skip)]
    is_mail_paused: bool,
}

/// Exits with 1 if a task was skipped, a mail was given up, or no mail can be sent.
async fn reminders(options: &RunOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let config = context.jobs()?;
    let _log = start_logging(&config.telemetry)?;
    let mailer = Mailer::new(&config.services)?;
    let store = context.store(&config.database).await?;
    let outcome = work(&store, mailer, context).await;
    store.close().await;
    let outcome = outcome?;
    print(&outcome, options.format)?;
    let given_up = outcome.mail.is_some_and(|mail| mail.dead > 0);
    let fine = outcome.reminders.skipped == 0 && !given_up && !outcome.is_mail_paused;
    Ok(ExitCode::from(u8::from(!fine)))
}

async fn work(store: &Store, mailer: Option<Mailer>, context: &Context) -> anyhow::Result<Outcome> {
    let clock = context.clock();
    let metrics = JobMetrics::new().context("cannot set up metrics")?;
    let stop = Stop::never();
    let explained =
        |error| Hint::if_not_migrated(error, "the database has no tables for reminders yet");
    let reminders = jobs::run_reminders(store, &clock, mailer.is_some(), &stop, &metrics)
        .await
        .map_err(explained)?;
    let mut outcome = Outcome {
        reminders,
        mail: None,
        is_mail_paused: false,
    };
    if let Some(mailer) = mailer {
        let outbox = Outbox::new(store.clone(), clock, mailer, metrics);
        outcome.mail = Some(outbox.deliver(&stop).await.map_err(explained)?);
        outcome.is_mail_paused = outbox.is_paused();
    }
    Ok(outcome)
}

fn print(outcome: &Outcome, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return output::json(outcome);
    }
    let reminders = &outcome.reminders;
    let mut rows = vec![
        ("due soon: notifications", reminders.due_soon),
        ("overdue: notifications", reminders.overdue),
        ("tasks skipped", reminders.skipped),
    ];
    if let Some(mail) = &outcome.mail {
        rows.extend([
            ("mails sent", mail.sent),
            ("mails to be retried", mail.postponed),
            ("mails without an address", mail.skipped),
            ("mails given up", mail.dead),
        ]);
    }
    let row = |(what, count): (&str, usize)| vec![what.to_owned(), count.to_string()];
    output::table(&["REMINDERS", "COUNT"], rows.into_iter().map(row).collect())?;
    if outcome.mail.is_none() {
        output::note("no mail is sent: RESEND_API_KEY is not set");
    }
    if reminders.skipped > 0 {
        output::note("the log above names the skipped tasks and the reasons");
    }
    Ok(())
}
