//! What is wrong with a configuration, all of it at once.

use std::fmt;

/// One fault of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name, such as `DATABASE_URL`.
    pub variable: String,
    /// What is wrong, without the value where it is a secret.
    pub message: String,
    /// What would be right; a line to type where there is one.
    pub remedy: String,
}

/// Something that works but that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The variable's name.
    pub variable: String,
    /// What is unwise, and what to do.
    pub message: String,
}

/// A value and the warnings that came with it.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// What was loaded.
    pub value: T,
    /// In the order in which the variables were read.
    pub warnings: Vec<Warning>,
}

/// Every problem that one load found; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// In the order in which the variables were read.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "the configuration has {count} {noun}")?;
        for problem in &self.problems {
            write!(f, "\n  {}: {}", problem.variable, problem.message)?;
            if !problem.remedy.is_empty() {
                write!(f, "\n    {}", problem.remedy)?;
            }
        }
        Ok(())
    }
}
