//! One line of a `.env` file.

use crate::config::env_file::assignments;
use crate::config::is_placeholder;

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

/// More lines than a key has.
const MOST_LINES: usize = 200;

/// The lines of the file, each with its end. A quoted value of several lines, such as a key in PEM,
/// is one line.
pub(super) fn whole_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut ends = rest.match_indices('\n').map(|(at, _)| at + 1);
        let first = ends.next().unwrap_or(rest.len());
        let is_open = assignments(&rest[..first]).is_err();
        let is_whole = |end: &usize| assignments(&rest[..*end]).is_ok();
        let others = ends.chain([rest.len()]).take(MOST_LINES);
        let end = Some(first)
            .filter(|_| !is_open)
            .or_else(|| others.into_iter().find(is_whole))
            .unwrap_or(first);
        let (line, next) = rest.split_at(end);
        lines.push(line);
        rest = next;
    }
    lines
}

/// A line `NAME=value`, with the text around the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) before: String,
    pub(super) value: String,
    pub(super) after: String,
}

impl Assignment {
    /// The assignment to `name`, if `line` is one.
    pub(super) fn of(line: &str, name: &str) -> Option<Self> {
        let (left, right) = line.split_once('=')?;
        let words = left.trim();
        let words = words.strip_prefix("export ").map_or(words, str::trim);
        if words.trim_start_matches('\u{feff}') != name {
            return None;
        }
        let blank = right.len() - right.trim_start_matches([' ', '\t']).len();
        let (blank, rest) = right.split_at(blank);
        let end = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
            // A # begins a comment after white space, and directly after the =.
            _ => rest
                .find([' ', '\t', '\r', '\n'])
                .unwrap_or(rest.len())
                .min(if rest.starts_with('#') { 0 } else { rest.len() }),
        };
        let (value, after) = rest.split_at(end);
        let space = if after.starts_with('#') { " " } else { "" };
        Some(Self {
            before: format!("{left}={blank}"),
            value: value.trim_matches(['"', '\'']).to_owned(),
            after: format!("{space}{after}"),
        })
    }

    pub(super) fn is_real(&self) -> bool {
        !self.value.trim().is_empty() && !is_placeholder(&self.value)
    }
}
