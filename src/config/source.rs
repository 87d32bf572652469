//! Where values come from: the process's environment and, behind it, one `.env` file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::daemon_place::DaemonPlace;
use super::env_file;
use super::error::{ConfigError, Warning};
use super::remedy::Remedy;
use super::variable::Variable;

/// The file that is read when none is named, if it exists.
pub(crate) const DEFAULT_ENV_FILE: &str = ".env";

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An option of the command line.
    Option,
    /// The process's environment.
    Environment,
    /// The `.env` file.
    File,
}

/// Names and values as they are set.
#[derive(Clone, Default)]
pub struct Source {
    values: BTreeMap<String, String>,
    origins: BTreeMap<String, Origin>,
    /// The `.env` file that was read, if there is one, and its text.
    file: Option<PathBuf>,
    text: String,
    /// Variables whose value is not UTF-8.
    unreadable: BTreeSet<String>,
    /// Variables of the file that the environment has with another value.
    overridden: BTreeSet<String>,
    warnings: Vec<Warning>,
    /// The daemon in whose place the command runs.
    place: Option<DaemonPlace>,
    lent: Option<Lent>,
}

/// What a daemon of the same configuration has from its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lent {
    pub(crate) pid: i32,
    /// Variables that are not set here.
    pub(crate) names: Vec<String>,
}

impl Source {
    /// Reads the environment and `env_file`, or `./.env` if there is one.
    ///
    /// Fails if the file cannot be read or has a line that is not an assignment.
    pub fn load(env_file: Option<&Path>) -> Result<Self, ConfigError> {
        match Self::load_what_can_be_read(env_file) {
            (source, None) => Ok(source),
            (_, Some(error)) => Err(error),
        }
    }

    /// The same for diagnostics, which report a bad file beside everything else.
    #[must_use]
    pub fn load_what_can_be_read(env_file: Option<&Path>) -> (Self, Option<ConfigError>) {
        let mut source = Self::default();
        let (path, required) =
            env_file.map_or((Path::new(DEFAULT_ENV_FILE), false), |path| (path, true));
        let outcome = match env_file::read(path, required) {
            Ok(Some(text)) => source.read_file(path, &text),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        source.read_environment();
        (source, outcome.err())
    }

    /// As if the file at `path` contained `text`.
    pub(crate) fn with_file_text(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut source = Self::default();
        source.read_file(path, text)?;
        source.read_environment();
        Ok(source)
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        self.file = Some(path.to_owned());
        text.clone_into(&mut self.text);
        let (values, warnings) = env_file::parse(path, text)?;
        let names = values.keys().cloned();
        self.origins = names.map(|name| (name, Origin::File)).collect();
        self.values = values;
        self.warnings = warnings;
        Ok(())
    }

    fn read_environment(&mut self) {
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            match value.into_string() {
                // An empty variable is unset: Compose passes `${NAME:-}` on as empty.
                Ok(value) if value.trim().is_empty() => {}
                Ok(value) => {
                    self.origins.insert(name.to_owned(), Origin::Environment);
                    let text = value.trim().to_owned();
                    if let Some(old) = self.values.insert(name.to_owned(), value)
                        && !old.trim().is_empty()
                        && old.trim() != text
                    {
                        self.overridden.insert(name.to_owned());
                    }
                }
                Err(_) => {
                    self.unreadable.insert(name.to_owned());
                    self.values.remove(name);
                }
            }
        }
    }

    /// These values alone, as if they were set in the environment.
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

    /// For tests: `name` is set, to something that is not UTF-8.
    #[cfg(test)]
    pub fn with_unreadable(name: &str) -> Self {
        Self {
            unreadable: BTreeSet::from([name.to_owned()]),
            ..Self::default()
        }
    }

