//! Variables that several lines set.

use std::path::Path;

use crate::config::env_file::line::{Line, name, numbered};
use crate::config::env_file::{assignments, has_expansion, is_real};
use crate::config::error::Warning;
use crate::config::remedy::Remedy;
use crate::config::secret::Secret;
use crate::config::shell::sed;
use crate::config::variable::Variable;

/// A line without a value, or with the same one, beside another line of the same variable.
pub(super) struct Outdone {
    pub(super) name: String,
    /// The line among the whole ones, and its number in the file.
    pub(super) index: usize,
    pub(super) number: usize,
    /// The number of the line that counts.
    pub(super) by: usize,
    /// Whether that one has the same value.
    pub(super) is_same: bool,
}

pub(super) fn outdone(lines: &[Line<'_>]) -> Vec<Outdone> {
    let mut found = Vec::new();
    for Assigned { name, lines } in by_name(lines) {
        let Some((counts, first)) = lines.iter().find(|(_, value)| is_real(value)) else {
            continue;
        };
        for (line, value) in &lines {
            let is_same = value == first;
            if line.index == counts.index || is_real(value) && !is_same {
                continue;
            }
            found.push(Outdone {
                name: name.clone(),
                index: line.index,
                number: line.number,
                by: counts.number,
                is_same,
            });
        }
    }
    found
}

/// The lines of one variable, with their values.
struct Assigned<'l, 'a> {
    name: String,
    lines: Vec<(&'l Line<'a>, String)>,
}

/// The variables that several lines set, as far as todoctl knows them.
fn by_name<'l, 'a>(lines: &'l [Line<'a>]) -> Vec<Assigned<'l, 'a>> {
    let mut all: Vec<Assigned<'l, 'a>> = Vec::new();
    for line in lines {
        // A line of a broken file may be a part of a key.
        let known = name(line.text).filter(|name| Variable::of(name).is_some());
        let Some(name) = known.map(str::to_owned) else {
            continue;
        };
        // What is in the place of a variable in it depends on the other lines.
        let value = match assignments(line.text) {
            Ok(mut values) if !has_expansion(after_sign(line.text)) => values.remove(&name),
            _ => Some(after_sign(line.text).trim().to_owned()),
        };
        let one = (line, value.unwrap_or_default());
        match all.iter_mut().find(|known| known.name == name) {
            Some(known) => known.lines.push(one),
            None => all.push(Assigned {
                name,
                lines: vec![one],
            }),
        }
    }
    all.retain(|one| one.lines.len() > 1);
    all
}

/// What is written after the first `=`.
fn after_sign(line: &str) -> &str {
    line.split_once('=').map_or("", |(_, value)| value)
}

/// A variable that several lines give different values.
#[derive(Debug, Clone)]
pub(crate) struct Conflict {
    pub(crate) name: String,
    /// The numbers of the lines, each with a value that differs from the ones before.
    pub(crate) numbers: Vec<usize>,
    /// The lines are one line each, and not values of several lines.
    pub(crate) are_single: bool,
    values: Vec<Secret>,
}

impl Conflict {
    /// The number of the line that has this value.
    pub(crate) fn line_with(&self, value: &str) -> Option<usize> {
        let mut pairs = self.numbers.iter().zip(&self.values);
        pairs.find_map(|(number, own)| (own.expose() == value).then_some(*number))
    }

    /// `later` is the same when the other lines have been mended.
    pub(super) fn warning(&self, file: &Path, later: &Self) -> Warning {
        let name = &self.name;
        let place = file.display();
        let numbers: Vec<String> = self.numbers.iter().map(usize::to_string).collect();
        let (first, others) = match numbers.split_first() {
            Some((first, others)) => (first.as_str(), others.join(" and ")),
            None => ("", String::new()),
        };
        Warning {
            variable: name.clone(),
            message: format!(
                "is set in line {first} and again in line {others} of {place}, to another value: todoctl uses the first, Docker and systemd the last"
            ),
            remedy: later.remedy(file),
        }
    }

    /// Only a person knows which line is meant. The others become comments.
    fn remedy(&self, file: &Path) -> Remedy {
        let name = &self.name;
        if !self.are_single {
            return Remedy::note(format!(
                "delete the lines of {name} in {} that are not meant",
                file.display()
            ));
        }
        self.numbers.iter().fold(Remedy::default(), |all, kept| {
            let others = self.numbers.iter().filter(|one| *one != kept);
            let others: Vec<String> = others
                .map(|one| format!("-e '{one}s/^[^#]*{name} *=/#&/'"))
                .collect();
            all.then(Remedy::note(format!(
                "if line {kept} is right: {}",
                sed(&others.join(" "), file)
            )))
        })
    }
}

/// The variables that have several values.
pub(crate) fn conflicts(text: &str) -> Vec<Conflict> {
    let lines = numbered(text);
    let mut found = Vec::new();
    for assigned in by_name(&lines) {
        let mut conflict = Conflict {
            name: assigned.name,
            numbers: Vec::new(),
            are_single: true,
            values: Vec::new(),
        };
        for (line, value) in assigned.lines {
            let is_new = conflict.values.iter().all(|one| one.expose() != value);
            if is_real(&value) && is_new {
                conflict.numbers.push(line.number);
                conflict.values.push(Secret::new(value));
                conflict.are_single &= line.text.trim_end().lines().count() == 1;
            }
        }
        if conflict.numbers.len() > 1 {
            found.push(conflict);
        }
    }
    found
}
