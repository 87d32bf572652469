//! `todoctl migrate stamp`: records migrations that the schema already has.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::output::{self, Format};
use crate::store::migrate::{self, Migration};

use super::list;
use super::wait::Wait;

pub(super) const EXAMPLES: &str = "\
For a database whose table _sqlx_migrations was lost or changed, or rows of it.
A migration is recorded if its whole effect is in the schema, also in place of a
record with another checksum or of one that did not finish. A record of which
nothing is in the schema is removed. If only a part of one is there, nothing is
recorded. No table but _sqlx_migrations is changed.

Examples:
  todoctl migrate status    which migrations are in the schema and not recorded
  todoctl migrate stamp     record them";

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    wait: Wait,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What `--format json` prints; the names are stable.
#[derive(Serialize)]
struct Answer<'a> {
    recorded: &'a [Migration],
    forgotten: &'a [Migration],
}

pub(super) async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let target = context.direct_database().await?;
    let stamped = migrate::stamp(&target, options.wait.lock_wait()).await?;
    if options.format == Format::Json {
        output::json(&Answer {
            recorded: &stamped.recorded,
            forgotten: &stamped.forgotten,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if !stamped.recorded.is_empty() {
        output::note(&format!("recorded: {}", list::names(&stamped.recorded)));
    }
    if !stamped.forgotten.is_empty() {
        output::note(&format!(
            "not in the schema, so no longer recorded: {}",
            list::names(&stamped.forgotten)
        ));
        output::note("to apply: todoctl migrate up");
    } else if stamped.recorded.is_empty() {
        output::note("nothing to do: the schema has no migration that is not recorded");
    }
    Ok(ExitCode::SUCCESS)
}
