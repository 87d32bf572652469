//! What is read from standard input.

use std::io::{self, Read as _};

use anyhow::{Context as _, bail};

/// More than a URL or a pasted log line ever is.
const MAX: u64 = 1024 * 1024;

/// Everything that stands there, without the white space around it.
pub fn text() -> anyhow::Result<String> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(MAX)
        .read_to_string(&mut text)
        .context("standard input cannot be read as UTF-8 text")?;
    Ok(text.trim().to_owned())
}

/// One line, which must not be empty.
pub fn line() -> anyhow::Result<String> {
    let text = text()?;
    if text.is_empty() {
        bail!("nothing came from standard input");
    }
    Ok(text)
}
