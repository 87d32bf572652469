//! What to do about a fault, as text that can be pasted into a POSIX shell.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use super::shell::shell_word;

mod administration;
mod at_daemon;
mod programs;
mod sql;
mod statements;
mod variable;

pub use sql::{sql_literal, sql_name};

pub(crate) use programs::PSQL_PACKAGES;
pub(super) use programs::is_installed;
pub(crate) use sql::one_line;

use sql::pasted;

/// Steps, in their order. Each line of the text is a command, or a comment for what only a
/// person can do, so that the text as a whole can be pasted. Never contains a secret.
///
/// ```text
/// # allow this machine's address in Neon's console: Settings, Network Security, IP Allow
/// todoctl config set DB_POOLER=transaction
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remedy(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Command(Command),
    /// Without the `# `.
    Note(String),
    /// A variable and what becomes of its value.
    Set(Cow<'static, str>, Value),
    /// What can be done in place of the steps before it.
    Or(Remedy),
}

/// A line that is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Command {
    line: String,
    /// What it runs in the configured database as the configured role, if that is all it does.
    statements: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    New(String),
    Unset,
    /// The same value in the right spelling, which these words describe.
    Respelt(String),
    /// The value belongs to this variable.
    Of(&'static str),
}

/// What follows a command that changes the environment of one shell only.
pub(super) const ALSO_WHERE_IT_IS_SET: &str =
    "change it also where the daemon's environment is set: unit file, compose file or platform";

impl Remedy {
    /// A line as it is to be typed. What is not constant is appended with [`Remedy::arg`].
    #[must_use]
    pub fn command(line: impl Into<String>) -> Self {
        Self(vec![Step::command(line)])
    }

    /// Appends a word to the last line, quoted if necessary.
    #[must_use]
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        if let Some(Step::Command(Command { line, .. })) = self.0.last_mut() {
            line.push(' ');
            line.push_str(&shell_word(Path::new(word.as_ref())));
        }
        self
    }

    /// Sends the output of the last command to the first of `next`.
    #[must_use]
    pub fn pipe(self, next: &Self) -> Self {
        self.joined(&format!(" | {next}"))
    }

    /// Sends the output of the last command to a file.
    #[must_use]
    pub fn write_to(self, file: &Path) -> Self {
        self.joined(&format!(" > {}", shell_word(file)))
    }

    /// Gives the last command a file as its input.
    #[must_use]
    pub fn read_from(self, file: &Path) -> Self {
        self.joined(&format!(" < {}", shell_word(file)))
    }

    /// Appends text to the last line, as it is to be typed.
    #[must_use]
    pub(crate) fn joined(mut self, rest: &str) -> Self {
        if let Some(Step::Command(Command { line, .. })) = self.0.last_mut() {
            line.push_str(rest);
        }
        self
    }

    /// What only a person can do.
    #[must_use]
    pub fn note(text: impl AsRef<str>) -> Self {
        let lines = text.as_ref().lines();
        Self(lines.map(|line| Step::Note(line.to_owned())).collect())
    }

    /// Gives a variable another value, where its value comes from.
    #[must_use]
    pub fn set(name: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        Self(vec![Step::Set(name.into(), Value::New(value.to_string()))])
    }

    /// Removes a variable from where its value comes from.
    #[must_use]
    pub fn unset(name: impl Into<Cow<'static, str>>) -> Self {
        Self(vec![Step::Set(name.into(), Value::Unset)])
    }

    /// Gives the value of a variable to the one that was meant.
    #[must_use]
    pub fn rename(name: impl Into<Cow<'static, str>>, known: &'static str) -> Self {
        Self(vec![Step::Set(name.into(), Value::Of(known))])
    }

    /// Spells the value of a variable as todoctl needs it; `advice` says how, for a person.
    #[must_use]
    pub fn respell(name: impl Into<Cow<'static, str>>, advice: impl Into<String>) -> Self {
        Self(vec![Step::Set(name.into(), Value::Respelt(advice.into()))])
    }

    /// A statement that the configured role may run.
    #[must_use]
    pub fn sql(statement: impl AsRef<str>) -> Self {
        let statement = statement.as_ref();
        Self::command("todoctl db psql")
            .statement(statement)
            .running(one_line(statement))
    }

    /// A command for the console of the pooler at the address of `DATABASE_URL`.
    #[must_use]
    pub fn pooler_console(command: impl AsRef<str>) -> Self {
        Self::command("todoctl db psql --pooler -c").arg(one_line(command.as_ref()))
    }

    /// Gives the last command, which is psql's, a statement.
    fn statement(self, statement: &str) -> Self {
        let parts = pasted(statement).into_iter();
        parts.fold(self, |command, part| command.arg("-c").arg(part))
    }

    /// The steps of `next` after those of this one; a step that is there already is not repeated.
    #[must_use]
    pub fn then(mut self, next: impl Into<Option<Self>>) -> Self {
        for step in next.into().into_iter().flat_map(|next| next.0) {
            if !self.0.contains(&step) {
                self.0.push(step);
            }
        }
        self
    }

    /// With an alternative, as comments: of several remedies only one is typed.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.then(Self(vec![Step::Or(other)]))
    }

    /// Whether there is no step.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// With the commands that change variables where they are: in the `.env` file, which is
    /// `file` where it is not the usual one, or in the process's environment.
    #[must_use]
    pub(super) fn resolved(&self, is_exported: &dyn Fn(&str) -> bool, file: Option<&Path>) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        let mut words = FileWords::default();
        let mut has_exported = false;
        for step in &self.0 {
            let (target, value) = match step {
                Step::Set(target, value) => (target, value),
                Step::Or(other) => {
                    words.flush(&mut steps);
                    steps.extend(other.resolved(is_exported, file).into_comments());
                    continue;
                }
                Step::Command(_) | Step::Note(_) => {
                    words.flush(&mut steps);
                    steps.push(step.clone());
                    continue;
                }
            };
            // A part of a URL, such as DATABASE_URL.sslmode, is where the URL is.
            let (name, part) = match target.split_once('.') {
                Some((name, part)) => (name, Some(part)),
                None => (target.as_ref(), None),
            };
            if is_exported(name) {
                has_exported = true;
                steps.extend(value.exported(name, part));
            } else {
                words.add(target, value);
            }
        }
        words.flush(&mut steps);
        if let Some(file) = file {
            name_env_file(&mut steps, file);
        }
        if has_exported {
            steps.push(Step::Note(ALSO_WHERE_IT_IS_SET.to_owned()));
        }
        Self(steps)
    }
}

