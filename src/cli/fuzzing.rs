//! The entry points of the fuzz targets for what the command line reads. Each panics if a property
//! that holds for every input is violated.

#![allow(clippy::missing_panics_doc, reason = "a panic reports a finding")]

use std::fs;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::config::env_file::{assignments, parse};
use crate::diagnostics::explain::explain as explanation;
use crate::store::migrate;

use super::env_file::EnvFile;

/// A `.env` file: how it is read, and how one of its values is changed.
pub fn env_file(text: &str) {
    static DIRECTORY: LazyLock<Option<TempDir>> = LazyLock::new(|| tempfile::tempdir().ok());
    let Some(directory) = &*DIRECTORY else { return };
    let path = directory.path().join(".env");
    let mut expected = match parse(&path, text) {
        Ok((values, _)) => values,
        Err(error) => {
            // The file's text is not repeated.
            assert!(error.to_string().len() < 300);
            return;
        }
    };
    if fs::write(&path, text).is_err() {
        return;
    }
    let Ok(mut file) = EnvFile::open(&path) else {
        return;
    };
    file.set(NAME, VALUE);
    let is_saved = file.save().is_ok();
    let after = fs::read_to_string(&path).unwrap_or_default();
    if is_saved {
        expected.insert(NAME.to_owned(), VALUE.to_owned());
        assert_eq!(assignments(&after).ok(), Some(expected));
    } else {
        assert_eq!(after, text);
        assert!(!text.lines().all(is_plain), "a plain file can be changed");
    }
}

const NAME: &str = "PORT";
const VALUE: &str = "a value";

/// `NAME=value` without white space, quotes and variables.
fn is_plain(line: &str) -> bool {
    line.split_once('=').is_some_and(|(name, value)| {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
        is_name && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// A file of migrations: its statements are parts of it, in their order, and what is left out is
/// blank or comments.
pub fn statements(text: &str) {
    let mut left_out = String::new();
    let mut end = 0;
    for statement in migrate::statements(text) {
        assert!(!statement.contains("\n\n"));
        let start = statement.as_ptr().addr() - text.as_ptr().addr();
        left_out.push_str(&text[end..start]);
        end = start + statement.len();
    }
    left_out.push_str(&text[end..]);
    let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with("--");
    assert!(left_out.lines().all(is_comment));
}

/// A message from a log: it is explained alike in a line of JSON.
pub fn explain(text: &str) {
    let found = explanation(text);
    if let Some(id) = found.id {
        assert_eq!(explanation(id).id, Some(id));
        if !text.contains(['{', '\\', '\n', '\r']) {
            let line = serde_json::json!({ "message": text }).to_string();
            assert_eq!(explanation(&line), found);
        }
    }
}

#[cfg(test)]
mod tests {
    /// The seeds of the fuzzer, so that an ordinary test run covers the targets.
    #[test]
    fn every_target_runs() {
        super::env_file("# why\nPORT=8000\nexport HOST='0.0.0.0'\n");
        super::env_file("A='open");
        super::statements("-- why\nCREATE TABLE a (b int);\n\n-- end\n\nSELECT 1;");
        super::explain("FATAL: database \"nowhere\" does not exist");
    }
}
