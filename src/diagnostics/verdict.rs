//! What a check returns.

use serde::Serialize;

use crate::config::{Problem, Remedy};
use crate::store::messages::KnownMessage;

use super::fix::Fix;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Pass,
    /// It works, but needs attention.
    Warn,
    Fail,
    /// Not checked; the detail says why.
    Skip,
}

/// A message that does not tell its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unexplained {
    pub(super) known: &'static KnownMessage,
    pub(super) message: String,
}

impl Unexplained {
    /// What `message`, whose entry is `known`, leaves open.
    pub(super) fn of(known: &'static KnownMessage, message: &impl ToString) -> Option<Self> {
        let is_open = known.is_timeout()
            || known.is_of_pooled_login()
            || known.is_of_server_file()
            || known.is_of_catalogue();
        is_open.then(|| Self {
            known,
            message: message.to_string(),
        })
    }
}

/// What a check found. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) detail: String,
    /// What to do; variables are set where they come from when the check has ended.
    pub(super) remedy: Option<Remedy>,
    /// What `doctor --fix` can do about it.
    pub(super) fixes: Vec<Fix>,
    /// Whether the checks that need this one are skipped.
    pub(super) blocks: bool,
    /// What the runner looks for the cause of.
    pub(super) unexplained: Option<Unexplained>,
}

impl Verdict {
    pub(super) fn pass(detail: impl Into<String>) -> Self {
        Self::new(Outcome::Pass, detail, None)
    }

    pub(super) fn warn(detail: impl Into<String>, remedy: impl Into<Option<Remedy>>) -> Self {
        Self::new(Outcome::Warn, detail, remedy.into())
    }

    /// It does not work, so the checks that need this one are skipped.
    pub(super) fn fail(detail: impl Into<String>, remedy: impl Into<Option<Remedy>>) -> Self {
        Self {
            blocks: true,
            ..Self::new(Outcome::Fail, detail, remedy.into())
        }
    }

    /// There is nothing to check; other checks are not affected.
    pub(super) fn skip(detail: impl Into<String>) -> Self {
        Self::new(Outcome::Skip, detail, None)
    }

    /// There is nothing to check here, nor for the checks that need this one. Not a failure.
    pub(super) fn skip_all(detail: impl Into<String>) -> Self {
        Self {
            blocks: true,
            ..Self::skip(detail)
        }
    }

    /// It works, and there is nothing to check for those that need this one.
    pub(super) fn warn_of_all(
        detail: impl Into<String>,
        remedy: impl Into<Option<Remedy>>,
    ) -> Self {
        Self {
            blocks: true,
            ..Self::warn(detail, remedy)
        }
    }

    /// Skipped because of another check.
    pub(super) fn skip_because_failed(id: &str) -> Self {
        Self::skip_all(format!("skipped because {id} failed"))
    }

    /// Faults of the configuration, with all their remedies.
    pub(super) fn of_problems<'a>(problems: impl IntoIterator<Item = &'a Problem>) -> Self {
        let mut texts = Vec::new();
        let mut remedy = Remedy::default();
        for problem in problems {
            texts.push(problem.to_string());
            remedy = remedy.then(problem.remedy.clone());
        }
        Self::fail(texts.join("; "), remedy)
    }

    /// A warning for the texts in `said`, or else `fine`.
    pub(super) fn warn_if_any(said: &[String], remedy: Remedy, fine: Self) -> Self {
        if said.is_empty() {
            return fine;
        }
        Self::warn(said.join("; "), remedy)
    }

    /// With what `doctor --fix` can do.
    pub(super) fn with_fixes(mut self, fixes: impl IntoIterator<Item = Fix>) -> Self {
        self.fixes.extend(fixes);
        self
    }

    /// A statement failed for a reason that has to be looked for.
    pub(super) fn after(mut self, unexplained: Unexplained) -> Self {
        self.unexplained = Some(unexplained);
        self
    }

    fn new(outcome: Outcome, detail: impl Into<String>, remedy: Option<Remedy>) -> Self {
        Self {
            outcome,
            detail: detail.into(),
            remedy: remedy.filter(|remedy| !remedy.is_empty()),
            fixes: Vec::new(),
            blocks: false,
            unexplained: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_remedy_is_none() {
        assert_eq!(Verdict::fail("x", Remedy::default()).remedy, None);
    }
}
