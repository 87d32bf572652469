//! Reads standard input.

use std::io::{self, Read as _};

use anyhow::{Context as _, bail};

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
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// All of standard input, which must not be empty.
pub(crate) fn line() -> anyhow::Result<String> {
    let text = text()?;
    if text.is_empty() {
        bail!("standard input is empty");
    }
    Ok(text)
}
