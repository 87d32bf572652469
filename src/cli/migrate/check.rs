//! `todoctl migrate check`: compares the schema with its migrations.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::output::{self, Format};
use crate::store::migrate::drift::{self, Difference};
use crate::store::migrate::{Migration, State};

use super::list;

pub(super) const EXAMPLES: &str = "\
Checks two things: all migrations are applied, and the schema is the one that
they create.

Exit code: 0 success, 1 check failed, 2 error.

Examples:
  todoctl migrate check
  todoctl migrate check --allow-pending    before the release is deployed";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Accept pending migrations.
    #[arg(long)]
    allow_pending: bool,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What `--format json` prints; the names are stable.
#[derive(Serialize)]
struct Answer {
    schema: u32,
    ok: bool,
    /// The migrations that are not applied, or changed since.
    migrations: Vec<Migration>,
    /// `null` if a newer program migrated the database.
    drift: Option<Vec<Difference>>,
}

pub(super) async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let target = context.direct_database().await?;
    let compared = drift::compare_with_migrations(&target).await?;
    let mut migrations = compared.migrations;
    migrations.retain(|one| one.state != State::Applied);
    let drift = compared.differences;
    let ok = migrations
        .iter()
        .all(|one| options.allow_pending && one.state == State::Pending)
        && drift.as_ref().is_some_and(Vec::is_empty);
    let answer = Answer {
        schema: 1,
        ok,
        migrations,
        drift,
    };
    match options.format {
        Format::Json => output::json(&answer)?,
        Format::Table => output::data(&text(&answer))?,
    }
    Ok(ExitCode::from(u8::from(!ok)))
}

fn text(answer: &Answer) -> String {
    let mut text = if answer.migrations.is_empty() {
        "Migrations: all applied\n".to_owned()
    } else {
        "Migrations: not all applied\n".to_owned()
    };
    for one in &answer.migrations {
        text += &format!("  {}: {}\n", list::name(one), list::state(one.state));
    }
    match &answer.drift {
        None => text += "Schema: not compared",
        Some(drift) if drift.is_empty() => text += "Schema: matches its migrations",
        Some(drift) => {
            let count = drift.len();
            let noun = if count == 1 {
                "difference"
            } else {
                "differences"
            };
            text += &format!("Schema: {count} {noun} (- expected, + found)");
            text += &diff(drift);
        }
    }
    text
}

fn diff(differences: &[Difference]) -> String {
    let mut text = String::new();
    let mut object = "";
    for one in differences {
        let part = one.part.as_deref();
        if part.is_some() && one.object != object {
            text += &format!("\n    {}", one.object);
        }
        object = &one.object;
        for (sign, side) in [('-', &one.expected), ('+', &one.found)] {
            match (part, side) {
                (Some(part), Some(side)) => text += &format!("\n  {sign}   {part}: {side}"),
                (None, Some(side)) => text += &format!("\n  {sign} {side}"),
                (_, None) => {}
            }
        }
    }
    text
}
