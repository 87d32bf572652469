//! `todoctl migrate up`: applies what is pending, or shows what that would run.

use std::process::ExitCode;

use serde::Serialize;

use crate::config::DatabaseTarget;
use crate::store::migrate::{self, Migration, Planned, Up};

use super::super::context::Context;
use super::super::output::{self, Format};
use super::{Wait, name, print};

pub(super) const EXAMPLES: &str = "\
Each migration runs in a transaction of its own: one that fails leaves nothing.

Examples:
  todoctl migrate up                   apply every pending migration
  todoctl migrate up --dry-run         print the SQL, change nothing
  todoctl migrate up --to 3            stop behind version 3
  todoctl migrate up --allow-newer     after a rollback of the program";

/// How far, and how the answer looks.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Stop behind this version.
    #[arg(long, value_name = "VERSION")]
    pub to: Option<i64>,
    /// Print the SQL that would run; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Leave a database that a newer todoctl migrated as it is, rather than refuse it.
    #[arg(long)]
    pub allow_newer: bool,
    /// How long.
    #[command(flatten)]
    pub wait: Wait,
    /// How the applied migrations are printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Runs the command.
pub(super) async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let target = context.database()?.direct;
    let up = Up {
        to: options.to,
        allow_newer: options.allow_newer,
    };
    if options.dry_run {
        return dry_run(&target, up, options.format).await;
    }
    let patience = options.wait.patience();
    let done = migrate::up_with(&target, &context.clock(), up, patience).await?;
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
        print(&done.migrations)?;
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

/// As a file for psql or sqlite3 would have it.
fn sql(planned: &Planned) -> String {
    let statements = planned.statements.join("\n\n");
    format!("-- migration {}\n\n{statements}", name(&planned.migration))
}

fn nothing(up: Up) -> &'static str {
    if up.to.is_some() {
        "nothing to do: every migration up to that version is applied"
    } else {
        "nothing to do: every migration is applied"
    }
}
