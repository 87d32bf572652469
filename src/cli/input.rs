//! Reads standard input.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::output;

/// Longer than any URL or pasted log line.
const MAX_BYTES: u64 = 1024 * 1024;

/// All of standard input, trimmed.
pub(crate) fn text() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    // Logs may contain bytes that are not UTF-8.
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_start_matches('\u{feff}').trim().to_owned())
}

/// A secret, which a terminal does not show while it is typed; all of standard input otherwise.
pub(crate) fn secret(prompt: &str) -> anyhow::Result<String> {
    let stdin = io::stdin();
    let shown = match tcgetattr(&stdin) {
        Ok(shown) if stdin.is_terminal() => shown,
        _ => return line(),
    };
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    output::note(prompt);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let mut text = String::new();
    let read = stdin.lock().read_line(&mut text);
    tcsetattr(&stdin, OptionalActions::Now, &shown)?;
    read.context("cannot read standard input")?;
    let text = text.trim();
    if text.is_empty() {
        bail!("nothing was typed");
    }
    Ok(text.to_owned())
}

/// All of standard input, which must not be empty.
pub(crate) fn line() -> anyhow::Result<String> {
    let text = text()?;
    if text.is_empty() {
        bail!("standard input is empty");
    }
    Ok(text)
}
