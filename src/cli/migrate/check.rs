//! `todoctl migrate check`: what a pipeline wants to know before a release.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::config::DatabaseTarget;
use crate::store::migrate::drift::{self, Compared, Difference};
use crate::store::migrate::lint::{self, Finding};
use crate::store::migrate::{Migration, State, files};

use super::super::context::Context;
use super::super::output::{self, Format};
use super::{name, word};

pub(super) const EXAMPLES: &str = "\
Three questions: is every migration applied; is the schema what its migrations
make; would a new migration lock a table for long, rewrite it, or lose data.
A statement that is meant so says it in front of it: -- lint: allow RULE

Exit code: 0 all is well, 1 it is not, 2 it could not be found out.

Examples:
  todoctl migrate check
  todoctl migrate check --allow-pending            judge what is to be released
  todoctl migrate check --source migrations        files of a checkout instead";

/// What is looked at.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Read the files in this folder that the database does not have, rather than this program's.
    #[arg(long, value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// Do not count pending migrations as a fault.
    #[arg(long)]
    pub allow_pending: bool,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What is printed; the names are stable.
#[derive(Serialize)]
struct Answer {
    schema: u32,
    ok: bool,
    /// Those that are not applied as this program has them.
    migrations: Vec<Migration>,
    /// `null` where it could not be found out.
    drift: Option<Vec<Difference>>,
    findings: Vec<Finding>,
}

/// Runs the command.
pub(super) async fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let target = context.database()?.direct;
    let compared = drift::compare_with_migrations(&target).await?;
    let findings = findings(options, &target, &compared)?;
    let mut migrations = compared.migrations;
    migrations.retain(|one| one.state != State::Applied);
    let (drift, unknown) = match compared.differences {
        Ok(drift) => (drift, None),
        Err(error) => (None, Some(error)),
    };
    let ok = migrations
        .iter()
        .all(|one| options.allow_pending && one.state == State::Pending)
        && drift.as_ref().is_some_and(Vec::is_empty)
        && !findings.iter().any(Finding::is_fault);
    let answer = Answer {
        schema: 1,
        ok,
        migrations,
        drift,
        findings,
    };
    match options.format {
        Format::Json => output::json(&answer)?,
        Format::Table => output::data(&text(&answer))?,
    }
    match unknown {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::from(u8::from(!ok))),
    }
}

fn findings(
    options: &Options,
    target: &DatabaseTarget,
    compared: &Compared,
) -> anyhow::Result<Vec<Finding>> {
    let existing = compared.existing.clone();
    let Some(source) = &options.source else {
        return Ok(lint::pending(target, &compared.migrations, existing));
    };
    let mut new = files::ups(source, target)?;
    new.retain(|file| {
        let there = |one: &Migration| one.version == file.version && one.state != State::Pending;
        !compared.migrations.iter().any(there)
    });
    Ok(lint::read(target, &new, existing))
}

fn text(answer: &Answer) -> String {
    let mut text = String::new();
    if answer.migrations.is_empty() {
        text += "migrations: every one is applied\n";
    } else {
        text += &format!(
            "migrations: {} not as they should be\n",
            answer.migrations.len()
        );
        for one in &answer.migrations {
            text += &format!("  {}: {}\n", name(one), word(one.state));
        }
    }
    match &answer.drift {
        None => text += "drift: not known\n",
        Some(drift) if drift.is_empty() => text += "drift: none\n",
        Some(drift) => {
            let count = drift.len();
            let noun = if count == 1 {
                "difference"
            } else {
                "differences"
            };
            text +=
                &format!("drift: {count} {noun} (- what the migrations make, + what is there)\n");
            text += &diff(drift);
        }
    }
    if answer.findings.is_empty() {
        text += "new statements: nothing to say";
    } else {
        text += &format!("new statements: {} to think about", answer.findings.len());
        for one in &answer.findings {
            text += &format!(
                "\n  {} ({}): {}\n    rule     {}\n    what     {}\n    instead  {}",
                one.version, one.name, one.statement, one.rule, one.what, one.instead
            );
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
            text += &format!("    {}\n", one.object);
        }
        object = &one.object;
        for (sign, side) in [('-', &one.expected), ('+', &one.found)] {
            match (part, side) {
                (Some(part), Some(side)) => text += &format!("  {sign}   {part}: {side}\n"),
                (None, Some(side)) => text += &format!("  {sign} {side}\n"),
                (_, None) => {}
            }
        }
    }
    text
}
