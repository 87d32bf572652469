//! The options and the delivery of reports, the same for every command that runs checks.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Remedy;
use crate::diagnostics::Report;

use super::hint::Hint;
use super::output;
use super::output::report::{self, ReportFormat};
use super::own_file::OwnFile;

/// `node_exporter` runs as another user. A report holds no secret.
const MODE: u32 = 0o644;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReportOptions {
    /// Exit with 1 on warnings too.
    #[arg(long)]
    strict: bool,
    /// Print every check, also those that passed.
    #[arg(long, short)]
    pub(super) verbose: bool,
    /// How the report is printed.
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: ReportFormat,
    /// Write the report to this file, in one step, instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

impl ReportOptions {
    /// The same, listing every check if `all` is true.
    pub(super) fn listing(&self, all: bool) -> Self {
        Self {
            verbose: self.verbose || all,
            ..self.clone()
        }
    }

    /// Prints the report or writes it to the file; the exit code.
    pub(crate) fn deliver(&self, report: &Report) -> anyhow::Result<ExitCode> {
        match &self.output {
            Some(_) => self.write(report)?,
            None => output::data(&report::text(report, self.format, self.verbose)?)?,
        }
        Ok(ExitCode::from(self.exit_code(report)))
    }

    /// Waits until nobody can read the report any more.
    pub(super) async fn unread(&self) {
        if self.output.is_some() {
            std::future::pending::<()>().await;
        } else {
            output::reader_gone().await;
        }
    }

    pub(super) fn exit_code(&self, report: &Report) -> u8 {
        report.exit_code(self.strict)
    }

    /// Replaces the file of `--output`, if there is one.
    pub(super) fn write(&self, report: &Report) -> anyhow::Result<()> {
        let Some(path) = &self.output else {
            return Ok(());
        };
        let mut text = report::plain_text(report, self.format, self.verbose)?;
        text.push('\n');
        let written = OwnFile::at(path).and_then(|file| file.write(text.as_bytes(), MODE));
        written.map_err(|error| {
            let what = format!("cannot write the report to {}", path.display());
            let remedy = "name a regular file of this user, in a directory that it may write to";
            Hint::of(error, what, Remedy::note(remedy)).into()
        })
    }
}
