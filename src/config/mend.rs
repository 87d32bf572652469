//! Lines of a `.env` file that are not what they look like, and how they are written without losing a
//! value. `todoctl config respell` writes them so.

use std::path::Path;

use super::env_file::assignments;
use super::env_file::line::{Line, is_name, name, numbered, whole_lines};
use super::error::{ConfigError, Warning};
use super::invisible;
use super::remedy::Remedy;
use super::source::Source;
use super::variable::Variable;
use foreign::as_assignment;
use glued::second_variable;
use repeated::{Outdone, outdone};
use unquoted::quoted;

mod foreign;
mod glued;
mod repeated;
mod unquoted;

pub(crate) use repeated::conflicts;

/// A line, and what is written in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mend {
    /// The variable of the line, where todoctl knows it.
    pub(crate) name: Option<String>,
    pub(crate) fault: Fault,
    /// Of the line in the file, from 1.
    pub(crate) number: usize,
    /// The line among the whole ones, and its new text.
    pub(super) index: usize,
    pub(super) text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An invisible character, which is named, beside or in the name.
    Invisible(String),
    /// This variable begins within the line.
    Glued(String),
    /// It is written as in another file.
    Foreign,
    /// A character of the name, which is told, only looks like the right one.
    Lookalike(String),
    /// It has no value, or a placeholder, and the line with this number has a value.
    Outdone(usize),
    /// The line with this number has the same value.
    Repeated(usize),
    /// Its value has blanks, and no quotes around it.
    Unquoted,
}

impl Mend {
    /// Whether the line's value is not what was meant.
    fn is_glued(&self) -> bool {
        matches!(self.fault, Fault::Glued(_))
    }

    /// What is wrong, as a predicate of the variable, or of the file where it has none.
    pub(crate) fn message(&self, file: &Path) -> String {
        let place = format!("line {} of {}", self.number, file.display());
        match &self.fault {
            Fault::Invisible(sign) => {
                format!("has an invisible character ({sign}) beside or in its name in {place}")
            }
            Fault::Glued(second) => {
                format!("has another variable in {place}: {second} begins there, and so is not set")
            }
            Fault::Foreign => format!("is not written as NAME=value in {place}"),
            Fault::Lookalike(sign) => format!(
                "has a character ({sign}) in {place} that only looks like one of its name, or like the equals sign"
            ),
            Fault::Outdone(other) => format!(
                "is empty or a placeholder in {place}; line {other} has a value, which counts here, but other programs take the last"
            ),
            Fault::Unquoted => {
                format!("has a value with blanks and without quotes around it in {place}")
            }
            Fault::Repeated(other) => {
                format!("has its value in line {other}, and again in {place}")
            }
        }
    }

    fn warning(&self, file: &Path) -> Warning {
        let whole_file = || file.display().to_string();
        Warning {
            variable: self.name.clone().unwrap_or_else(whole_file),
            message: self.message(file),
            remedy: remedy(),
        }
    }
}

/// What mends them all.
fn remedy() -> Remedy {
    Remedy::command("todoctl config respell")
}

/// What is said about the lines of the file that `source` was read from.
pub(crate) fn warnings(source: &Source) -> Vec<Warning> {
    let Some(file) = source.file() else {
        return Vec::new();
    };
    let mends = described(source.text(), file);
    // Their remedy is typed when the lines have been mended, and may have other numbers.
    let then = conflicts(&mended(source.text()));
    let now = conflicts(source.text());
    let conflicts = now.iter().map(|one| {
        let later = then.iter().find(|other| other.name == one.name);
        one.warning(file, later.unwrap_or(one))
    });
    mends.into_iter().chain(conflicts).collect()
}

/// What is said about lines that can be mended. A whole file of another kind is one fault.
fn described(text: &str, file: &Path) -> Vec<Warning> {
    let (foreign, others): (Vec<Mend>, Vec<Mend>) = mends(text)
        .into_iter()
        .partition(|one| one.fault == Fault::Foreign);
    let mut said: Vec<Warning> = others.iter().map(|one| one.warning(file)).collect();
    match foreign.first() {
        Some(first) if foreign.len() > FEW => said.push(Warning {
            variable: file.display().to_string(),
            message: format!(
                "has {} lines that are not written as NAME=value, from line {} on",
                foreign.len(),
                first.number
            ),
            remedy: remedy(),
        }),
        _ => said.extend(foreign.iter().map(|one| one.warning(file))),
    }
    said
}

/// So many lines are named one by one.
const FEW: usize = 3;

/// What is said about each variable whose value has another variable in it.
pub(crate) fn glued(source: &Source) -> Vec<Warning> {
    let Some(file) = source.file() else {
        return Vec::new();
    };
    let mends = mends(source.text()).into_iter();
    let glued = mends.filter(Mend::is_glued);
    glued.map(|one| one.warning(file)).collect()
}

