//! How a line of a `.env` file is written.

/// The value as the file's reader gets it back: in quotes only if it must be.
pub(super) fn quoted(value: &str) -> String {
    let is_plain = |sign: char| !sign.is_whitespace() && !"#$\"'\\`".contains(sign);
    if value.chars().all(is_plain) {
        value.to_owned()
    } else if !value.contains('\'') {
        format!("'{value}'")
    } else {
        let escaped = value.chars().flat_map(|sign| {
            let backslash = "\"$\\".contains(sign).then_some('\\');
            backslash.into_iter().chain([sign])
        });
        format!("\"{}\"", escaped.collect::<String>())
    }
}

/// A line of the file as a comment.
pub(super) fn commented(line: &str) -> String {
    let end = if line.ends_with('\n') { "" } else { "\n" };
    let lines = line.trim_start_matches('\u{feff}').split_inclusive('\n');
    lines.flat_map(|one| ["#", one]).chain([end]).collect()
}
