//! Values with blanks and without quotes, which `docker run --env-file` and systemd read to the end of
//! the line, and others refuse.

use crate::config::env_file::assignments;

/// The line with quotes around its value, where no reader takes another value from it.
pub(super) fn quoted(line: &str) -> Option<String> {
    if assignments(line).is_ok() {
        return None;
    }
    let (left, right) = line.split_once('=')?;
    let (value, comment) = right.split_at(right.find(" #").unwrap_or(right.trim_end().len()));
    // At the end of the file a blank without a line break is an error.
    let comment = match comment.trim() {
        "" => comment.trim_matches([' ', '\t']),
        _ => comment,
    };
    let value = value.trim();
    if value.starts_with(['"', '\'']) || value.contains(['\r', '\n']) {
        return None;
    }
    let is_plain = !value.contains(['"', '$', '\\', '`']);
    let quote = if !value.contains('\'') {
        '\''
    } else if is_plain {
        '"'
    } else {
        return None;
    };
    let whole = format!("{left}={quote}{value}{quote}{comment}");
    assignments(&whole).is_ok().then_some(whole)
}
