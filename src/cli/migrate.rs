//! `todoctl migrate`: changes the database's schema, or shows where it stands.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::domain::Timestamp;
use crate::store::migrate::{self, LockWait, Migration, State};

use super::context::Context;
use super::output::{self, Format};

mod check;
mod down;
mod new;
mod repair;
mod up;

/// Changes the database's schema, or shows where it stands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Apply pending migrations.
    #[command(after_help = up::EXAMPLES)]
    Up(up::Options),
    /// Revert the newest migration, or more of them, and what is stored in their tables.
    #[command(after_help = down::EXAMPLES)]
    Down(down::Options),
    /// Show every migration and how it stands; changes nothing.
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusOptions),
    /// Compare the schema with its migrations, and read new ones for harm; changes nothing.
    #[command(after_help = check::EXAMPLES)]
    Check(check::Options),
    /// Make the files of a new migration in a checkout, for both engines.
    #[command(after_help = new::EXAMPLES)]
    New(new::Options),
    /// Note this program's checksums for migrations whose files have changed.
    #[command(after_help = repair::EXAMPLES)]
    Repair(repair::Options),
}

/// How `migrate status` answers.
#[derive(Debug, clap::Args)]
pub struct StatusOptions {
    /// How the list is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

const STATUS_EXAMPLES: &str = "\
Exit code: 0 when every migration is applied as this program has it, else 1.

Examples:
  todoctl migrate status
  todoctl migrate status --format json | jq '.migrations[].state'";

/// How long another process that migrates is waited for.
#[derive(Debug, clap::Args)]
pub struct Wait {
    /// How long to wait for another process that migrates.
    #[arg(long = "wait", value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    limit: Duration,
}

impl Wait {
    /// Tells on stderr who is waited for.
    fn patience(&self) -> LockWait<'static> {
        LockWait::new(self.limit, &output::note)
    }
}

/// Runs the command.
pub async fn run(command: &Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(options) => up::run(options, context).await,
        Command::Down(options) => down::run(options, context).await,
        Command::Status(options) => status(options, context).await,
        Command::Check(options) => check::run(options, context).await,
        Command::New(options) => new::run(options),
        Command::Repair(options) => repair::run(options, context).await,
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    migrations: &'a [Migration],
}

async fn status(options: &StatusOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let database = context.database()?;
    let found = migrate::status(&database.direct).await?;
    if options.format == Format::Json {
        output::json(&Listed { migrations: &found })?;
    } else {
        print(&found)?;
        for (state, what) in [
            (
                State::Pending,
                "to apply what is pending: todoctl migrate up",
            ),
            (
                State::Changed,
                "about what has changed: todoctl migrate repair --dry-run",
            ),
            (
                State::Dirty,
                "about what is not finished: todoctl migrate repair --dry-run",
            ),
        ] {
            if found.iter().any(|one| one.state == state) {
                output::note(what);
            }
        }
    }
    let fine = found.iter().all(|one| one.state == State::Applied);
    Ok(ExitCode::from(u8::from(!fine)))
}

/// `2 (sessions), 1 (baseline)`.
fn names(migrations: &[Migration]) -> String {
    let names: Vec<String> = migrations.iter().map(name).collect();
    names.join(", ")
}

/// `2 (sessions)`.
fn name(migration: &Migration) -> String {
    format!("{} ({})", migration.version, migration.description)
}

fn print(migrations: &[Migration]) -> anyhow::Result<()> {
    let row = |one: &Migration| {
        vec![
            one.version.to_string(),
            one.description.clone(),
            word(one.state).to_owned(),
            one.applied_at
                .map_or_else(String::new, Timestamp::to_seconds_string),
        ]
    };
    output::table(
        &["VERSION", "NAME", "STATE", "APPLIED"],
        migrations.iter().map(row).collect(),
    )
}

fn word(state: State) -> &'static str {
    match state {
        State::Applied => "applied",
        State::Pending => "pending",
        State::Missing => "not known to this todoctl",
        State::Changed => "changed since it was applied",
        State::Dirty => "not finished",
    }
}
