//! What is read from standard input.

use std::io::{self, Read as _};

use anyhow::{Context as _, bail};

/// More than a URL or a pasted log line ever is.
const MAX: u64 = 1024 * 1024;

/// Everything that stands there, without the white space around it.
pub fn text() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(MAX)
        .read_to_end(&mut bytes)
        .context("standard input cannot be read")?;
    // Logs hold anything.
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// One line, which must not be empty.
pub fn line() -> anyhow::Result<String> {
    let text = text()?;
    if text.is_empty() {
        bail!("nothing came from standard input");
    }
    Ok(text)
}
