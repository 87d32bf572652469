//! Where values come from: the real environment, and behind it one `.env` file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{ConfigError, Problem, Warning};

/// The file that is read when none is named, if it exists.
const DEFAULT_FILE: &str = ".env";

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An option of the command line.
    Option,
    /// The real environment.
    Environment,
    /// The `.env` file.
    File,
}

/// Names and values, before anything is made of them.
#[derive(Clone, Default)]
pub struct Source {
    values: BTreeMap<String, String>,
    /// Where each of them comes from.
    origins: BTreeMap<String, Origin>,
    /// The file that was read, if there is one.
    file: Option<PathBuf>,
    /// Variables whose value is not UTF-8.
    unreadable: BTreeSet<String>,
    warnings: Vec<Warning>,
}

impl Source {
    /// Reads the environment and `env_file`, or `./.env` if there is one.
    ///
    /// Fails where the file cannot be read or holds a line that is no assignment.
    pub fn load(env_file: Option<&Path>) -> Result<Self, ConfigError> {
        match Self::load_what_can_be_read(env_file) {
            (source, None) => Ok(source),
            (_, Some(error)) => Err(error),
        }
    }

    /// The same for whoever looks for faults: a bad file is told beside the environment.
    #[must_use]
    pub fn load_what_can_be_read(env_file: Option<&Path>) -> (Self, Option<ConfigError>) {
        let mut source = Self::default();
        let (path, wanted) = env_file.map_or((Path::new(DEFAULT_FILE), false), |path| (path, true));
        let outcome = match read(path, wanted) {
            Ok(Some(text)) => source.read_file(path, &text),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        source.read_environment();
        (source, outcome.err())
    }

    fn read_environment(&mut self) {
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            match value.into_string() {
                // An empty variable is unset: Compose passes `${NAME:-}` on as empty.
                Ok(value) if value.trim().is_empty() => {}
                Ok(value) => {
                    self.origins.insert(name.to_owned(), Origin::Environment);
                    self.values.insert(name.to_owned(), value);
                }
                Err(_) => {
                    self.unreadable.insert(name.to_owned());
                    self.values.remove(name);
                }
            }
        }
    }

    /// Values given directly, for tests of what is made of them.
    #[must_use]
    pub fn from_values<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let values: BTreeMap<String, String> = values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let names = values.keys().cloned();
        Self {
            origins: names.map(|name| (name, Origin::Environment)).collect(),
            values,
            ..Self::default()
        }
    }

    /// Puts `value` in the place of `name`, of its file and of its direct address, as an
    /// option of the command line does.
    pub fn replace(&mut self, name: &str, value: &str) {
        for other in ["_FILE", "_UNPOOLED", "_UNPOOLED_FILE"] {
            self.values.remove(&format!("{name}{other}"));
        }
        self.unreadable.remove(name);
        self.origins.insert(name.to_owned(), Origin::Option);
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// What the `.env` file holds that Docker would read differently.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Where the value of `name` comes from, if it has one.
    #[must_use]
    pub fn origin(&self, name: &str) -> Option<Origin> {
        self.get(name)?;
        self.origins.get(name).copied()
    }

    /// The `.env` file that was read.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Every name that is set, in the file or in the environment.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.origins.keys().map(String::as_str)
    }

    /// The value without the white space around it; an empty one is unset.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Whether the variable is set to bytes that are not UTF-8.
    pub(super) fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains(name)
    }

    /// The env file, where `name` comes from it.
    pub(super) fn env_file_of(&self, name: &str) -> Option<&Path> {
        let from_file = self.origin(name) == Some(Origin::File);
        self.file.as_deref().filter(|_| from_file)
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        self.file = Some(path.to_owned());
        // The library's error repeats the line, which may hold a secret.
        let read = assignments(text).map_err(|error| broken(path, text, &error))?;
        self.warnings = read_differently(path, text, &read);
        self.origins = read
            .keys()
            .map(|name| (name.clone(), Origin::File))
            .collect();
        self.values = read;
        Ok(())
    }
}

/// The names and values of an env file's text.
pub(super) fn assignments(text: &str) -> Result<BTreeMap<String, String>, dotenvy::Error> {
    let text = text.trim_start_matches('\u{feff}');
    let mut read = BTreeMap::new();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = item?;
        // As in dotenvy, the first of several counts.
        read.entry(name).or_insert(value);
    }
    Ok(read)
}

