//! `todoctl migrate status`: lists the migrations.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::output::{self, Format};
use crate::store::migrate::{self, Migration, State};

use super::list;

pub(super) const EXAMPLES: &str = "\
Exit code: 0 if all migrations are applied and unchanged, 1 otherwise.

Examples:
  todoctl migrate status
  todoctl migrate status --format json | jq '.migrations[].state'";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What `--format json` prints; the names are stable.
#[derive(Serialize)]
struct Listed<'a> {
    migrations: &'a [Migration],
}

pub(super) async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let database = context.direct_database().await?;
    let migrations = migrate::status(&database).await?;
    if options.format == Format::Json {
        output::json(&Listed {
            migrations: &migrations,
        })?;
    } else {
        list::print(&migrations)?;
        for (state, hint) in [
            (
                State::Pending,
                "to apply pending migrations: todoctl migrate up",
            ),
            (
                State::Unrecorded,
                "to record what the schema has: todoctl migrate stamp",
            ),
            (
                State::Changed,
                "to see whether the schema is right: todoctl migrate check",
            ),
            (
                State::Dirty,
                "to see what an unfinished migration did: todoctl migrate check",
            ),
        ] {
            if migrations.iter().any(|one| one.state == state) {
                output::note(hint);
            }
        }
    }
    let fine = migrations.iter().all(|one| one.state == State::Applied);
    Ok(ExitCode::from(u8::from(!fine)))
}
