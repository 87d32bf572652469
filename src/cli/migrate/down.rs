//! `todoctl migrate down`: shows what would be lost, asks, and reverts migrations.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::output::{self, Format};
use crate::config::DatabaseTarget;
use crate::store::migrate::preview::{self, Dropped, Preview};
use crate::store::migrate::{self, Down, plan_down};

use super::list::names;
use super::wait::Wait;

pub(super) const EXAMPLES: &str = "\
First lists what would be dropped, with the number of rows. For this it reverts
the migrations in a transaction and rolls that back.

Examples:
  todoctl migrate down                 revert the newest migration; asks first
  todoctl migrate down --dry-run       list what would be dropped
  todoctl migrate down --to 2 --yes    revert to version 2 without a question";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Revert this many migrations.
    #[arg(long, value_name = "N", default_value_t = 1, group = "how_far", value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// Revert all migrations after this version; 0 reverts all.
    #[arg(long, value_name = "VERSION", group = "how_far", value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<i64>,
    /// Revert all migrations.
    #[arg(long, group = "how_far")]
    all: bool,
    /// List what would be dropped; change nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask for confirmation.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    wait: Wait,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Options {
    fn how_far(&self) -> Down {
        match self.to {
            _ if self.all => Down::To(0),
            Some(version) => Down::To(version),
            None => Down::Steps(self.steps.into()),
        }
    }
}

pub(super) async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let target = context.direct_database().await?;
    let (how_far, wait) = (options.how_far(), options.wait.lock_wait());
    let migrations = migrate::status(&target).await?;
    if plan_down(&migrations, how_far)?.is_empty() {
        return nothing(options);
    }
    let preview = preview::down(&target, how_far, wait).await?;
    if options.dry_run {
        return dry_run(&preview, &target, options.format);
    }
    output::note(&summary(&preview, &target));
    let question = format!("Revert {}?", names(&preview.migrations));
    if !output::confirm(&question, options.yes)? {
        output::note("nothing was changed");
        return Ok(ExitCode::from(1));
    }
    let reverted = migrate::down_with(&target, how_far, wait).await?;
    if options.format == Format::Json {
        let versions = reverted.iter().map(|one| one.version).collect();
        json(versions, &preview.dropped)?;
    } else {
        output::data(&format!("reverted {}", names(&reverted)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn nothing(options: &Options) -> anyhow::Result<ExitCode> {
    if options.format == Format::Json {
        json(Vec::new(), &[])?;
    } else {
        output::note("nothing to do: there is no migration to revert");
    }
    Ok(ExitCode::SUCCESS)
}

fn dry_run(preview: &Preview, target: &DatabaseTarget, format: Format) -> anyhow::Result<ExitCode> {
    match format {
        Format::Json => output::json(preview)?,
        Format::Table => output::data(&summary(preview, target))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn json(reverted: Vec<i64>, dropped: &[Dropped]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Reverted<'a> {
        reverted: Vec<i64>,
        dropped: &'a [Dropped],
    }
    output::json(&Reverted { reverted, dropped })
}

/// What would be dropped, a line each.
fn summary(preview: &Preview, target: &DatabaseTarget) -> String {
    let (names, place) = (names(&preview.migrations), target.redacted());
    if preview.dropped.is_empty() {
        return format!("reverting {names} of {place} drops nothing");
    }
    let lines = preview.dropped.iter().map(|one| {
        let mut line = format!("  {}", one.what);
        if let Some(table) = &one.of {
            line += &format!(" of {table}");
        }
        if let Some(rows) = one.rows {
            let noun = if rows == 1 { "row" } else { "rows" };
            line += &format!(", {rows} {noun}");
        }
        line
    });
    let lines: Vec<String> = lines.collect();
    format!("reverting {names} of {place} drops:\n{}", lines.join("\n"))
}