impl std::fmt::Debug for Source {
    /// Names alone: the values hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

fn read(path: &Path, wanted: bool) -> Result<Option<String>, ConfigError> {
    let place = path.display();
    let problem = |message: String, remedy: &str| ConfigError {
        problems: vec![Problem {
            variable: place.to_string(),
            message,
            remedy: remedy.to_owned(),
        }],
    };
    match std::fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(problem(
                "the file is not UTF-8 text".to_owned(),
                "save it as UTF-8, one NAME=value a line",
            )),
        },
        Err(error) if error.kind() == ErrorKind::NotFound && !wanted => Ok(None),
        Err(error) if error.kind() == ErrorKind::IsADirectory => Err(problem(
            "this is a directory, not a file; Docker makes one when a mounted file is missing"
                .to_owned(),
            &format!("rmdir {place} && todoctl gen-secrets --write {place}"),
        )),
        Err(error) => {
            let remedy = if error.kind() == ErrorKind::NotFound {
                "name a file that exists: --env-file FILE".to_owned()
            } else {
                let user = rustix::process::geteuid().as_raw();
                format!("sudo chown {user} {place} && chmod 600 {place}")
            };
            Err(problem(
                format!("the file cannot be read: {error}"),
                &remedy,
            ))
        }
    }
}

/// Says where the file is broken, without repeating what is there.
fn broken(path: &Path, text: &str, error: &dotenvy::Error) -> ConfigError {
    let line = match error {
        dotenvy::Error::LineParse(line, _) => text
            .lines()
            .position(|candidate| line.starts_with(candidate) && !candidate.trim().is_empty()),
        _ => None,
    };
    let line = line.map_or_else(String::new, |index| format!("line {} ", index + 1));
    ConfigError {
        problems: vec![Problem {
            variable: path.display().to_string(),
            message: format!("{line}is not NAME=value, or a quote in it does not end"),
            remedy: "put values with spaces, # or quotes into single quotes".to_owned(),
        }],
    }
}

/// `docker run --env-file` takes everything behind `=` as it is, quotes and all.
fn read_differently(path: &Path, text: &str, read: &BTreeMap<String, String>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut first_lines = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        if line.starts_with('#') {
            continue;
        }
        let name = name.trim().trim_start_matches("export ").trim();
        // Within a value of several lines, what looks like a name may be a secret.
        if !read.contains_key(name) {
            continue;
        }
        let number = index + 1;
        let first = *first_lines.entry(name.to_owned()).or_insert(number);
        if first != number {
            warnings.push(Warning {
                variable: name.to_owned(),
                message: format!(
                    "{} sets it in line {first} and again in line {number}: the first counts here, and the last with Docker; delete one",
                    path.display()
                ),
            });
        }
        let mut found: Vec<&str> = [
            ('$', "$"),
            ('#', "#"),
            ('"', "a double quote"),
            ('\'', "a single quote"),
        ]
        .into_iter()
        .filter_map(|(sign, called)| value.contains(sign).then_some(called))
        .collect();
        if !line.starts_with(&format!("{name}=")) {
            found.push("export or white space in front of the =");
        }
        if !found.is_empty() {
            warnings.push(Warning {
                variable: name.to_owned(),
                message: format!(
                    "{} line {} holds {}: `docker run --env-file` reads such a line differently (it knows no quotes, comments, variables and export)",
                    path.display(),
                    number,
                    found.join(" and ")
                ),
            });
        }
    }
    warnings
}

/// A path as the value of a `…_FILE` variable names it.
pub(super) fn read_secret_file(path: &str) -> Result<String, String> {
    let bytes =
        std::fs::read(path).map_err(|error| format!("the file {path} cannot be read: {error}"))?;
    let mut text =
        String::from_utf8(bytes).map_err(|_| format!("the file {path} is not UTF-8 text"))?;
    // Editors and `echo` end a file with a line break that is no part of the secret.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(format!("the file {path} is empty"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Source, ConfigError> {
        let mut source = Source::default();
        source.read_file(Path::new(".env"), text).map(|()| source)
    }

    #[test]
    fn files_are_read_as_people_write_them() {
        let source = file(
            "\u{feff}# a comment\r\nPORT=9000\r\nexport HOST='0.0.0.0'\r\nEMPTY=\r\nPORT=1\r\n",
        )
        .unwrap();
        assert_eq!(source.get("PORT"), Some("9000"));
        assert_eq!(source.get("HOST"), Some("0.0.0.0"));
        assert_eq!(source.get("EMPTY"), None);
    }

    #[test]
    fn a_broken_line_is_named_but_not_repeated() {
        let error = file("PORT=1\nJWT_SECRET='canary\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(!error.contains("canary"));
    }

    #[test]
    fn what_docker_reads_differently_is_said() {
        let source = file("A=plain\nB='quoted'\nC=a#b\n# D='x'\nE=a$HOME\n").unwrap();
        let named: Vec<&str> = source
            .warnings()
            .iter()
            .map(|one| one.variable.as_str())
            .collect();
        assert_eq!(named, ["B", "C", "E"]);
    }

    #[test]
    fn secret_files_lose_one_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        for (text, expected) in [
            ("abc\n", "abc"),
            ("abc\r\n", "abc"),
            ("abc\n\n", "abc\n"),
            ("abc", "abc"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_secret_file(path.to_str().unwrap()).unwrap(), expected);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(
            read_secret_file(path.to_str().unwrap())
                .unwrap_err()
                .contains("empty")
        );
        assert!(
            read_secret_file("/no/such/file")
                .unwrap_err()
                .contains("cannot be read")
        );
    }
}