    /// Replaces `name` by an option of the command line, together with its file and its
    /// direct address.
    pub fn replace(&mut self, name: &str, value: &str) {
        for other in ["_FILE", "_UNPOOLED", "_UNPOOLED_FILE"] {
            self.values.remove(&format!("{name}{other}"));
        }
        self.unreadable.remove(name);
        self.origins.insert(name.to_owned(), Origin::Option);
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// The command runs in the place of this daemon.
    pub(crate) fn run_in(&mut self, place: Option<DaemonPlace>) {
        self.place = place;
    }

    /// The daemon in whose place the command runs.
    pub(super) fn place(&self) -> Option<&DaemonPlace> {
        self.place.as_ref()
    }

    pub(crate) fn is_in_place_of_daemon(&self) -> bool {
        self.place.as_ref().is_some_and(DaemonPlace::is_of_daemon)
    }

    /// With the variables of todoctl that are not set here, and that the environment of the daemon has
    /// with these values. Files of secrets that are not here are read among the daemon's mounts.
    pub(crate) fn lend<'a>(
        &mut self,
        pid: i32,
        environment: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        let mut names = Vec::new();
        for (name, value) in environment {
            let Some(variable) = Variable::of(name) else {
                continue;
            };
            let is_set_here = |one: &str| {
                let is_lent = names.iter().any(|name| name == one);
                self.get(one).is_some() && !is_lent
            };
            let is_set = variable.names().any(is_set_here) || is_set_here(&variable.file_name());
            // This port is whichever is free.
            let is_unknown = name == "PORT" && value.trim() == "0";
            if is_set || is_unknown || value.trim().is_empty() || self.is_unreadable(name) {
                continue;
            }
            self.origins.insert(name.to_owned(), Origin::Environment);
            self.values.insert(name.to_owned(), value.to_owned());
            names.push(name.to_owned());
        }
        for (name, value) in &mut self.values {
            if name.ends_with("_FILE")
                && Variable::of(name).is_some()
                && let Some(there) = among_mounts(pid, value.trim())
            {
                *value = there;
            }
        }
        self.lent = Some(Lent { pid, names });
    }

    /// What was lent, if there is a daemon of this configuration.
    pub(crate) fn lent(&self) -> Option<&Lent> {
        self.lent.as_ref()
    }

    /// Lines of the `.env` file whose values are probably not what was meant.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Variables of the `.env` file whose value has no effect, because the environment has another.
    pub(crate) fn overridden(&self) -> impl Iterator<Item = &str> {
        self.overridden.iter().map(String::as_str)
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

    /// The text of that file; empty without one.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The file that was read, unless it is the one that is read when none is named.
    pub(super) fn named_file(&self) -> Option<&Path> {
        self.file()
            .filter(|file| *file != Path::new(DEFAULT_ENV_FILE))
    }

    /// Whether the process's environment has a value for `name`.
    pub(crate) fn is_in_environment(&self, name: &str) -> bool {
        self.is_unreadable(name) || self.origin(name) == Some(Origin::Environment)
    }

    /// Every name that is set, in the file or in the environment.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.origins.keys().map(String::as_str)
    }

    /// The value without surrounding white space; an empty value counts as not set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// The same, where it comes from the `.env` file.
    pub(crate) fn in_file(&self, name: &str) -> Option<&str> {
        self.get(name)
            .filter(|_| self.origin(name) == Some(Origin::File))
    }

    /// How a SQLite file is created that does not exist yet. In a directory without a `.env` file it
    /// is the default, and probably not what was meant.
    pub(crate) fn create_database(&self) -> Remedy {
        let is_set = |name| self.get(name).is_some();
        let is_default =
            self.file.is_none() && !is_set("DATABASE_URL") && !is_set("TODOCTL_DATA_DIR");
        if !is_default {
            return Remedy::command("todoctl migrate up");
        }
        Remedy::note(
            "this directory has no .env file, so this is the default: run the command in the directory of the service, or name its file with --env-file\nonly for a new service, without data: todoctl migrate up",
        )
    }

    /// Whether the variable's value is not UTF-8.
    pub(super) fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains(name)
    }

    /// The `.env` file, if the value of `name` comes from it.
    pub(super) fn env_file_of(&self, name: &str) -> Option<&Path> {
        let from_file = self.origin(name) == Some(Origin::File);
        self.file.as_deref().filter(|_| from_file)
    }
}

impl std::fmt::Debug for Source {
    /// Only names, because values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

/// Where a file can be read that is not here, and that the daemon has at this path.
fn among_mounts(pid: i32, path: &str) -> Option<String> {
    let own = PathBuf::from(format!("/proc/{pid}"));
    let there = match path.strip_prefix('/') {
        Some(below_root) => own.join("root").join(below_root),
        None => own.join("cwd").join(path),
    };
    (!Path::new(path).exists() && there.is_file()).then(|| there.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_counts_as_not_set() {
        let mut source = Source::default();
        source
            .read_file(Path::new(".env"), "PORT=9000\nEMPTY=\n")
            .unwrap();
        assert_eq!(source.get("PORT"), Some("9000"));
        assert_eq!(source.get("EMPTY"), None);
        assert_eq!(source.origin("PORT"), Some(Origin::File));
        assert_eq!(source.origin("EMPTY"), None);
    }
}
