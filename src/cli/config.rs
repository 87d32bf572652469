//! `todoctl config`: shows and checks the configuration.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::config::{Audit, Entry, env_example, inventory};
use crate::diagnostics;

pub(super) mod edit;
mod examples;

use super::context::Context;
use super::output;
use super::reporting::ReportOptions;

/// Shows, checks and changes the configuration.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the effective value of every variable and where it comes from.
    #[command(after_help = "\
Examples:
  todoctl config show                 a table
  todoctl config show --format env    NAME=value lines; secrets are comments
  todoctl config show --format json | jq -r '.variables[] | select(.secret)'

A secret is shown as its length and a fingerprint, the first 16 bits of a hash.
Two services have the same secret if the fingerprints are equal. A fingerprint
reveals nothing about a random secret. It could confirm a guess of a weak one,
so weak secrets are shown without.")]
    Show(ShowOptions),
    /// Check the configuration: errors, weak secrets, misspelt names.
    #[command(after_help = "\
Examples:
  todoctl config check
  todoctl --env-file production.env config check --strict

Exit codes: 0 no check failed, 1 a check failed, 2 error.")]
    Check(CheckOptions),
    /// Print an example .env file with every variable.
    #[command(after_help = "\
Example:
  todoctl config example > .env && todoctl gen-secrets --write .env")]
    Example,
    /// Set variables in the .env file.
    #[command(after_help = examples::SET)]
    Set(edit::SetOptions),
    /// Remove variables from the .env file.
    #[command(after_help = examples::UNSET)]
    Unset(edit::UnsetOptions),
    /// Correct names and spellings of values in the .env file.
    #[command(after_help = examples::RESPELL)]
    Respell(edit::RespellOptions),
}

/// Options of `config show`.
#[derive(Debug, clap::Args)]
pub struct ShowOptions {
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    pub format: ShowFormat,
}

/// How values are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ShowFormat {
    /// A table.
    #[default]
    Table,
    /// NAME=value lines, as in a .env file.
    Env,
    /// JSON with a stable schema.
    Json,
}

/// Options of `config check`.
#[derive(Debug, clap::Args)]
pub struct CheckOptions {
    #[command(flatten)]
    pub(crate) reporting: ReportOptions,
}

/// These checks only read files.
const BUDGET: Duration = Duration::from_secs(10);

/// The JSON document of `config show`. Its schema is stable.
#[derive(Debug, Serialize)]
struct Variables {
    schema: u32,
    variables: Vec<Entry>,
}

/// Runs the command.
pub async fn run(command: &Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Show(options) => show(options, context),
        Command::Check(options) => check(options, context).await,
        Command::Example => {
            output::data(env_example().trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Set(options) => edit::set(options, context),
        Command::Unset(options) => edit::unset(options, context),
        Command::Respell(options) => edit::respell(options, context),
    }
}

fn show(options: &ShowOptions, context: &Context) -> anyhow::Result<ExitCode> {
    if let Some(error) = context.broken() {
        return Err(error.clone().into());
    }
    let entries = inventory(context.source(), &Audit::of(context.source()));
    match options.format {
        ShowFormat::Table => {
            let rows = entries.into_iter().map(|entry| {
                vec![
                    entry.name,
                    entry.value.unwrap_or_default(),
                    entry.source.to_owned(),
                ]
            });
            output::table(&["VARIABLE", "VALUE", "SOURCE"], rows.collect())?;
        }
        ShowFormat::Env => {
            let lines: Vec<String> = entries.iter().map(line).collect();
            output::data(&lines.join("\n"))?;
        }
        ShowFormat::Json => output::json(&Variables {
            schema: 1,
            variables: entries,
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A line of a `.env` file. A description of a value is a comment, so that it is not taken for
/// the value.
fn line(entry: &Entry) -> String {
    match &entry.value {
        None => format!("#{}=", entry.name),
        Some(text) if entry.secret => format!("#{}: {text}", entry.name),
        Some(text)
            if text.contains(|sign: char| sign.is_whitespace() || "#$\"'".contains(sign)) =>
        {
            format!("{}='{text}'", entry.name)
        }
        Some(text) => format!("{}={text}", entry.name),
    }
}

async fn check(options: &CheckOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let checks = diagnostics::Context::new(diagnostics::Request {
        source: context.source().clone(),
        broken: context.broken().cloned(),
        clock: context.clock(),
        replicas: 1,
        file_must_exist: false,
        tries_remedies: false,
    });
    let report = diagnostics::run(&checks, &["config"], BUDGET, |_| ()).await;
    options.reporting.deliver(&report)
}
