//! `todoctl openapi`: the document that the daemon serves at `/openapi.json`.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::api;

use super::output;

pub(super) const EXAMPLES: &str = "\
No configuration is needed.

Examples:
  todoctl openapi > openapi.json
  todoctl openapi | jq -r '.paths | keys[]'";

pub(super) fn run() -> anyhow::Result<ExitCode> {
    let document = api::document()
        .to_pretty_json()
        .context("cannot write the description as JSON")?;
    output::data(&document)?;
    Ok(ExitCode::SUCCESS)
}
