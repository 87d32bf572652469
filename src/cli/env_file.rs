//! Changing a `.env` file without touching anything else in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::env_file::line::{Assignment, whole_lines};
use crate::config::env_file::{assignments, commented as commented_values, has_expansion};
use crate::config::{
    Barrier, Remedy, SecretName, Source, Variable, environment_of, here, is_placeholder,
    keeps_previous, mended, mends, nearest, other_spelling, run_by, shell_word,
};

use super::hint::Hint;
use super::own_file::OwnFile;

mod line;
#[cfg(test)]
mod tests;

use line::{commented, quoted};

/// A `.env` file and the changes to it, which [`EnvFile::save`] writes in one step.
#[derive(Debug)]
pub(crate) struct EnvFile {
    own: OwnFile,
    /// As the user named it.
    place: PathBuf,
    text: String,
    /// What a reader of the file has to get in the end.
    values: BTreeMap<String, String>,
}

impl EnvFile {
    /// Reads the file, which need not exist. A symbolic link stays: the file that it points to is
    /// changed. Fails if that is no regular file of this user; root may change one of another user.
    pub(crate) fn open(path: &Path) -> Result<Self, Hint> {
        let own = OwnFile::of_service(path).map_err(|error| failed(path, error, "written"))?;
        let text = match fs::read_to_string(own.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(path, error, "read")),
        };
        Ok(Self {
            own,
            place: path.to_owned(),
            // What cannot be read is found when the file is saved.
            values: assignments(&text).unwrap_or_default(),
            text,
        })
    }

    /// The text with the changes.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The value that a reader gets.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value that a reader gets, to change it. Fails if another one is written, which the change
    /// would lose: a reader puts the value of a variable, or nothing, in the place of `$` and a name.
    pub(crate) fn written_value(&self, name: &str) -> Result<Option<&str>, Hint> {
        let lines = self.lines();
        for (index, _) in self.found(name) {
            if lines[index]
                .split_once('=')
                .is_some_and(|(_, value)| has_expansion(value))
            {
                let place = self.place.display();
                return Err(Hint::new(
                    format!(
                        "{name} has $ in line {} of {place}, and what readers put in the place of the name after it is not the value that is written there",
                        index + 1
                    ),
                    Remedy::note(format!(
                        "where the $ is meant as it is, first put the value into single quotes in {place}; where it is a reference, change the line with an editor, so that it stays one; otherwise set it as a whole; this reads it without showing it: todoctl config set {name}=-"
                    )),
                ));
            }
        }
        Ok(self.value(name))
    }

    /// Whether a line assigns something to `name` that is neither empty nor a placeholder.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.found(name).iter().any(|(_, one)| one.is_real())
    }

    /// Gives `name` the value in every line that assigns it, because readers differ in which one
    /// counts; in a new line if there is none.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
        let written = quoted(value);
        let found = self.found(name);
        let mut lines: Vec<String> = self.lines();
        for (index, assignment) in &found {
            lines[*index] = format!("{}{written}{}", assignment.before, assignment.after);
        }
        self.text = lines.concat();
        if found.is_empty() {
            self.append(&format!("{name}={written}"));
        }
    }

    fn append(&mut self, line: &str) {
        let line_end = if self.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        };
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push_str(line_end);
        }
        self.text.push_str(line);
        self.text.push_str(line_end);
    }

    /// Gives a variable another value. No value of one of todoctl's own secrets is lost: the old
    /// one is kept as `NAME_PREVIOUS` if the program can use it there, so that what was made with
    /// it stays valid, and in a comment otherwise. Returns whether a comment was written.
    pub(crate) fn rotate(&mut self, name: &str, value: &str) -> bool {
        let old = self.values.get(name).cloned();
        let is_previous = old.is_some_and(|old| self.keep_as_previous(name, &old, value));
        let found = self.found(name);
        let counts = found.iter().position(|(_, one)| one.is_real());
        let lines = self.lines();
        let is_kept = |position: usize, old: &str| {
            (counts == Some(position) && is_previous)
                || old == value
                || value.ends_with(&format!(",{old}"))
                || other_spelling(name, old).is_some_and(|old| old == value)
        };
        let mut lost: Vec<String> = Vec::new();
        if is_own_secret(name) {
            for (position, (index, one)) in found.iter().enumerate() {
                if one.is_real() && !is_kept(position, &one.value) {
                    lost.push(commented(&lines[*index]));
                }
            }
        }
        self.set(name, value);
        let is_commented = !lost.is_empty();
        if let Some((first, _)) = found.first() {
            let mut lines = self.lines();
            lines.splice(first..first, lost);
            self.text = lines.concat();
        }
        is_commented
    }

    /// Keeps the old value of a secret that is replaced elsewhere, as [`EnvFile::rotate`] does.
    pub(crate) fn keep(&mut self, name: &str, old: &str, new: &str) -> bool {
        let is_real = !old.is_empty() && !is_placeholder(old);
        let is_same = old == new || other_spelling(name, old).is_some_and(|old| old == new);
        if !is_real || is_same || self.keep_as_previous(name, old, new) || !is_own_secret(name) {
            return false;
        }
        for line in old.lines() {
            self.append(&format!("#{name}={line}"));
        }
        true
    }

    fn keep_as_previous(&mut self, name: &str, old: &str, new: &str) -> bool {
        let old = other_spelling(name, old).unwrap_or_else(|| old.to_owned());
        // A file that cannot be read is found when it is saved.
        let source = Source::with_file_text(&self.place, &self.text).unwrap_or_default();
        let previous = keeps_previous(name, &old, environment_of(&source));
        let Some(previous) = previous.filter(|_| old != new) else {
            return false;
        };
        // A variable and its file must not both be set.
        if self.has(&format!("{}_FILE", previous.variable)) {
            return false;
        }
        let earlier = self.values.get(previous.variable);
        let kept = match earlier.filter(|_| previous.is_list) {
            Some(earlier) if !earlier.trim().is_empty() => format!("{old},{earlier}"),
            _ => old,
        };
        self.rotate(previous.variable, &kept);
        true
    }

    /// Mends the lines that are not what they look like. Returns what was wrong with them.
    pub(crate) fn mend(&mut self) -> Vec<String> {
        let said = mends(&self.text).into_iter().map(|one| {
            let message = one.message(&self.place);
            match one.name {
                Some(name) => format!("{name} {message}"),
                None => message,
            }
        });
        let said = said.collect();
        let hash_secret = SecretName::SessionHashSecret;
        let in_use = self.values.get(hash_secret.as_str()).cloned();
        self.text = mended(&self.text);
        // What still cannot be read is found when the file is saved.
        self.values = assignments(&self.text).unwrap_or_default();
        // Sessions were made with the value that had another variable in it. It stays in quotes, so
        // that it is not divided again.
        let previous = hash_secret.previous();
        if let Some(old) = in_use.filter(|old| hash_secret.is_strong(old) && !old.contains('\''))
            && self.value(hash_secret.as_str()) != Some(old.as_str())
            && !self.has(previous)
            && !self.has(&format!("{previous}_FILE"))
        {
            self.remove(previous);
            self.append(&format!("{previous}='{old}'"));
            self.values.insert(previous.to_owned(), old);
        }
        said
    }

    /// Takes the value of `secret` out of its comment, if there is one such line, and none with a
    /// value. Returns the number of the line.
    pub(crate) fn uncomment(&mut self, secret: SecretName) -> Option<usize> {
        let name = secret.as_str();
        let found = commented_values(&self.text, name, |value| secret.is_strong(value));
        let [one] = &found[..] else {
            return None;
        };
        if self.has(name) {
            return None;
        }
        let mut lines = self.lines();
        lines[one.index].clone_from(&one.text);
        self.text = lines.concat();
        // A placeholder beside it marked where it belongs.
        self.text = mended(&self.text);
        self.values = assignments(&self.text).unwrap_or_default();
        Some(one.number)
    }

    /// Without a byte-order mark, and with the line ends of Unix.
    pub(crate) fn set_plain_line_ends(&mut self) {
        self.text = self
            .text
            .trim_start_matches('\u{feff}')
            .replace("\r\n", "\n");
    }

    /// Removes every line that assigns something to `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        self.replace_lines(name, |_, _| String::new());
    }

    /// As [`EnvFile::remove`], but the lines with values of todoctl's own secrets become comments.
    /// Returns whether there is one.
    pub(crate) fn retire(&mut self, name: &str) -> bool {
        let is_secret = is_own_secret(name);
        let mut is_commented = false;
        self.replace_lines(name, |line, one| {
            if is_secret && one.is_real() {
                is_commented = true;
                commented(line)
            } else {
                String::new()
            }
        });
        is_commented
    }

    fn replace_lines(&mut self, name: &str, mut new: impl FnMut(&str, &Assignment) -> String) {
        self.values.remove(name);
        let mut lines = self.lines();
        for (index, one) in self.found(name) {
            lines[index] = new(&lines[index], &one);
        }
        self.text = lines.concat();
    }

    /// Replaces the file in one step: a reader sees the old one or the new one.
    pub(crate) fn save(self) -> Result<(), Hint> {
        let place = self.place.display();
        if assignments(&self.text).ok().as_ref() != Some(&self.values) {
            return Err(Hint::new(
                format!(
                    "{place} was not changed: one of its values spans several lines, or contains quotes or characters that readers interpret differently"
                ),
                Remedy::note(format!(
                    "put each value of {place} into one line, in single quotes if it has spaces, # or quotes"
                )),
            ));
        }
        self.own
            .write(self.text.as_bytes(), 0o600)
            .map_err(|error| failed(&self.place, error, "written"))
    }

    fn lines(&self) -> Vec<String> {
        whole_lines(&self.text)
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// The lines that assign something to `name`.
    fn found(&self, name: &str) -> Vec<(usize, Assignment)> {
        let lines = whole_lines(&self.text).into_iter().enumerate();
        lines
            .filter_map(|(index, line)| Some((index, Assignment::of(line, name)?)))
            .collect()
    }
}

