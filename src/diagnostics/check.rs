//! One check, and the report of many.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::Problem;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// It works, but somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
    /// Not looked at; the detail says why.
    Skip,
}

/// What a check is called. Scripts rely on the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// Stable, such as `database.url`.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
}

/// A check that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable, such as `database.url`.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen, or why nothing was.
    pub detail: String,
    /// What to do about it: a command to type where there is one. Never holds a secret.
    pub remedy: Option<String>,
    /// How long it took.
    pub millis: u64,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Verdict {
    /// As it should be.
    pub fn pass(detail: impl Into<String>) -> Self {
        Self::new(Outcome::Pass, detail, None)
    }

    /// It works, but somebody should look at it.
    pub fn warn(detail: impl Into<String>, remedy: impl Into<Option<String>>) -> Self {
        Self::new(Outcome::Warn, detail, remedy.into())
    }

    /// It does not work.
    pub fn fail(detail: impl Into<String>, remedy: impl Into<Option<String>>) -> Self {
        Self::new(Outcome::Fail, detail, remedy.into())
    }

    /// Faults of the configuration; each remedy is a line of its own.
    #[must_use]
    pub fn of_problems(problems: &[Problem]) -> Self {
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let mut remedies: Vec<&str> = problems.iter().map(|one| one.remedy.as_str()).collect();
        remedies.retain(|remedy| !remedy.is_empty());
        remedies.dedup();
        Self::fail(said.join("; "), remedies.join("\n"))
    }

    pub(super) fn new(outcome: Outcome, detail: impl Into<String>, remedy: Option<String>) -> Self {
        Self {
            outcome,
            detail: detail.into(),
            remedy: remedy.filter(|remedy| !remedy.is_empty()),
        }
    }
}

/// The time that all checks of a run have together.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    until: Instant,
}

impl Budget {
    /// `all` from now on.
    #[must_use]
    pub fn new(all: Duration) -> Self {
        Self {
            until: Instant::now() + all,
        }
    }

    /// What one check may take: `most`, or what is left.
    #[must_use]
    pub fn limit(&self, most: Duration) -> Duration {
        most.min(self.until.saturating_duration_since(Instant::now()))
    }
}

impl Name {
    /// Makes the check: `work` gets `limit`, then it has failed.
    ///
    /// Beside its verdict `work` hands back what the next check needs; one that
    /// ran out of time has nothing to hand back.
    pub async fn check<T>(
        self,
        limit: Duration,
        work: impl Future<Output = (Verdict, Option<T>)>,
    ) -> (Check, Option<T>) {
        if limit.is_zero() {
            return (
                self.skipped("not checked: the time for all checks was used up"),
                None,
            );
        }
        let started = Instant::now();
        let (verdict, rest) = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let detail = format!("no answer within {} s", limit.as_secs().max(1));
            (Verdict::fail(detail, None), None)
        });
        (self.done(verdict, started.elapsed()), rest)
    }

    /// A check that was made elsewhere.
    #[must_use]
    pub fn done(self, verdict: Verdict, took: Duration) -> Check {
        Check {
            id: self.id,
            title: self.title,
            outcome: verdict.outcome,
            detail: verdict.detail,
            remedy: verdict.remedy,
            millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// A check that was not made because of `reason`.
    pub fn skipped(self, reason: impl Into<String>) -> Check {
        let verdict = Verdict::new(Outcome::Skip, reason, None);
        self.done(verdict, Duration::ZERO)
    }
}

/// How many checks ended which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// As they should be.
    pub pass: usize,
    /// Worth a look.
    pub warn: usize,
    /// Broken.
    pub fail: usize,
    /// Not looked at.
    pub skip: usize,
}

/// Checks in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    schema: u32,
    summary: Summary,
    checks: Vec<Check>,
}

impl Report {
    /// The version of the JSON form; it changes when a name in it changes its meaning.
    pub const SCHEMA: u32 = 1;

    /// Counts `checks`.
    #[must_use]
    pub fn new(checks: Vec<Check>) -> Self {
        let mut summary = Summary::default();
        for check in &checks {
            *match check.outcome {
                Outcome::Pass => &mut summary.pass,
                Outcome::Warn => &mut summary.warn,
                Outcome::Fail => &mut summary.fail,
                Outcome::Skip => &mut summary.skip,
            } += 1;
        }
        Self {
            schema: Self::SCHEMA,
            summary,
            checks,
        }
    }

    /// How many ended which way.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Each check.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// 1 if something failed, or with `strict` something is worth a look; 0 otherwise.
    #[must_use]
    pub fn exit_code(&self, strict: bool) -> u8 {
        u8::from(self.summary.fail > 0 || (strict && self.summary.warn > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name = Name {
        id: "test.name",
        title: "Name",
    };

    fn report(outcomes: &[Outcome]) -> Report {
        let check = |outcome: &Outcome| {
            NAME.done(
                Verdict::new(*outcome, "seen", None),
                Duration::from_millis(3),
            )
        };
        Report::new(outcomes.iter().map(check).collect())
    }

    #[test]
    fn exit_codes() {
        use Outcome::{Fail, Pass, Skip, Warn};
        for (outcomes, plain, strict) in [
            (&[][..], 0, 0),
            (&[Pass, Skip], 0, 0),
            (&[Pass, Warn], 0, 1),
            (&[Pass, Fail, Skip], 1, 1),
        ] {
            let report = report(outcomes);
            assert_eq!(report.exit_code(false), plain, "{outcomes:?}");
            assert_eq!(report.exit_code(true), strict, "{outcomes:?}");
        }
    }

    #[test]
    fn the_json_form_is_stable() {
        let json = serde_json::to_value(report(&[Outcome::Pass, Outcome::Skip])).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "schema": 1,
                "summary": {"pass": 1, "warn": 0, "fail": 0, "skip": 1},
                "checks": [
                    {"id": "test.name", "title": "Name", "outcome": "pass",
                     "detail": "seen", "remedy": null, "millis": 3},
                    {"id": "test.name", "title": "Name", "outcome": "skip",
                     "detail": "seen", "remedy": null, "millis": 3},
                ],
            })
        );
    }

    #[tokio::test]
    async fn what_hangs_fails_in_time() {
        let hangs = std::future::pending::<(Verdict, Option<()>)>();
        let (check, rest) = NAME.check(Duration::from_millis(10), hangs).await;
        assert_eq!(check.outcome, Outcome::Fail);
        assert_eq!(rest, None);
    }

    #[test]
    fn an_empty_remedy_is_none() {
        assert_eq!(Verdict::fail("x", String::new()).remedy, None);
    }
}
