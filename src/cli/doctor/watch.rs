//! `todoctl doctor --watch`: runs the checks again and again.

use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use crate::cli::output;
use crate::cli::output::report::{self, ReportFormat};
use crate::cli::reporting::ReportOptions;
use crate::cli::signals::ExitOnSignal;
use crate::diagnostics::Report;

/// Ends as soon as nobody reads stdout any more, or on SIGINT and SIGTERM; with the exit code of
/// the last run.
///
/// The pause begins when a run has ended, so a slow run delays the next one. Each run reads `.env`
/// and connects anew, so that it finds what a daemon that starts at this time would find.
pub(super) async fn watch(
    reporting: &ReportOptions,
    pause: Duration,
    diagnose: impl AsyncFn() -> Report,
    on_signal: &ExitOnSignal,
) -> anyhow::Result<ExitCode> {
    if reporting.format == ReportFormat::Prometheus && reporting.output.is_none() {
        bail!("--watch --format prometheus writes to a file: add --output FILE");
    }
    let mut last: Option<Report> = None;
    let mut code = 0;
    let mut unread = pin!(reporting.unread());
    loop {
        let report = tokio::select! {
            report = diagnose() => report,
            () = &mut unread => return Ok(ExitCode::from(code)),
        };
        code = reporting.exit_code(&report);
        on_signal.set_code(code);
        let is_read = if reporting.output.is_some() {
            reporting.write(&report)?;
            true
        } else {
            match reporting.format {
                ReportFormat::Json => output::data_if_read(&serde_json::to_string(&report)?)?,
                _ if io::stdout().is_terminal() => {
                    output::redraw(&report::screen(&report, reporting.verbose, pause))?
                }
                _ => match report::changes(&report, last.as_ref()) {
                    Some(text) => output::data_if_read(&text)?,
                    None => true,
                },
            }
        };
        if !is_read {
            return Ok(ExitCode::from(code));
        }
        last = Some(report);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut unread => return Ok(ExitCode::from(code)),
        }
    }
}
