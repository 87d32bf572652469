//! Everything that is wrong with a configuration.

use std::fmt;

use super::remedy::Remedy;

/// A fault that stops a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name, such as `DATABASE_URL`, or the path of the env file.
    pub variable: String,
    /// A predicate such as `is not an IP address`. Never contains a secret.
    pub message: String,
    /// What to do.
    pub remedy: Remedy,
}

/// A setting that works, but that an operator should know about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The variable's name.
    pub variable: String,
    /// A predicate, and in short what to do.
    pub message: String,
    pub remedy: Remedy,
}

impl From<Warning> for Problem {
    fn from(warning: Warning) -> Self {
        Self {
            variable: warning.variable,
            message: warning.message,
            remedy: warning.remedy,
        }
    }
}

/// A value and the warnings about it.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    pub value: T,
    /// In the order in which the variables were read.
    pub warnings: Vec<Warning>,
}

/// All problems of one load; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// In the order in which the variables were read.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.message)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.message)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "the configuration has {count} {noun}")?;
        for (problem, remedy) in self.with_remedies() {
            write!(f, "\n  {problem}")?;
            if let Some(remedy) = remedy {
                write!(f, "\n    {}", remedy.to_string().replace('\n', "\n    "))?;
            }
        }
        Ok(())
    }
}

impl ConfigError {
    /// The problems in order, and the remedy that follows each; one that serves several problems
    /// in a row follows the last of them.
    pub fn with_remedies(&self) -> impl Iterator<Item = (&Problem, Option<&Remedy>)> {
        self.problems.iter().enumerate().map(|(index, problem)| {
            let next = self.problems.get(index + 1);
            let is_last = next.is_none_or(|next| next.remedy != problem.remedy);
            let remedy = Some(&problem.remedy);
            (problem, remedy.filter(|one| is_last && !one.is_empty()))
        })
    }
}