/// Reads the environment and the file as [`Source::load_what_can_be_read`] does. Of a file that cannot
/// be read because of lines that can be mended, it says which ones these are.
pub(crate) fn read_source(env_file: Option<&Path>) -> (Source, Option<ConfigError>) {
    let (source, error) = Source::load_what_can_be_read(env_file);
    let error = error.map(|error| {
        let text = source.text();
        let is_enough = assignments(&mended(text)).is_ok();
        let file = source.file().filter(|_| is_enough);
        file.map_or(error, |file| ConfigError {
            problems: described(text, file).into_iter().map(Into::into).collect(),
        })
    });
    (source, error)
}

/// The lines of `text` that can be mended.
pub(crate) fn mends(text: &str) -> Vec<Mend> {
    let lines = numbered(text);
    let mut found: Vec<Mend> = lines.iter().filter_map(of_line).collect();
    found.extend(outdone(&lines).into_iter().map(removed));
    found.sort_by_key(|one| one.index);
    // One change of a line at a time.
    found.dedup_by_key(|one| one.index);
    found
}

/// The text with all of them mended.
pub(crate) fn mended(text: &str) -> String {
    let mut text = text.to_owned();
    // A line that was mended may show another fault.
    for _ in 0..MOST_ROUNDS {
        let found = mends(&text);
        if found.is_empty() {
            break;
        }
        let mut lines: Vec<String> = whole_lines(&text).into_iter().map(str::to_owned).collect();
        for one in found {
            lines[one.index] = one.text;
        }
        text = lines.concat();
    }
    text
}

/// More variables than anybody has put into one line.
const MOST_ROUNDS: usize = 20;

/// A line beside another one of the same variable goes.
fn removed(one: Outdone) -> Mend {
    Mend {
        name: Some(one.name),
        fault: if one.is_same {
            Fault::Repeated(one.by)
        } else {
            Fault::Outdone(one.by)
        },
        number: one.number,
        index: one.index,
        text: String::new(),
    }
}

fn of_line(line: &Line<'_>) -> Option<Mend> {
    let of = |name: Option<String>, fault: Fault, text: String| {
        Some(Mend {
            name,
            fault,
            number: line.number,
            index: line.index,
            text,
        })
    };
    if let Some((sign, clean)) = without_invisible(line) {
        let name = name(&clean)
            .filter(|name| Variable::of(name).is_some())
            .map(str::to_owned);
        return of(name, Fault::Invisible(sign), clean);
    }
    if let Some(written) = as_assignment(line.text) {
        let name = name(&written).filter(|name| Variable::of(name).is_some());
        let fault = lookalike(line.text, name).map_or(Fault::Foreign, Fault::Lookalike);
        return of(name.map(str::to_owned), fault, written);
    }
    let Some((at, second)) = second_variable(line.text) else {
        let name = name(line.text).filter(|name| Variable::of(name).is_some())?;
        return of(Some(name.to_owned()), Fault::Unquoted, quoted(line.text)?);
    };
    let (first, rest) = line.text.split_at(at);
    let end = if line.text.contains("\r\n") {
        "\r\n"
    } else {
        "\n"
    };
    let text = format!("{}{end}{rest}", first.trim_end());
    let name = name(first)
        .filter(|name| Variable::of(name).is_some())
        .map(str::to_owned);
    of(name, Fault::Glued(second), text)
}

/// The code point of the first sign of a name, or after it, that is not ASCII.
fn lookalike(line: &str, name: Option<&str>) -> Option<String> {
    let length = name?.chars().count() + 1;
    let sign = line
        .trim_start()
        .chars()
        .take(length)
        .find(|sign| !sign.is_ascii())?;
    Some(invisible::code_point(sign))
}

/// A line without the invisible characters beside or in its name, and the first of them. Those of a
/// value are a part of it.
fn without_invisible(line: &Line<'_>) -> Option<(String, String)> {
    // At the beginning of the file a byte-order mark is skipped by its reader.
    let begin = if line.number == 1 { "\u{feff}" } else { "" };
    let text = line.text.strip_prefix(begin).unwrap_or(line.text);
    let (left, right) = match text.split_once('=') {
        Some((left, _)) if !left.trim_start().starts_with('#') => text.split_at(left.len()),
        _ if text.trim_start().starts_with('#') => return None,
        _ => (text, ""),
    };
    let sign = invisible::first(left)?;
    let clean = invisible::removed(left);
    let words = clean.trim();
    let is_assignment = is_name(words.strip_prefix("export ").map_or(words, str::trim));
    let is_nothing = right.is_empty() && (words.is_empty() || words.starts_with('#'));
    let is_comment = words.starts_with('#');
    let is_mended = is_nothing || is_comment || !right.is_empty() && is_assignment;
    is_mended.then(|| (sign, format!("{clean}{right}")))
}

#[cfg(test)]
mod tests;
