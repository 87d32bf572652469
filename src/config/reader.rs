//! Reads variables one by one and collects everything that is wrong with them.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::source::{Source, read_secret_file};
use super::{ConfigError, Loaded, Problem, Secret, Warning};

/// One load in progress.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    source: &'a Source,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
    looking: bool,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Source) -> Self {
        Self {
            source,
            problems: Vec::new(),
            warnings: Vec::new(),
            looking: false,
        }
    }

    /// For whoever only looks: nothing is made that is missing.
    pub fn looking(source: &'a Source) -> Self {
        Self {
            looking: true,
            ..Self::new(source)
        }
    }

    /// The env file, where `name` comes from it.
    pub fn env_file_of(&self, name: &str) -> Option<&Path> {
        self.source.env_file_of(name)
    }

    /// Whether nothing may be made.
    pub fn is_looking(&self) -> bool {
        self.looking
    }

    /// What was wrong and what was unwise, in the order in which the variables were read.
    pub fn findings(self) -> (Vec<Problem>, Vec<Warning>) {
        (self.problems, self.warnings)
    }

    /// A variable that is set to something; the first of `names` that is.
    pub fn text(&mut self, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
        for &name in names {
            if self.source.is_unreadable(name) {
                self.problem(
                    name,
                    "is not UTF-8 text",
                    format!("{name}=…, in plain text"),
                );
            }
            if let Some(value) = self.source.get(name) {
                return Some((name, value));
            }
        }
        None
    }

    /// A variable that `parse` understands, or `default`; `right` is an example of a right value.
    ///
    /// `parse` says what is wrong, without the value.
    pub fn parsed<T>(
        &mut self,
        names: &[&'static str],
        default: T,
        right: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some((name, value)) = self.text(names) else {
            return default;
        };
        match parse(value) {
            Ok(value) => value,
            Err(wrong) => {
                self.problem(name, wrong, format!("{name}={right}"));
                default
            }
        }
    }

    /// A whole number from `min` to `max`.
    pub fn number<T>(&mut self, names: &[&'static str], default: T, min: T, max: T) -> T
    where
        T: FromStr + PartialOrd + Copy + std::fmt::Display,
    {
        self.parsed(names, default, &default.to_string(), |text| {
            text.parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| format!("is not a whole number from {min} to {max}"))
        })
    }

    /// Seconds, also in parts of one (`0.5`), from `min` to `max`.
    pub fn seconds(
        &mut self,
        names: &[&'static str],
        default: u64,
        min: f64,
        max: f64,
    ) -> Duration {
        let fallback = Duration::from_secs(default);
        self.parsed(names, fallback, &default.to_string(), |text| {
            text.parse::<f64>()
                .ok()
                .filter(|seconds| (min..=max).contains(seconds))
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| format!("is not a number of seconds from {min} to {max}"))
        })
    }

    /// `true` or `false`, in the spellings that people use.
    pub fn switch(&mut self, name: &'static str, default: bool) -> bool {
        self.parsed(
            &[name],
            default,
            if default { "true" } else { "false" },
            |text| match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" => Ok(false),
                _ => Err("is neither true nor false".to_owned()),
            },
        )
    }

    /// A secret from NAME, or from the file that `NAME_FILE` names.
    pub fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let direct = self.text(&[name]).map(|(_, value)| value);
        let file_name = format!("{name}_FILE");
        if self.source.is_unreadable(&file_name) {
            self.problem(&file_name, "is not UTF-8 text", String::new());
        }
        let file = self.source.get(&file_name);
        match (direct, file) {
            (Some(_), Some(_)) => {
                self.problem(
                    name,
                    format!("{name} and {file_name} are both set"),
                    match (self.env_file_of(name), self.env_file_of(&file_name)) {
                        (Some(file), _) => {
                            format!("delete the line {name}=… from {}", file.display())
                        }
                        (None, Some(file)) => {
                            format!("delete the line {file_name}=… from {}", file.display())
                        }
                        (None, None) => {
                            format!("keep one of them: unset {name}, or unset {file_name}")
                        }
                    },
                );
                None
            }
            (Some(value), None) => Some(Secret::new(value)),
            (None, Some(path)) => match read_secret_file(path) {
                Ok(value) => Some(Secret::new(value)),
                Err(wrong) => {
                    let remedy = format!(
                        "name a readable file that holds the value alone: {file_name}=/run/secrets/{}",
                        name.to_lowercase()
                    );
                    self.problem(&file_name, wrong, remedy);
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// Whether NAME or `NAME_FILE` is set, rightly or wrongly.
    pub fn is_set(&self, name: &str) -> bool {
        let file = format!("{name}_FILE");
        [name, &file]
            .iter()
            .any(|name| self.source.get(name).is_some() || self.source.is_unreadable(name))
    }

    pub fn problem(
        &mut self,
        variable: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems.push(Problem {
            variable: variable.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    pub fn warn(&mut self, variable: &str, message: impl Into<String>) {
        self.warnings.push(Warning {
            variable: variable.to_owned(),
            message: message.into(),
        });
    }

    /// Whether nothing is wrong so far.
    pub fn is_fine(&self) -> bool {
        self.problems.is_empty()
    }

    /// The value, unless something was wrong; `None` counts on a problem that was reported.
    pub fn finish<T>(self, value: Option<T>) -> Result<Loaded<T>, ConfigError> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(Loaded {
                value,
                warnings: self.warnings,
            }),
            _ => Err(ConfigError {
                problems: self.problems,
            }),
        }
    }
}
