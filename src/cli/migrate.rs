//! `todoctl migrate`: changes the database's schema, or shows where it stands.

use std::process::ExitCode;

use serde::Serialize;

use crate::store::migrate::{self, Down, Migration, State};

use super::context::Context;
use super::output::{self, Format};

/// Changes the database's schema, or shows where it stands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Apply every pending migration.
    Up(UpOptions),
    /// Revert the newest migration, or more of them, and what is stored in their tables.
    Down(DownOptions),
    /// Show every migration and how it stands; changes nothing.
    Status(StatusOptions),
}

/// How `migrate up` answers.
#[derive(Debug, clap::Args)]
pub struct UpOptions {
    /// How the applied migrations are printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How far down.
#[derive(Debug, clap::Args)]
pub struct DownOptions {
    /// Revert so many.
    #[arg(long, value_name = "N", default_value_t = 1, group = "how_far", value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,
    /// Revert until this version is the newest; 0 is an empty database.
    #[arg(long, value_name = "VERSION", group = "how_far", value_parser = clap::value_parser!(i64).range(0..))]
    pub to: Option<i64>,
    /// Revert everything.
    #[arg(long, group = "how_far")]
    pub all: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
    /// How the reverted migrations are printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How `migrate status` answers.
#[derive(Debug, clap::Args)]
pub struct StatusOptions {
    /// How the list is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

impl DownOptions {
    fn how_far(&self) -> Down {
        match self.to {
            _ if self.all => Down::To(0),
            Some(version) => Down::To(version),
            None => Down::Steps(self.steps.into()),
        }
    }
}

/// Runs the command.
pub async fn run(command: &Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(options) => up(options, context).await,
        Command::Down(options) => down(options, context).await,
        Command::Status(options) => status(options, context).await,
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    migrations: &'a [Migration],
}

async fn up(options: &UpOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let database = context.database()?;
    let applied = migrate::up(&database.direct, &context.clock()).await?;
    if options.format == Format::Json {
        #[derive(Serialize)]
        struct Applied<'a> {
            applied: &'a [Migration],
        }
        output::json(&Applied { applied: &applied })?;
    } else if applied.is_empty() {
        output::note("nothing to do: every migration is applied");
    } else {
        print(&applied);
    }
    Ok(ExitCode::SUCCESS)
}

async fn down(options: &DownOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let database = context.database()?;
    let how_far = options.how_far();
    let found = migrate::status(&database.direct).await?;
    let planned = migrate::plan_down(&found, how_far)?;
    let reverted = if planned.is_empty() {
        Vec::new()
    } else {
        let question = format!(
            "Revert {} of {}, and lose what is stored in their tables?",
            names(&planned),
            database.direct.redacted()
        );
        if !output::confirm(&question, options.yes)? {
            output::note("nothing was changed");
            return Ok(ExitCode::from(1));
        }
        migrate::down(&database.direct, how_far, migrate::Patience::default()).await?
    };
    if options.format == Format::Json {
        #[derive(Serialize)]
        struct Reverted {
            reverted: Vec<i64>,
        }
        let reverted = reverted.iter().map(|one| one.version).collect();
        output::json(&Reverted { reverted })?;
    } else if reverted.is_empty() {
        output::note("nothing to do: there is no migration to revert");
    } else {
        output::data(&format!("reverted {}", names(&reverted)));
    }
    Ok(ExitCode::SUCCESS)
}

/// `2 (sessions), 1 (baseline)`.
fn names(migrations: &[Migration]) -> String {
    let names: Vec<String> = migrations
        .iter()
        .map(|one| format!("{} ({})", one.version, one.description))
        .collect();
    names.join(", ")
}

async fn status(options: &StatusOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let database = context.database()?;
    let found = migrate::status(&database.direct).await?;
    if options.format == Format::Json {
        output::json(&Listed { migrations: &found })?;
    } else {
        print(&found);
        if found.iter().any(|one| one.state == State::Pending) {
            output::note("to apply what is pending: todoctl migrate up");
        }
    }
    let fine = found.iter().all(|one| one.state == State::Applied);
    Ok(ExitCode::from(u8::from(!fine)))
}

fn print(migrations: &[Migration]) {
    let row = |one: &Migration| {
        vec![
            one.version.to_string(),
            one.description.clone(),
            word(one.state).to_owned(),
            one.applied_at.map_or_else(String::new, |at| at.to_string()),
        ]
    };
    output::table(
        &["VERSION", "NAME", "STATE", "APPLIED"],
        migrations.iter().map(row).collect(),
    );
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
