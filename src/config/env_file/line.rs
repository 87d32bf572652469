//! One line of a `.env` file.

use super::parse::{assignments, is_real};

/// More lines than a key has.
const MOST_LINES: usize = 200;

/// The lines of the file, each with its end. A quoted value of several lines, such as a key in PEM,
/// is one line.
pub(crate) fn whole_lines(text: &str) -> Vec<&str> {
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

/// The name that a line assigns something to.
pub(crate) fn name(line: &str) -> Option<&str> {
    let (left, _) = line.split_once('=')?;
    let words = left.trim();
    let words = words.strip_prefix("export ").map_or(words, str::trim);
    let name = words.trim_start_matches('\u{feff}');
    is_name(name).then_some(name)
}

/// Whether readers take the text for the name of a variable.
pub(crate) fn is_name(text: &str) -> bool {
    let is_part = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '.');
    !text.starts_with(|sign: char| sign.is_ascii_digit() || sign == '.')
        && !text.is_empty()
        && text.chars().all(is_part)
}

/// A line `NAME=value`, with the text around the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) before: String,
    pub(crate) value: String,
    pub(crate) after: String,
}

impl Assignment {
    /// The assignment to `name`, if `line` is one.
    pub(crate) fn of(line: &str, name: &str) -> Option<Self> {
        if self::name(line)? != name {
            return None;
        }
        let (left, right) = line.split_once('=')?;
        let blank = right.len() - right.trim_start_matches([' ', '\t']).len();
        let (blank, rest) = right.split_at(blank);
        let end = match rest.chars().next() {
            // What follows the quote without a blank is a part of the value.
            Some(quote @ ('"' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |end| {
                let after = &rest[end + 2..];
                end + 2 + after.find([' ', '\t', '\r', '\n']).unwrap_or(after.len())
            }),
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

    pub(crate) fn is_real(&self) -> bool {
        is_real(&self.value)
    }
}

/// A whole line, its place among them, and its number in the file, from 1.
pub(crate) struct Line<'a> {
    pub(crate) index: usize,
    pub(crate) number: usize,
    pub(crate) text: &'a str,
}

/// The whole lines of the file.
pub(crate) fn numbered(text: &str) -> Vec<Line<'_>> {
    let mut number = 1;
    let numbered = whole_lines(text)
        .into_iter()
        .enumerate()
        .map(|(index, text)| {
            let line = Line {
                index,
                number,
                text,
            };
            number += text.matches('\n').count();
            line
        });
    numbered.collect()
}
