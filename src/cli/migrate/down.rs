//! `todoctl migrate down`: reverts migrations, once it has said what is lost.

use std::process::ExitCode;

use serde::Serialize;

use crate::config::DatabaseTarget;
use crate::store::migrate::preview::{self, Dropped, Preview};
use crate::store::migrate::{self, Down, plan_down};

use super::super::context::Context;
use super::super::output::{self, Format};
use super::{Wait, names};

pub(super) const EXAMPLES: &str = "\
What would be dropped is found out by reverting in a transaction that is rolled
back, and told before anything is asked.

Examples:
  todoctl migrate down                 the newest migration; asks first
  todoctl migrate down --dry-run       say what would be dropped, change nothing
  todoctl migrate down --to 2 --yes    back to version 2, without a question";

/// How far down.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Revert so many.
    #[arg(long, value_name = "N", default_value_t = 1, group = "how_far", value_parser = clap::value_parser!(u16).range(1..))]
    pub steps: u16,
    /// Revert until this version is the newest; 0 is an empty database.
    #[arg(long, value_name = "VERSION", group = "how_far", value_parser = clap::value_parser!(i64).range(0..))]
    pub to: Option<i64>,
    /// Revert everything.
    #[arg(long, group = "how_far")]
    pub all: bool,
    /// Say what would be dropped; change nothing.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
    /// How long.
    #[command(flatten)]
    pub wait: Wait,
    /// How the reverted migrations are printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
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

/// Runs the command.
pub(super) async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let target = context.database()?.direct;
    let (how_far, patience) = (options.how_far(), options.wait.patience());
    let found = migrate::status(&target).await?;
    if plan_down(&found, how_far)?.is_empty() {
        return nothing(options);
    }
    let preview = preview::down(&target, how_far, patience).await?;
    if options.dry_run {
        return dry_run(&preview, &target, options.format);
    }
    output::note(&told(&preview, &target));
    let question = format!("Revert {}?", names(&preview.migrations));
    if !output::confirm(&question, options.yes)? {
        output::note("nothing was changed");
        return Ok(ExitCode::from(1));
    }
    let reverted = migrate::down_with(&target, how_far, patience).await?;
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
        Format::Table => output::data(&told(preview, target))?,
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

/// What would be lost, a line each.
fn told(preview: &Preview, target: &DatabaseTarget) -> String {
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
