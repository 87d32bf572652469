//! Every error in one shape: what happened, why, what to do.
//!
//! ```text
//! error: what happened
//!   because: why, once for each cause
//!   remedy: what to type
//! ```

use crate::api::ServeError;
use crate::cli::hint::Hint;
use crate::config::{ConfigError, env_file::EnvFileError};
use crate::services::daemon::DaemonError;
use crate::store::migrate::MigrateError;
use crate::store::{ConnectError, StoreError};

use super::note;

/// Prints why a command failed, each cause once, and what to do about it.
pub fn error(error: &anyhow::Error) {
    note(&text(error));
}

fn text(error: &anyhow::Error) -> String {
    let mut lines = Lines::default();
    if let Some(config) = error.downcast_ref::<ConfigError>() {
        lines.config(config);
    } else if let Some(MigrateError::Statement(failed)) = error.downcast_ref::<MigrateError>() {
        lines.add(
            "error",
            &format!(
                "{} migration {} ({}) failed",
                failed.what, failed.version, failed.description
            ),
        );
        lines.add("because", &failed.reason);
        lines.add("statement", &failed.statement);
    } else {
        lines.chain(error);
    }
    if let Some(remedy) = error.chain().find_map(remedy) {
        lines.add("remedy", &remedy);
    }
    lines.0
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Lines within a text stand further in, so that the labels stay in sight.
    fn add(&mut self, label: &str, text: &str) {
        let text = text.trim_end().replace('\n', "\n    ");
        if self.0.is_empty() {
            self.0 = format!("{label}: {text}");
        } else {
            self.0 += &format!("\n  {label}: {text}");
        }
    }

    fn chain(&mut self, error: &anyhow::Error) {
        let mut said = error.to_string();
        self.add("error", &said);
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            // Many errors repeat their source in their own text.
            if !said.contains(&cause) {
                self.add("because", &cause);
                said += &cause;
            }
        }
    }

    fn config(&mut self, error: &ConfigError) {
        let count = error.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        self.add("error", &format!("the configuration has {count} {noun}"));
        for problem in &error.problems {
            let what = format!("{}: {}", problem.variable, problem.message);
            self.add("because", &what);
            if !problem.remedy.is_empty() {
                self.add("remedy", &problem.remedy);
            }
        }
    }
}

/// What an error of the library says should be done.
fn remedy(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(hint) = error.downcast_ref::<Hint>() {
        return Some(hint.remedy.clone());
    }
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        return Some(error.remedy.clone());
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return store_remedy(error);
    }
    if let Some(error) = error.downcast_ref::<MigrateError>() {
        return error.remedy();
    }
    if let Some(error) = error.downcast_ref::<EnvFileError>() {
        return Some(error.remedy());
    }
    if let Some(error) = error.downcast_ref::<ServeError>() {
        return Some(error.remedy());
    }
    if let Some(DaemonError::Url(_)) = error.downcast_ref::<DaemonError>() {
        return Some("--url http://127.0.0.1:8000".to_owned());
    }
    None
}

fn store_remedy(error: &StoreError) -> Option<String> {
    let text = match error {
        StoreError::Connect(error) => return Some(error.remedy.clone()),
        StoreError::PoolTimeout { .. } => {
            "raise SQLALCHEMY_POOL_SIZE, or find what holds the connections: todoctl db check"
        }
        error if error.wants_migration() => "todoctl migrate up",
        StoreError::ConnectionLost(_) | StoreError::Query(_) | StoreError::Constraint { .. } => {
            "todoctl db check"
        }
        StoreError::Transient(_) | StoreError::OutcomeUnknown(_) => {
            "todoctl db check, then once more"
        }
        StoreError::Corrupt { .. } => "correct that row by hand, or restore it from a backup",
        StoreError::Closed => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Problem;

    #[test]
    fn what_why_and_what_to_type() {
        let hint = Hint::of(
            std::io::Error::other("the disk is on fire"),
            "nothing was written",
            "todoctl db check",
        );
        assert_eq!(
            text(&hint.into()),
            "error: nothing was written\n  because: the disk is on fire\n  remedy: todoctl db check"
        );
    }

    #[test]
    fn a_cause_that_was_told_is_not_repeated() {
        let error =
            anyhow::Error::new(std::io::Error::other("refused")).context("cannot connect: refused");
        assert_eq!(text(&error), "error: cannot connect: refused");
    }

    #[test]
    fn each_problem_of_a_configuration_has_its_remedy() {
        let problem = |variable: &str| Problem {
            variable: variable.to_owned(),
            message: "is not set".to_owned(),
            remedy: format!("{variable}=1"),
        };
        let error = ConfigError {
            problems: vec![problem("A"), problem("B")],
        };
        assert_eq!(
            text(&error.into()),
            "error: the configuration has 2 problems\n  because: A: is not set\n  remedy: A=1\n  \
             because: B: is not set\n  remedy: B=1"
        );
    }

    #[test]
    fn every_error_of_the_store_says_what_to_type() {
        let lost = StoreError::ConnectionLost(sqlx::Error::WorkerCrashed);
        assert!(text(&lost.into()).ends_with("\n  remedy: todoctl db check"));
    }
}
