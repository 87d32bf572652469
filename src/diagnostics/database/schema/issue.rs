//! What is wrong, the steps that correct it, and the verdict on all of it.

use crate::config::{PostgresTarget, Remedy, SqliteTarget};
use crate::diagnostics::fix::Fix;
use crate::diagnostics::verdict::Outcome::{self, Fail, Warn};
use crate::diagnostics::verdict::Verdict;

/// One thing that is wrong, and the steps that correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issue {
    pub(super) outcome: Outcome,
    pub(super) text: String,
    pub(super) steps: Vec<Step>,
    pub(super) fix: Option<Fix>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Statements that the service's own role may run.
    Run(String),
    /// Statements that need the owner of the objects, or else an administrator.
    RunBy(Option<String>, String),
    /// What is no statement.
    Other(Remedy),
}

impl Step {
    /// What only a person can do.
    pub(super) fn note(text: impl AsRef<str>) -> Self {
        Self::Other(Remedy::note(text))
    }

    pub(super) fn remedy(&self, place: Place<'_>) -> Remedy {
        match (self, place) {
            (Self::Run(statements), Place::Server(_)) => Remedy::sql(statements),
            (Self::RunBy(owner, statements), Place::Server(server)) => {
                Remedy::admin_sql(server, owner.as_deref(), statements)
            }
            (Self::Run(statements) | Self::RunBy(_, statements), Place::File(file)) => {
                Remedy::sql_in_file(&file.path, statements)
            }
            (Self::Other(remedy), _) => remedy.clone(),
        }
    }
}

impl Issue {
    pub(super) fn fail(text: impl Into<String>, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::new(Fail, text.into(), steps)
    }

    pub(super) fn warn(text: impl Into<String>, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::new(Warn, text.into(), steps)
    }

    pub(super) fn new(
        outcome: Outcome,
        text: String,
        steps: impl IntoIterator<Item = Step>,
    ) -> Self {
        Self {
            outcome,
            text,
            steps: steps.into_iter().collect(),
            fix: None,
        }
    }

    /// With what `doctor --fix` may do, which is what its step says. Only the role's own
    /// statements are.
    pub(super) fn fixable(mut self) -> Self {
        let statements: Option<Vec<String>> = self
            .steps
            .iter()
            .map(|step| match step {
                Step::Run(text) => Some(text.clone()),
                Step::RunBy(..) | Step::Other(_) => None,
            })
            .collect();
        self.fix = statements.map(Fix::Statements);
        self
    }
}

/// Where statements run.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Server(&'a PostgresTarget),
    File(&'a SqliteTarget),
}

/// SQLite finds out that the schema has changed when a statement runs, not when one cannot be
/// prepared.
pub(super) const RESTART: &str =
    "then restart the daemon: its open connections may not notice the change";

/// How many issues a verdict names.
pub(super) const NAMED: usize = 8;

/// The verdict on all issues, failures first.
pub(super) fn verdict(
    place: Place<'_>,
    mut issues: Vec<Issue>,
    fine: impl Into<String>,
) -> Verdict {
    issues.sort_by_key(|one| one.outcome != Fail);
    let Some(worst) = issues.first() else {
        return Verdict::pass(fine);
    };
    let is_failed = worst.outcome == Fail;
    let mut texts: Vec<&str> = issues.iter().map(|one| one.text.as_str()).collect();
    let more = texts.len().saturating_sub(NAMED);
    texts.truncate(NAMED);
    let mut detail = texts.join("; ");
    if more > 0 {
        detail += &format!("; and {more} more");
    }
    let mut steps: Vec<&Step> = Vec::new();
    for step in issues.iter().flat_map(|one| &one.steps) {
        // One step may correct several things.
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    let remedy = steps.into_iter().fold(Remedy::default(), |remedy, step| {
        remedy.then(step.remedy(place))
    });
    let verdict = if is_failed {
        Verdict::fail(detail, remedy)
    } else {
        Verdict::warn(detail, remedy)
    };
    verdict.with_fixes(issues.into_iter().filter_map(|one| one.fix))
}

/// A statement that is run only where the condition holds, so that it may be typed twice.
pub(super) fn guarded(condition: &str, statement: &str) -> String {
    block("", condition, statement)
}

/// The same with declarations of PL/pgSQL.
pub(super) fn block(declarations: &str, condition: &str, statements: &str) -> String {
    let declare = if declarations.is_empty() {
        String::new()
    } else {
        format!(" DECLARE {declarations}")
    };
    let block = format!("{declare} BEGIN IF {condition} THEN {statements}; END IF; END ");
    format!("DO {}", dollar_quoted("do", &block))
}

/// A text in SQL. Apostrophes would have to be quoted once more for the shell.
pub(super) fn literal(text: &str) -> String {
    dollar_quoted("", text)
}

/// A text between dollar signs with a tag that does not occur in it.
fn dollar_quoted(tag: &str, text: &str) -> String {
    let mut tag = tag.to_owned();
    while text.contains(&format!("${tag}")) {
        tag.push('_');
    }
    format!("${tag}${text}${tag}$")
}

/// Before the first migration.
pub(super) fn no_tables() -> Verdict {
    Verdict::skip("there are no tables yet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_dollar_signs_stay_quoted() {
        for (text, quoted) in [
            ("plain", "$$plain$$"),
            ("it's", "$$it's$$"),
            (
                "a$$; DROP TABLE tasks; --",
                "$_$a$$; DROP TABLE tasks; --$_$",
            ),
            ("a$_$b", "$__$a$_$b$__$"),
            ("a$", "$_$a$$_$"),
        ] {
            assert_eq!(literal(text), quoted);
        }
        assert_eq!(
            guarded("true", "SELECT $do$x$do$"),
            "DO $do_$ BEGIN IF true THEN SELECT $do$x$do$; END IF; END $do_$"
        );
    }
}