/// That a file of variables, or of a secret, cannot be `what`, and what is in the way.
pub(crate) fn failed(path: &Path, error: io::Error, what: &str) -> Hint {
    let place = path.display();
    let user = rustix::process::geteuid().as_raw();
    let owner = path.metadata().map_or(user, |found| found.uid());
    let barrier = || {
        let directory = path.parent().map(here);
        Barrier::of(path).or_else(|| Barrier::of(directory?))
    };
    let remedy = if error.kind() == io::ErrorKind::ResourceBusy {
        Remedy::note(format!(
            "{place} is mounted by itself, as Docker mounts a single file, and so cannot be replaced: edit it where it is mounted from (findmnt -T {}), then start the container again",
            shell_word(path)
        ))
    } else if let Some(barrier) = barrier() {
        barrier.remedy()
    } else if user != 0 && owner != user && owner != 0 {
        run_by(owner)
    } else {
        Remedy::note(format!(
            "choose a regular file of this user, in an existing directory that it may write to, instead of {place}"
        ))
    };
    Hint::of(error, format!("{place} cannot be {what}"), remedy)
}

/// Whether the variable, or the one that a misspelt name probably means, holds one of todoctl's
/// own secrets: if one is lost, nobody can issue it again.
fn is_own_secret(name: &str) -> bool {
    let known = match Variable::of(name) {
        Some(variable) => Some(variable.name),
        None => nearest(name),
    };
    known.is_some_and(|known| {
        let current = known.strip_suffix("_PREVIOUS").unwrap_or(known);
        SecretName::ALL
            .into_iter()
            .any(|secret| secret.as_str() == current)
    })
}
