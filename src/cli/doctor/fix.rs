//! `todoctl doctor --fix`: shows what checks offer to fix, asks, and carries it out.
//!
//! A mode is set by one call, a file is replaced in one step, and the database is changed under
//! the migration lock. Each step does no harm when it is done twice, so nothing needs to be undone
//! after Ctrl-C, and a second `--fix` at the same time finds the work done.

use std::fs::{self, Permissions};
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cli::config::edit::respell_names;
use crate::cli::context::Context;
use crate::cli::env_file::EnvFile;
use crate::cli::output;
use crate::cli::own_file::OwnFile;
use crate::clock::Clock;
use crate::config::DatabaseConfig;
use crate::diagnostics::{Finding, Fix, FixOutcome, Fixed, Report};
use crate::store::migrate::{self, LockWait, Up};
use crate::store::{causes, compare_urls};

/// How long a fix waits while another process migrates or fixes.
const LOCK_LIMIT: Duration = Duration::from_secs(30);

/// How fixes are confirmed and recorded.
#[derive(Debug, clap::Args)]
pub(super) struct FixOptions {
    /// Fix what is safe to fix, after asking: modes, migrations, schema, .env.
    #[arg(long)]
    pub(super) fix: bool,
    /// Do not ask before a fix.
    #[arg(long, short, requires = "fix")]
    yes: bool,
    /// Append what --fix does to this file; it is also printed to stderr.
    #[arg(long, value_name = "FILE", requires = "fix")]
    log: Option<std::path::PathBuf>,
}

/// Fixes of one run of the command.
pub(super) struct Fixer {
    may_ask: bool,
    yes: bool,
    log: Option<OwnFile>,
    clock: Clock,
    /// Every fix that was shown, in order.
    fixed: Vec<Fixed>,
}

impl Fixer {
    /// Fails if the log cannot be written: nothing is fixed without it.
    pub(super) fn new(options: &FixOptions, clock: Clock) -> anyhow::Result<Self> {
        let log = options.log.as_deref().map(open_log).transpose()?;
        Ok(Self {
            may_ask: io::stdin().is_terminal(),
            yes: options.yes,
            log,
            clock,
            fixed: Vec::new(),
        })
    }

    /// Offers the fixes of `report` that were not offered before. Whether one was carried out.
    pub(super) async fn offer(
        &mut self,
        report: &Report,
        context: &Context,
    ) -> anyhow::Result<bool> {
        let mut is_changed = false;
        for finding in report.findings() {
            for fix in &finding.fixes {
                let action = fix.action();
                if self.fixed.iter().any(|one| one.action == action) {
                    continue;
                }
                let (outcome, error) = self.try_one(finding, fix, context).await?;
                is_changed |= outcome == FixOutcome::Done;
                self.fixed.push(Fixed {
                    check: finding.id,
                    action,
                    outcome,
                    error,
                });
            }
        }
        Ok(is_changed)
    }

    /// What was shown and done.
    pub(super) fn finish(self) -> Vec<Fixed> {
        if self.fixed.is_empty() {
            output::note("nothing that --fix can do");
        }
        if self.has(FixOutcome::Offered) {
            output::note("Not a terminal, so nothing was fixed: add --yes");
        }
        self.fixed
    }

    fn has(&self, outcome: FixOutcome) -> bool {
        self.fixed.iter().any(|one| one.outcome == outcome)
    }

    async fn try_one(
        &self,
        finding: &Finding,
        fix: &Fix,
        context: &Context,
    ) -> anyhow::Result<(FixOutcome, Option<String>)> {
        let action = fix.action();
        let id = finding.id;
        if !self.yes {
            if !self.may_ask {
                return Ok((FixOutcome::Offered, None));
            }
            let question = format!("{id}: {}\nfix: {action}\nDo this?", finding.detail);
            if !output::confirm(&question, false)? {
                return Ok((FixOutcome::Declined, None));
            }
        }
        self.record(id, &format!("begin: {action}"))?;
        match carry_out(fix, context).await {
            Ok(()) => {
                self.record(id, &format!("done: {action}"))?;
                Ok((FixOutcome::Done, None))
            }
            Err(error) => {
                let error = causes(error.as_ref()).join(": ");
                self.record(id, &format!("failed: {action}: {error}"))?;
                Ok((FixOutcome::Failed, Some(error)))
            }
        }
    }

    /// Without a line in the log nothing is done.
    fn record(&self, id: &str, text: &str) -> anyhow::Result<()> {
        let line = format!("{} {id} {text}", self.clock.now());
        output::note(&line);
        if let Some(log) = &self.log {
            log.append(&format!("{line}\n"), 0o600)
                .context("cannot write the log of --fix")?;
        }
        Ok(())
    }
}

fn open_log(path: &Path) -> anyhow::Result<OwnFile> {
    let failed = || format!("cannot write to {}", path.display());
    let log = OwnFile::at(path).with_context(failed)?;
    log.append("", 0o600).with_context(failed)?;
    Ok(log)
}

async fn carry_out(fix: &Fix, context: &Context) -> anyhow::Result<()> {
    match fix {
        Fix::Mode { path, mode } => set_mode(path, *mode),
        Fix::Statements(statements) => {
            let database = database(context).await?;
            let wait = LockWait::new(LOCK_LIMIT, &output::note);
            Ok(migrate::repair(&database.direct, statements, wait).await?)
        }
        Fix::Migrate => {
            let database = database(context).await?;
            let wait = LockWait::new(LOCK_LIMIT, &output::note);
            migrate::up_with(&database.direct, &context.clock(), Up::default(), wait).await?;
            Ok(())
        }
        Fix::Stamp => {
            let database = database(context).await?;
            let wait = LockWait::new(LOCK_LIMIT, &output::note);
            migrate::stamp(&database.direct, wait).await?;
            Ok(())
        }
        // An earlier fix may have changed the file.
        Fix::Respell(names) => respell_names(names, &context.read_again()).map(|_| ()),
        Fix::LineEnds(path) => {
            let mut file = EnvFile::open(path)?;
            file.set_plain_line_ends();
            Ok(file.save()?)
        }
    }
}

async fn database(context: &Context) -> anyhow::Result<DatabaseConfig> {
    let database = DatabaseConfig::load(context.source())?.value;
    compare_urls(&database).await?;
    Ok(database)
}

/// The owner is looked at again: the file may have been replaced since it was shown.
fn set_mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    let path = fs::canonicalize(path)?;
    let user = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(&path)?.uid();
    if owner != user {
        bail!("it belongs to user {owner}, and this command runs as user {user}");
    }
    Ok(fs::set_permissions(&path, Permissions::from_mode(mode))?)
}
