//! `todoctl migrate repair`: the notes about migrations, mended or explained.

use std::process::ExitCode;

use serde::Serialize;

use crate::config::DatabaseTarget;
use crate::store::migrate::{self, Migration, State, repair};

use super::super::context::Context;
use super::super::output::{self, Format};
use super::{Wait, name, names};

pub(super) const EXAMPLES: &str = "\
A migration counts as changed when its file is not what was applied: other
line endings are enough. This notes the checksum that the program has. The
schema is not touched; todoctl migrate check tells whether it is right.

Examples:
  todoctl migrate repair --dry-run
  todoctl migrate repair --yes";

/// How the notes are mended.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Say what would be mended, and how what is unfinished is; change nothing.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
    /// How long.
    #[command(flatten)]
    pub wait: Wait,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What is printed; the names are stable.
#[derive(Serialize)]
struct Answer {
    /// Versions whose checksum is mended, or would be.
    repaired: Vec<i64>,
    dry_run: bool,
    /// Versions that only a person can mend.
    unfinished: Vec<i64>,
}

/// Runs the command.
pub(super) async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let target = context.database()?.direct;
    let found = migrate::status(&target).await?;
    let of = |state| -> Vec<Migration> {
        let here = found.iter().filter(|one| one.state == state);
        here.cloned().collect()
    };
    let (changed, unfinished) = (of(State::Changed), of(State::Dirty));
    for one in &unfinished {
        output::note(&explained(one, &target));
    }
    let repaired = if changed.is_empty() || options.dry_run {
        changed
    } else {
        let question = format!(
            "Note this todoctl's checksum for {} of {}?",
            names(&changed),
            target.redacted()
        );
        if !output::confirm(&question, options.yes)? {
            output::note("nothing was changed");
            return Ok(ExitCode::from(1));
        }
        repair::checksums(&target, options.wait.patience()).await?
    };
    let open = !unfinished.is_empty() || (options.dry_run && !repaired.is_empty());
    print(options, &repaired, &unfinished)?;
    Ok(ExitCode::from(u8::from(open)))
}

fn print(
    options: &Options,
    repaired: &[Migration],
    unfinished: &[Migration],
) -> anyhow::Result<()> {
    let versions = |all: &[Migration]| all.iter().map(|one| one.version).collect();
    if options.format == Format::Json {
        return output::json(&Answer {
            repaired: versions(repaired),
            dry_run: options.dry_run,
            unfinished: versions(unfinished),
        });
    }
    if repaired.is_empty() {
        output::note("no checksum to mend");
    } else if options.dry_run {
        output::data(&format!("would note the checksum of {}", names(repaired)))?;
        output::note("to do it: todoctl migrate repair");
    } else {
        output::data(&format!("noted the checksum of {}", names(repaired)))?;
        output::note("whether the schema is right: todoctl migrate check");
    }
    Ok(())
}

/// What is known about a migration that another tool left half done.
fn explained(one: &Migration, target: &DatabaseTarget) -> String {
    let (name, version) = (name(one), one.version);
    let client = match target {
        DatabaseTarget::Postgres(_) => "psql \"$DATABASE_URL\" -c".to_owned(),
        DatabaseTarget::Sqlite(file) => format!("sqlite3 {}", file.path.display()),
    };
    format!(
        "migration {name} was begun and not finished, by a tool that runs it outside of a transaction.\n\
         See which of its statements took effect: todoctl migrate check shows the difference. Then\n\
         either take those back, and forget it:\n  \
         {client} 'DELETE FROM _sqlx_migrations WHERE version = {version}'\n\
         or do the rest by hand, and note that it is done:\n  \
         {client} 'UPDATE _sqlx_migrations SET success = TRUE WHERE version = {version}'"
    )
}