impl Step {
    fn command(line: impl Into<String>) -> Self {
        Self::Command(Command {
            line: line.into(),
            statements: None,
        })
    }
}

impl Value {
    /// The steps that change a variable of this shell, or a part of the URL in it.
    fn exported(&self, name: &str, part: Option<&str>) -> Vec<Step> {
        match (self, part) {
            (Self::New(value), Some(part)) => {
                vec![Step::Note(format!("give {name} the {part} {value}"))]
            }
            (Self::Unset, Some(part)) => vec![Step::Note(format!("remove {part} from {name}"))],
            (Self::New(value), None) => {
                let value = shell_word(Path::new(value));
                vec![Step::command(format!("export {name}={value}"))]
            }
            (Self::Unset, None) => vec![Step::command(format!("unset {name}"))],
            (Self::Of(known), _) => vec![
                Step::command(format!("export {known}=\"${name}\"")),
                Step::command(format!("unset {name}")),
            ],
            (Self::Respelt(advice), _) => vec![Step::Note(format!("correct {name}: {advice}"))],
        }
    }
}

/// Changes of the `.env` file that have been collected: the words of one command each.
#[derive(Default)]
struct FileWords {
    set: Vec<String>,
    unset: Vec<String>,
    respell: Vec<String>,
}

impl FileWords {
    fn add(&mut self, name: &str, value: &Value) {
        match value {
            Value::New(value) => self
                .set
                .push(format!("{name}={}", shell_word(Path::new(value)))),
            Value::Unset => self.unset.push(name.to_owned()),
            Value::Respelt(_) | Value::Of(_) => self.respell.push(name.to_owned()),
        }
    }

    fn flush(&mut self, steps: &mut Vec<Step>) {
        let mut add = |words: &mut Vec<String>, command: fn(&str) -> String| {
            if !words.is_empty() {
                steps.push(Step::command(command(&words.join(" "))));
                words.clear();
            }
        };
        add(&mut self.set, |words| format!("todoctl config set {words}"));
        add(&mut self.unset, |words| {
            format!("todoctl config unset {words}")
        });
        add(&mut self.respell, |words| {
            format!("todoctl config respell {words}")
        });
    }
}

/// Gives each command of todoctl the `.env` file that is not the usual one.
fn name_env_file(steps: &mut [Step], file: &Path) {
    for step in steps {
        if let Step::Command(Command { line, .. }) = step {
            let program = format!("todoctl --env-file {} ", shell_word(file));
            // It may read what another one prints, or outlive its terminal.
            let named = line
                .replace("| todoctl ", &format!("| {program}"))
                .replace("nohup todoctl ", &format!("nohup {program}"));
            *line = match named.strip_prefix("todoctl ") {
                Some(rest) => program + rest,
                None => named,
            };
        }
    }
}

/// Adds the secrets that are missing in the `.env` file.
pub(super) fn gen_secrets(file: &Path) -> Remedy {
    Remedy::command(format!("todoctl gen-secrets --write {}", shell_word(file)))
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.resolved(&|_| false, None);
        for (index, step) in whole.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match step {
                Step::Command(command) => f.write_str(&command.line)?,
                Step::Note(line) => write!(f, "# {line}")?,
                Step::Set(..) | Step::Or(_) => {}
            }
        }
        Ok(())
    }
}

impl serde::Serialize for Remedy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
