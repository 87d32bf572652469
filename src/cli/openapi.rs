//! `todoctl openapi`: the API's description, as the daemon serves it at `/openapi.json`.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::api;

use super::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  todoctl openapi > openapi.json
  todoctl openapi | jq -r '.paths | keys[]'";

/// Prints the description. No configuration is needed.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Runs the command.
pub fn run(_: &Options) -> anyhow::Result<ExitCode> {
    let document = api::document()
        .to_pretty_json()
        .context("cannot write the description as JSON")?;
    output::data(&document);
    Ok(ExitCode::SUCCESS)
}
