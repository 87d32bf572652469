//! `todoctl migrate up`: applies pending migrations, or prints their SQL.

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::output::{self, Format};
use crate::config::DatabaseTarget;
use crate::store::migrate::{self, Migration, Planned, Up};

use super::list;
use super::wait::Wait;

pub(super) const EXAMPLES: &str = "\
Each migration runs in its own transaction: one that fails changes nothing.

Examples:
  todoctl migrate up                   apply all pending migrations
  todoctl migrate up --dry-run         print the SQL, change nothing
  todoctl migrate up --to 3            stop after version 3
  todoctl migrate up --allow-newer     after a rollback to an older todoctl";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Stop after this version.
    #[arg(long, value_name = "VERSION")]
    to: Option<i64>,
    /// Print the SQL that would run; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do nothing, instead of failing, if a newer todoctl migrated the database.
    #[arg(long)]
    allow_newer: bool,
    #[command(flatten)]
    wait: Wait,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let target = context.direct_database().await?;
    let up = Up {
        to: options.to,
        allow_newer: options.allow_newer,
    };
    if options.dry_run {
        return dry_run(&target, up, options.format).await;
    }
    let wait = options.wait.lock_wait();
    let done = migrate::up_with(&target, &context.clock(), up, wait).await?;
    if let Some(newer) = done.newer {
        output::note(&format!(
            "nothing was migrated: the database is at version {}, and this todoctl knows versions up to {}",
            newer.database, newer.program
        ));
    }
    if options.format == Format::Json {
        #[derive(Serialize)]
        struct Applied<'a> {
            applied: &'a [Migration],
        }
        let applied = &done.migrations;
        output::json(&Applied { applied })?;
    } else if !done.migrations.is_empty() {
        list::print(&done.migrations)?;
    } else if done.newer.is_none() {
        output::note(nothing(up));
    }
    Ok(ExitCode::SUCCESS)
}

async fn dry_run(target: &DatabaseTarget, up: Up, format: Format) -> anyhow::Result<ExitCode> {
    let planned = migrate::dry_up(target, up).await?;
    if format == Format::Json {
        #[derive(Serialize)]
        struct Plan<'a> {
            planned: &'a [Planned],
        }
        output::json(&Plan { planned: &planned })?;
    } else if planned.is_empty() {
        output::note(nothing(up));
    } else {
        let texts: Vec<String> = planned.iter().map(sql).collect();
        output::data(&texts.join("\n\n"))?;
        output::note("nothing was changed; to apply it: todoctl migrate up");
    }
    Ok(ExitCode::SUCCESS)
}

/// The statements as a file for psql or sqlite3.
fn sql(planned: &Planned) -> String {
    let name = list::name(&planned.migration);
    format!("-- migration {name}\n\n{}", planned.statements.join("\n\n"))
}

fn nothing(up: Up) -> &'static str {
    if up.to.is_some() {
        "nothing to do: all migrations up to that version are applied"
    } else {
        "nothing to do: all migrations are applied"
    }
}
